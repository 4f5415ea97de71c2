"""Write the resolved configuration of one run: the file that decides its result."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import write_yaml
from pipeline.command_line import exit_code
from pipeline.experiments import resolve_experiment


def main() -> None:
    """Parse the arguments and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    run = resolve_experiment(arguments.experiment, arguments.preset, arguments.seed)
    write_yaml(arguments.out, run.model_dump())


if __name__ == "__main__":
    sys.exit(exit_code(main))
