"""Run Snakemake so that it simply continues after a kill: `python -m scripts.run_workflow --cores all ...`.

Plain `snakemake` refuses to start over the lock of a killed run; this entry removes it where no run is alive.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.errors import InputError
from pipeline.run_lock import is_running


def main() -> None:
    """Pass all arguments on to Snakemake, which takes this process's place."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--directory", "-d", type=Path, default=Path())
    folder = parser.parse_known_args()[0].directory
    if is_running(folder):
        raise InputError(f"{folder.resolve()}: another run of this workflow is going on; wait for it or stop it")
    # The default scheduler solves an integer program per round, which costs seconds and gains nothing here.
    command = [sys.executable, "-m", "snakemake", "--rerun-incomplete", "--scheduler", "greedy", *sys.argv[1:]]
    if any((folder / ".snakemake" / "locks").glob("*")):
        print("removing the lock of a run that was killed", file=sys.stderr, flush=True)
        subprocess.run([*command, "--unlock"], check=True)
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(exit_code(main))
