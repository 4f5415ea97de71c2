"""Score the cascade, per patient and pooled (EXP-C6-evaluate): `python -m scripts.evaluate_cascade --cfg CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, evaluate."""
    parser = run_parser(__doc__)
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument("--patient", help="score only this patient (default: all, then pooled)")
    stage.add_argument("--pool", action="store_true", help="only pool patients that are scored already")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C6-evaluate")

    from pipeline.cascade.evaluation import evaluate

    evaluate(run, out, Path("results") / run.preset, patient=arguments.patient, pool_only=arguments.pool)


if __name__ == "__main__":
    sys.exit(exit_code(main))
