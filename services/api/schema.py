"""Owns the printing of the OpenAPI document: `python -m services.api.schema > docs/openapi.json` renews the committed one."""

import json
import sys

from services.api.app import describe


def main() -> None:
    """Write the schema to standard output, as it is committed."""
    sys.stdout.write(json.dumps(describe(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
