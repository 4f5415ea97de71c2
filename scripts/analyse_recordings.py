"""The four analyses of the recordings (EXP-C1-analysis): `python -m scripts.analyse_recordings --cfg CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import cascade_from_arguments, exit_code, run_parser


def main() -> None:
    """Parse the arguments, resolve the run, analyse."""
    parser = run_parser(__doc__)
    parser.add_argument("--baseline", type=Path, help="run folder of EXP-C0-baseline (default: that of the same seed)")
    arguments = parser.parse_args()
    run, out = cascade_from_arguments(arguments, "EXP-C1-analysis")
    baseline = arguments.baseline or Path("results") / run.preset / "EXP-C0-baseline" / f"seed{run.seed}"

    from pipeline.cascade.analysis import analyse

    analyse(run, baseline, out)


if __name__ == "__main__":
    sys.exit(exit_code(main))
