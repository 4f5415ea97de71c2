"""Write the resolved configuration of one run: the file that decides its result."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import write_yaml
from pipeline.command_line import exit_code
from pipeline.config.loading import parse_assignment
from pipeline.experiments import find_experiment, resolve_cascade_experiment, resolve_experiment


def main() -> None:
    """Parse the arguments and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one key; repeatable")
    arguments = parser.parse_args()
    assignments = dict(parse_assignment(text) for text in arguments.set)
    resolve = resolve_cascade_experiment if find_experiment(arguments.experiment).is_cascade else resolve_experiment
    run = resolve(arguments.experiment, arguments.preset, arguments.seed, assignments)
    write_yaml(arguments.out, run.model_dump(mode="json"))


if __name__ == "__main__":
    sys.exit(exit_code(main))
