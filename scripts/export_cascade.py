"""Export and check the integer cascade (EXP-C5): `python -m scripts.export_cascade --cfg configs/swec_cascade.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, export one patient or all of them."""
    parser = run_parser(__doc__)
    parser.add_argument("--patient", help="export only this patient (default: all)")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C5-export-verify")

    from pipeline.quantised.export_cascade import export_patients

    export_patients(run, out, Path("results") / run.preset, arguments.patient)


if __name__ == "__main__":
    sys.exit(exit_code(main))
