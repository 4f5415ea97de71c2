"""Cut recordings into labelled windows: `python -m scripts.build_ieeg_windows --raw DIR --preset demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.config.cascade_loading import resolve_cascade
from pipeline.config.loading import PROJECT_ROOT, parse_assignment
from pipeline.data.ieeg_layout import patients_of


def main() -> None:
    """Parse the arguments and build one patient, join the tables, or do all at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", type=Path, default=PROJECT_ROOT / "configs/swec_cascade.yaml", help="experiment file")
    parser.add_argument("--preset", default="demo", help="a file of configs/presets (default: demo)")
    parser.add_argument("--raw", type=str, help="folder of recordings, or one table file: short for data.raw_root")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one key; repeatable")
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument("--patient", help="build only this patient")
    stage.add_argument("--join", action="store_true", help="join the tables of all patients")
    arguments = parser.parse_args()
    assignments = dict(parse_assignment(text) for text in arguments.set)
    if arguments.raw is not None:
        assignments["data.raw_root"] = arguments.raw
    config = resolve_cascade(arguments.preset, arguments.cfg, None, assignments).data
    raw = Path(config.raw_root or f"results/{arguments.preset}/data/raw_swec/recordings")
    print(f"preset {arguments.preset} | raw {raw} | output {config.root}", flush=True)

    from pipeline.data.swec import build_patient, join_patients

    names = patients_of(raw, config.leave_out)
    if not arguments.join:
        for name in [arguments.patient] if arguments.patient else names:
            build_patient(raw, name, config)
    if not arguments.patient:
        join_patients(raw, Path(config.root), names)


if __name__ == "__main__":
    sys.exit(exit_code(main))
