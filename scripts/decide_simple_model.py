"""Choose the cascade's simple model (EXP-C2-decide): `python -m scripts.decide_simple_model --cfg CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, decide."""
    parser = run_parser(__doc__)
    parser.add_argument("--analysis", type=Path, help="run folder of EXP-C1-analysis (default: that of the same seed)")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C2-decide")
    analysis = arguments.analysis or Path("results") / run.preset / "EXP-C1-analysis" / f"seed{run.seed}"

    from pipeline.cascade.decision import decide

    decide(run, analysis, out)


if __name__ == "__main__":
    sys.exit(exit_code(main))
