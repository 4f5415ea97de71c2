"""Check designs: `python -m scripts.check_design RUN/design.json ...`.

Every cost is computed again from the file, its schema and configs/gpu_data.yaml; capacity, budgets and the layout are
verified. Exit code 2 lists what does not hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("designs", type=Path, nargs="+", metavar="DESIGN.json", help="designs of several chips")
    arguments = parser.parse_args()

    from pipeline.codesign.check_design import check_files

    check_files(arguments.designs)


if __name__ == "__main__":
    sys.exit(exit_code(main))
