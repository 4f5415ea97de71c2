"""Place chips on a wafer: `python -m scripts.place_chips INSTANCE.json --time-limit 10 --out SOLUTION.json`.

The layout is legal (no overlap, gaps kept, all corners inside) and repeatable: same instance, seed, limit and
options, same layout. docs/layout.md has the exact objective. Compilation (once, then cached) is not in the limit.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments, place the chips, write the solution and, if asked, the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instance", type=Path, help="layout instance (JSON)")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="S", help="solver seconds (default: 10)")
    parser.add_argument("--iterations", type=int, help="moves to make, instead of what the limit allows for")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same layout (default: 0)")
    parser.add_argument("--rotate", action="store_true", help="allow chips to be turned by 90 degrees")
    parser.add_argument("--out", type=Path, required=True, help="solution (JSON): pos_mm legal J wl_mm ...")
    parser.add_argument("--svg", type=Path, help="also draw the wafer map to this file")
    arguments = parser.parse_args()
    print(f"instance {arguments.instance} | limit {arguments.time_limit:g} s | output {arguments.out}", flush=True)

    from pipeline.layout.command import place_file

    place_file(
        arguments.instance,
        arguments.out,
        time_limit_s=arguments.time_limit,
        iterations=arguments.iterations,
        seed=arguments.seed,
        rotate=arguments.rotate,
        svg=arguments.svg,
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
