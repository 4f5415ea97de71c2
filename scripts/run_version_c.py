"""Design network, chips, mapping and layout together: `python -m scripts.run_version_c --cfg configs/x.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import exit_code, run_from_arguments, run_parser
from pipeline.errors import ConfigError


def main() -> None:
    """Parse the arguments, resolve the run, train it."""
    parser = run_parser(__doc__)
    parser.add_argument("--init-from", type=Path, help="start weights (default: those of the run's init_from)")
    parser.add_argument("--proxy", type=Path, help="folder of the fitted proxy: gives the final latency its interval")
    arguments = parser.parse_args()
    run, out = run_from_arguments(arguments)
    if run.training.mode not in ("multi_chip_fixed", "version_c_full"):
        raise ConfigError(f"training.mode={run.training.mode}: this script trains multi_chip_fixed and version_c_full")
    init_from = arguments.init_from
    if init_from is None and run.init_from is not None:
        init_from = Path("results") / run.preset / run.init_from / f"seed{run.seed}" / "model.safetensors"

    from pipeline.trainer.trainer_version_c import train_version_c

    train_version_c(run, out, init_from, proxy=arguments.proxy)


if __name__ == "__main__":
    sys.exit(exit_code(main))
