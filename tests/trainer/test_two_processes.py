"""Two CPU processes with gloo train the same model as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import read_parquet, write_yaml

pytestmark = pytest.mark.slow


def train(cfg, folder: Path) -> Path:
    write_yaml(folder / "config.yaml", cfg.model_dump())
    command = [
        sys.executable,
        "-m",
        "scripts.run_ast2_ucf101",
        "--cfg",
        str(folder / "config.yaml"),
        "--out",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("settings", [{}, {"data.use_audio": True, "training.use_audio": True, "model.fusion": "late"}])
def test_two_processes_equal_one(small_run, tmp_path: Path, settings: dict) -> None:
    one = train(small_run(settings), tmp_path / "one")
    two = train(small_run(settings | {"training.devices": 2}), tmp_path / "two")
    a, b = (read_parquet(folder / "history.parquet") for folder in (one, two))
    assert a[["epoch", "step", "split", "metric"]].equals(b[["epoch", "step", "split", "metric"]])
    if settings:
        # Each process averages the sound's loss over its own clips with sound, so only the picture's net is equal.
        assert np.isfinite(b["value"]).all()
    else:
        np.testing.assert_allclose(a["value"], b["value"], rtol=1e-4, atol=1e-5)
