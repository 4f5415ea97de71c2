"""Price finished networks on chips and measure them here: `python -m scripts.predict_hardware RUN... --out DIR`.

RUN is a run folder with its design.json; --profile is what scripts.profile_host wrote on this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders: .../EXPERIMENT/seedK")
    parser.add_argument("--profile", type=Path, required=True, help="folder of this machine's profile")
    parser.add_argument("--library", default="default", help="chips, a library of configs/gpu_data.yaml (default)")
    parser.add_argument("--repeats", type=int, default=20, help="interleaved runs of each design here (20)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    arguments = parser.parse_args()

    from pipeline.hw_proxy.predict_hardware import predict_hardware

    designs = {f"{run.parent.name}/{run.name}": run / "design.json" for run in arguments.runs}
    predict_hardware(
        designs, arguments.out, profile=arguments.profile, library=arguments.library, repeats=arguments.repeats
    )
    print(f"{len(designs)} designs | output {arguments.out}", flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
