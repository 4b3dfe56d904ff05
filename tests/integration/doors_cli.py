"""The real command line on the toy application: `python doors_cli.py optimize ...`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import doors_builders  # noqa: E402

sys.modules["deep_agent.bootstrap"] = doors_builders
import deep_agent  # noqa: E402

deep_agent.bootstrap = doors_builders

from services.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
