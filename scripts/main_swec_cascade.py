"""Train the cascade (EXP-C3-stages): `python -m scripts.main_swec_cascade --cfg configs/swec_cascade.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, train one patient or all of them."""
    parser = run_parser(__doc__)
    parser.add_argument("--patient", help="train only this patient (default: all)")
    parser.add_argument("--decision", type=Path, help="decision.json (default: EXP-C2-decide's of the same seed)")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C3-stages")
    results = Path("results") / run.preset
    decision = arguments.decision or results / "EXP-C2-decide" / f"seed{run.seed}" / "decision.json"

    from pipeline.cascade.cascade_training import train_cascades

    train_cascades(run, out, decision, arguments.patient)


if __name__ == "__main__":
    sys.exit(exit_code(main))
