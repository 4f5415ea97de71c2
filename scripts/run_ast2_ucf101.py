"""Train and test one single-device experiment: `python -m scripts.run_ast2_ucf101 --cfg configs/x.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import exit_code, run_from_arguments, run_parser
from pipeline.errors import ConfigError


def main() -> None:
    """Parse the arguments, resolve the run, train it."""
    parser = run_parser(__doc__)
    parser.add_argument("--init-from", type=Path, help="start weights (default: those of the run's init_from)")
    parser.add_argument("--proxy", type=Path, help="folder of the fitted proxy, with hw.proxy=fitted")
    arguments = parser.parse_args()
    run, out = run_from_arguments(arguments)
    if run.training.mode not in ("dense_baseline", "single_device_ast"):
        raise ConfigError(f"training.mode={run.training.mode}: this script trains dense_baseline and single_device_ast")
    init_from = arguments.init_from
    if init_from is None and run.init_from is not None:
        init_from = Path("results") / run.preset / run.init_from / f"seed{run.seed}" / "model.safetensors"

    from pipeline.trainer.trainer_single_device import train_single_device

    train_single_device(run, out, init_from, proxy=arguments.proxy)


if __name__ == "__main__":
    sys.exit(exit_code(main))
