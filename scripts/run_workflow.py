"""Run Snakemake so that it simply continues after a kill: `python -m scripts.run_workflow --cores all ...`.

Plain `snakemake` refuses to start over a stale lock. This entry holds a lock of its own that dies with the
process, so it can tell a stale lock from a workflow that is still running.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.errors import InputError


def main() -> None:
    """Pass all arguments on to Snakemake."""
    folder = Path(".snakemake")
    folder.mkdir(exist_ok=True)
    with (folder / "run_workflow.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError("another run of this workflow is going on in this folder; wait for it") from error
        command = [sys.executable, "-m", "snakemake", "--rerun-incomplete", *sys.argv[1:]]
        if any((folder / "locks").glob("*")):
            print("removing the lock of a run that was killed", file=sys.stderr)
            subprocess.run([*command, "--unlock"], check=False)
        raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    sys.exit(exit_code(main))
