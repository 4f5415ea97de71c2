"""Quantise the cascade (EXP-C4-qat): `python -m scripts.quantise_cascade --cfg configs/swec_cascade.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, quantise one patient or all of them."""
    parser = run_parser(__doc__)
    parser.add_argument("--patient", help="quantise only this patient (default: all)")
    parser.add_argument("--stages", type=Path, help="trained cascades (default: EXP-C3-stages of the same seed)")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C4-qat")
    stages = arguments.stages or Path("results") / run.preset / "EXP-C3-stages" / f"seed{run.seed}"

    from pipeline.quantised.quantised_training import quantise_patients

    quantise_patients(run, out, stages, arguments.patient)


if __name__ == "__main__":
    sys.exit(exit_code(main))
