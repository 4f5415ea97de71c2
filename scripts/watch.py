"""Print news from running jobs: `python -m scripts.watch results/demo`, in a second terminal."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.progress import print_news


def main() -> None:
    """Parse the arguments and print until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", default=[Path("results/demo")], help="default: results/demo")
    arguments = parser.parse_args()
    seen: dict[Path, float] = {}
    try:
        while True:
            for folder in arguments.folders:
                print_news(folder, sys.stdout, seen)
            time.sleep(1.0)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    sys.exit(exit_code(main))
