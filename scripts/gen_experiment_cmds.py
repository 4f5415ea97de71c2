"""Write EXPERIMENTS_VERSION_C.md: each experiment's purpose, config and command, from the catalogue."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import write_text
from pipeline.command_line import exit_code
from pipeline.experiments import load_catalogue
from pipeline.report.experiments_md import render


def main() -> None:
    """Parse the arguments and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("EXPERIMENTS_VERSION_C.md"), help="file to write")
    arguments = parser.parse_args()
    write_text(arguments.out, render(load_catalogue()))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
