"""Generate demo recordings in the SWEC-ETHZ file formats: `python -m scripts.make_demo_ieeg --out DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.config.cascade_loading import resolve_cascade
from pipeline.data.ieeg_layout import demo_patient_names


def main() -> None:
    """Parse the arguments and write one patient, join the truth tables, or do all at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--preset", default="demo", help="a file of configs/presets (default: demo)")
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument("--patient", help="write only this patient")
    stage.add_argument("--join", action="store_true", help="join the patients' truth tables")
    arguments = parser.parse_args()
    config = resolve_cascade(arguments.preset).demo
    names = demo_patient_names(config.patients)
    print(f"preset {arguments.preset} | data generated, seed {config.seed} | output {arguments.out}", flush=True)

    from pipeline.data.demo_ieeg import join_truth, write_demo_patient

    if not arguments.join:
        for name in [arguments.patient] if arguments.patient else names:
            write_demo_patient(arguments.out, config, name)
    if not arguments.patient:
        join_truth(arguments.out, names)


if __name__ == "__main__":
    sys.exit(exit_code(main))
