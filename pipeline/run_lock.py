"""Telling the lock of a killed workflow from that of a running one.

Snakemake's own lock is a file that outlives a kill. So each run also holds a lock that the system releases with
the process (taken in `onstart:`); where nobody holds it, Snakemake's lock is stale.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

LOCK = Path(".snakemake") / "run.lock"

_held: list[IO[str]] = []


def hold_run_lock(folder: Path = Path()) -> None:
    """Hold the lock of the workflow in `folder` until this process ends."""
    file = _open(folder)
    fcntl.flock(file, fcntl.LOCK_SH)
    _held.append(file)


def is_running(folder: Path = Path()) -> bool:
    """Whether a process holds the lock of the workflow in `folder`."""
    with _open(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _open(folder: Path) -> IO[str]:
    path = folder / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")
