"""A checkpoint resumes its own interrupted run and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.config import resolve_run
from pipeline.errors import DataError
from pipeline.trainer.checkpoint import (
    load_checkpoint,
    mark_finished,
    open_checkpoint,
    run_fingerprint,
    save_checkpoint,
)


def state(fingerprint: str) -> dict:
    return {
        "fingerprint": fingerprint,
        "network": {"w": torch.arange(3.0)},
        "state": {"epoch": 2, "history": [(1, "a")]},
    }


def test_resumes_the_same_run(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state("x"))
    loaded = open_checkpoint(tmp_path, "x")
    assert loaded is not None
    assert torch.equal(loaded["network"]["w"], torch.arange(3.0))
    assert loaded["state"] == {"epoch": 2, "history": [(1, "a")]}


def test_another_run_or_a_finished_one_starts_afresh(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state("x"))
    assert load_checkpoint(tmp_path, "y") is None
    mark_finished(tmp_path)
    assert open_checkpoint(tmp_path, "x") is None
    save_checkpoint(tmp_path, state("x"))
    assert open_checkpoint(tmp_path, "x") is not None, "a rerun after a finished run must be resumable itself"


def test_damage_is_told(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half of a checkpoint")
    with pytest.raises(DataError, match=r"last\.pt: damaged checkpoint.*delete it"):
        load_checkpoint(tmp_path, "x")


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    torch.save({"fingerprint": "x", "evil": Path("x")}, tmp_path / "last.pt")
    with pytest.raises(DataError, match="damaged checkpoint"):
        load_checkpoint(tmp_path, "x")


def test_fingerprint_sees_config_code_and_inputs(tmp_path: Path) -> None:
    data = tmp_path / "manifest.parquet"
    data.write_bytes(b"1")
    run = resolve_run("tiny")
    base = run_fingerprint(run, "pipeline.trainer.checkpoint", [data])
    assert base == run_fingerprint(run, "pipeline.trainer.checkpoint", [data])
    assert base != run_fingerprint(run.model_copy(update={"seed": 1}), "pipeline.trainer.checkpoint", [data])
    assert base != run_fingerprint(run, "pipeline.trainer.metrics", [data])
    data.write_bytes(b"2")
    assert base != run_fingerprint(run, "pipeline.trainer.checkpoint", [data])
