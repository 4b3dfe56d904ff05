"""Makes `builders` importable from every test folder, whatever pytest was started on."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
