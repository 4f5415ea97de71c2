"""Write the modelled layer table of a chip library: `python -m scripts.make_modelled_table --out DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and write layers.parquet and devices.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of layers.parquet and devices.csv")
    parser.add_argument("--library", default="default", help="a library, or a chip, of configs/gpu_data.yaml (default)")
    parser.add_argument("--count", type=int, default=400, help="kernels per chip (400)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shapes (0)")
    arguments = parser.parse_args()

    from pipeline.hw_proxy.chip_library import load_chip_library
    from pipeline.hw_proxy.modelled_table import make_modelled_table

    chips = load_chip_library().select(arguments.library)
    make_modelled_table(chips, arguments.out, arguments.count, arguments.seed)
    print(f"{len(chips)} chips, modelled | output {arguments.out}", flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
