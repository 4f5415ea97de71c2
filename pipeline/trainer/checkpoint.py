"""Checkpoints that survive a kill and never resume something else.

A checkpoint carries a fingerprint of everything that decides the run (configuration, data, code,
start weights). Another fingerprint, or a run that was already finished, starts afresh.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from ..artifacts import atomic_path, fingerprint, sha256_of_file, write_text
from ..errors import DataError
from ..sources import sources_digest

STATE = "last.pt"
FINISHED = "finished"


def run_fingerprint(cfg: BaseModel, module: str, inputs: list[Path]) -> str:
    """A hash over the configuration, the sources of `module`, and the content of the input files."""
    digest = hashlib.sha256(fingerprint(cfg.model_dump(), 64).encode())
    digest.update(sources_digest(module).encode())
    for path in inputs:
        digest.update(sha256_of_file(path).encode())
    return digest.hexdigest()


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) atomically as the last checkpoint."""
    with atomic_path(folder / STATE) as temporary:
        torch.save(state, temporary)


def load_checkpoint(folder: Path, expected_fingerprint: str) -> dict[str, Any] | None:
    """The last state of an interrupted run with this fingerprint, or None to start afresh.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / STATE
    if not path.is_file() or (folder / FINISHED).exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path}: damaged checkpoint ({error}); delete it to start afresh") from error
    return state if state.get("fingerprint") == expected_fingerprint else None


def open_checkpoint(folder: Path, expected_fingerprint: str) -> dict[str, Any] | None:
    """`load_checkpoint`, clearing what a killed write left and the mark of an earlier finished run."""
    for leftover in folder.glob(f".{STATE}.*.tmp"):
        leftover.unlink()
    state = load_checkpoint(folder, expected_fingerprint)
    if state is None:
        (folder / STATE).unlink(missing_ok=True)
        (folder / FINISHED).unlink(missing_ok=True)
    return state


def mark_finished(folder: Path) -> None:
    """Say that all results of the run are written; a rerun then starts afresh."""
    write_text(folder / FINISHED, "")
