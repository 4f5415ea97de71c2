"""Map a chain of segments to slots: `python -m scripts.solve_mapping INSTANCE.json --objective serial --out SOL.json`.

The instance's format and the fields of the answer are in docs/mapping.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and solve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instance", type=Path, help="JSON file with lat_ms, mem_mb, cap_mb, traffic_mb, hops, ...")
    parser.add_argument("--objective", default="balanced", help="serial (one sample) or balanced (pipeline period)")
    parser.add_argument("--time-limit", type=float, default=5.0, help="solver seconds, start-up apart (5)")
    parser.add_argument("--iterations", type=int, help="annealing moves instead of seconds: the same on any machine")
    parser.add_argument("--strategy", default="portfolio", help="portfolio, or see docs/mapping.md")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moves (0)")
    parser.add_argument("--warm-start", type=Path, help="an earlier answer to improve on")
    parser.add_argument("--pictures", type=Path, help="folder for gantt.svg and incumbent.svg")
    parser.add_argument("--out", type=Path, required=True, help="the answer, JSON")
    arguments = parser.parse_args()

    from pipeline.mapping.command import solve_file

    print(solve_file(**vars(arguments)), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
