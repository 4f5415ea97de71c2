"""Train the complex model alone (EXP-C0-baseline): `python -m scripts.train_cascade_baseline --cfg CONFIG`."""

from __future__ import annotations

import sys

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, train one patient or all of them."""
    parser = run_parser(__doc__)
    parser.add_argument("--patient", help="train only this patient (default: all)")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C0-baseline")

    from pipeline.cascade.cascade_training import train_baselines

    train_baselines(run, out, arguments.patient)


if __name__ == "__main__":
    sys.exit(exit_code(main))
