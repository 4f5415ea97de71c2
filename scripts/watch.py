"""Print news from running jobs: `python -m scripts.watch --results results/demo`, in a second terminal."""

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
    parser.add_argument("--results", type=Path, default=Path("results/demo"))
    arguments = parser.parse_args()
    seen: dict[Path, float] = {}
    try:
        while True:
            print_news(arguments.results, sys.stdout, seen)
            time.sleep(1.0)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    sys.exit(exit_code(main))
