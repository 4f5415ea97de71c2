"""Build the report of a preset: one page that opens offline, its figures and its tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.config import load_preset
from pipeline.errors import DataError


def main() -> None:
    """Parse the arguments and build the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo", help="a file of configs/presets (default: demo)")
    parser.add_argument("--results", type=Path, help="folder of the preset's runs (default: results/<preset>)")
    parser.add_argument("--out", type=Path, help="report folder (default: <results>/report)")
    arguments = parser.parse_args()
    load_preset(arguments.preset)
    results = arguments.results or Path("results") / arguments.preset
    if not results.is_dir():
        raise DataError(
            f"{results}: no such folder; make it with: snakemake --cores all --config preset={arguments.preset}"
        )
    out = arguments.out or results / "report"
    print(f"preset {arguments.preset} | results {results} | output {out}", flush=True)

    from pipeline.report.page import make_report

    make_report(results, out, preset=arguments.preset)
    print(f"wrote {out / 'index.html'}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
