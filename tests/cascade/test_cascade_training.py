"""Training, calibration and evaluation end to end on small windows: learned, resumable, honest about bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import read_parquet, write_json, write_parquet
from pipeline.cascade import training_loop
from pipeline.cascade.cascade_training import simple_variant, train_baseline, train_cascade
from pipeline.cascade.evaluation import evaluate
from pipeline.config.cascade import CascadeConfig
from pipeline.config.cascade_loading import resolve_cascade
from pipeline.errors import ConfigError, DataError

FOCUS = 6


def config(root: Path, **assignments) -> CascadeConfig:
    values = {
        "data.root": str(root),
        "model.simple": "B",
        "training.stage_epochs": [6, 1, 1],
        "training.batch_size": 32,
        "evaluation.max_risk": 0.2,
        "evaluation.max_ictal_risk": 0.4,
        "evaluation.search_epochs": 4,
    }
    return resolve_cascade("tiny", None, None, {**values, **assignments}, experiment="EXP-C3-stages")


@pytest.fixture(scope="module")
def results(windows_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """C0, C3 and C6 of one patient."""
    folder = tmp_path_factory.mktemp("results")
    cfg = config(windows_root)
    train_baseline(cfg, "P1", folder / "EXP-C0-baseline" / "seed0" / "P1")
    train_cascade(cfg, "P1", folder / "EXP-C3-stages" / "seed0" / "P1")
    evaluate(cfg, folder / "EXP-C6-evaluate" / "seed0", folder, patient="P1")
    return folder


def test_the_focal_electrode_is_learned_and_not_the_misleading_one(results):
    manifest = json.loads((results / "EXP-C3-stages/seed0/P1/cascade.json").read_text())
    assert manifest["electrode"] == FOCUS
    assert manifest["live_electrodes"] == 1
    electrodes = pd.read_parquet(results / "EXP-C6-evaluate/seed0/P1/electrodes.parquet")
    assert set(electrodes["channel"]) == set(range(10)) - {1}
    assert electrodes.loc[electrodes["learned"], "channel"].tolist() == [FOCUS]
    assert electrodes["auc_test"].max() - electrodes.loc[electrodes["learned"], "auc_test"].item() <= 0.02


def test_the_cascade_answers_what_its_margin_says(results):
    manifest = json.loads((results / "EXP-C3-stages/seed0/P1/cascade.json").read_text())
    table = pd.read_parquet(results / "EXP-C3-stages/seed0/P1/predictions.parquet")
    margin = np.inf if manifest["margin"] is None else manifest["margin"]
    assert (table["routed"] == ((table["simple_1"] - table["simple_0"]).abs() <= margin)).all()
    kept = table[~table["routed"]]
    assert (kept["logit_1"] == kept["simple_1"]).all()
    assert set(table["split"]) == {"train", "val", "calibration", "test"}


def test_metrics_cover_every_arm(results):
    metrics = pd.read_parquet(results / "EXP-C6-evaluate/seed0/P1/metrics.parquet")
    assert set(metrics["arm"]) == {"cascade", "simple", "complex", "complex_only"}
    by_name = metrics[metrics["arm"] == "cascade"].set_index("metric")["value"]
    assert by_name["auc"] > 0.9
    assert by_name["risk"] <= 0.2
    macs = metrics[metrics["metric"] == "macs_per_window"].set_index("arm")["value"]
    assert macs["cascade"] == pytest.approx(macs["simple"] + by_name["call_rate"] * macs["complex"])


def test_pooling_adds_a_patient_called_all(results, windows_root):
    folder = results / "EXP-C6-evaluate" / "seed0"
    shutil.copytree(folder / "P1", folder / "P2", dirs_exist_ok=True)
    write_parquet(folder / "P2/metrics.parquet", read_parquet(folder / "P2/metrics.parquet").assign(patient="P2"))
    evaluate(config(windows_root), folder, results, pool_only=True)
    metrics = pd.read_parquet(folder / "metrics.parquet")
    seizures = metrics[(metrics["metric"] == "seizures") & (metrics["arm"] == "cascade")].set_index("patient")["value"]
    assert seizures["all"] == 2 * seizures["P1"]


@pytest.mark.parametrize("kill_after", [1, 6, 7])
def test_a_killed_run_ends_with_the_same_weights(results, windows_root, tmp_path, monkeypatch, kill_after):
    saved = 0

    def save_and_die(folder, state):
        nonlocal saved
        save(folder, state)
        saved += 1
        if saved == kill_after:
            raise KeyboardInterrupt

    save = training_loop.save_checkpoint
    monkeypatch.setattr(training_loop, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train_cascade(config(windows_root), "P1", tmp_path)
    monkeypatch.setattr(training_loop, "save_checkpoint", save)
    train_cascade(config(windows_root), "P1", tmp_path)
    whole = results / "EXP-C3-stages/seed0/P1"
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (tmp_path / "predictions.parquet").read_bytes() == (whole / "predictions.parquet").read_bytes()


def test_a_split_without_a_seizure_is_named(windows_root, tmp_path):
    root = tmp_path / "swec"
    shutil.copytree(windows_root, root)
    index = read_parquet(root / "index.parquet")
    index.loc[(index["patient"] == "P1") & (index["split"] == "calibration"), "label"] = 0
    write_parquet(root / "index.parquet", index)
    with pytest.raises(DataError, match="P1, split calibration has no ictal window"):
        train_baseline(config(root), "P1", tmp_path / "out")


def test_an_unknown_patient_is_named(windows_root, tmp_path):
    with pytest.raises(DataError, match="P9"):
        train_baseline(config(windows_root), "P9", tmp_path)


def test_the_decision_is_asked_for_and_checked(windows_root, tmp_path):
    cfg = config(windows_root, **{"model.simple": "decided"})
    with pytest.raises(ConfigError, match="EXP-C2-decide"):
        simple_variant(cfg, "P1", None)
    decision = tmp_path / "decision.json"
    write_json(decision, {"patients": {"P1": {"simple_model": "A"}, "P2": {"simple_model": "Z"}}})
    assert simple_variant(cfg, "P1", decision) == "A"
    with pytest.raises(DataError, match="'Z'"):
        simple_variant(cfg, "P2", decision)
    with pytest.raises(DataError, match="P3"):
        simple_variant(cfg, "P3", decision)


def test_different_windows_in_the_two_runs_are_refused(results, windows_root, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    path = copy / "EXP-C0-baseline/seed0/P1/predictions.parquet"
    write_parquet(path, read_parquet(path).iloc[5:])
    with pytest.raises(DataError, match="different windows"):
        evaluate(config(windows_root), copy / "EXP-C6-evaluate/seed0", copy, patient="P1")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("training.stage_epochs", [10, 0, 5], "stage_epochs"),
        ("training.end_temperature", 9.0, "end_temperature"),
        ("evaluation.votes", 9, "votes_among"),
        ("training.epochs", 5, "unknown key"),
    ],
)
def test_bad_settings_are_named(windows_root, key, value, named):
    with pytest.raises(ConfigError, match=named):
        config(windows_root, **{key: value})
