"""Measure this machine as one more device: `python -m scripts.profile_host --out DIR`.

Writes layers.parquet (a measured table), rejected.parquet, devices.csv and profile.json. Run it alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--grid", default="small", help="tiny (seconds), small (half a minute) or full (minutes)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="what is measured (cpu)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shapes (0)")
    arguments = parser.parse_args()
    print(f"grid {arguments.grid} | device {arguments.device} | output {arguments.out}", flush=True)

    from pipeline.hw_proxy.host_profile import profile_host

    profile_host(**vars(arguments))


if __name__ == "__main__":
    sys.exit(exit_code(main))
