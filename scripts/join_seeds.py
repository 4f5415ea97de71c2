"""Join the metrics of an experiment's seeds into one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import join_parquet
from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    join_parquet(arguments.out, arguments.tables)


if __name__ == "__main__":
    sys.exit(exit_code(main))
