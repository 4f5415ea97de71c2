"""EXP-C4-qat end to end on small windows: it keeps what was learned, resumes, and its integers are its answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import read_parquet, write_json
from pipeline.cascade import training_loop
from pipeline.cascade.cascade_training import train_cascade
from pipeline.config.cascade import CascadeConfig
from pipeline.config.cascade_loading import resolve_cascade
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.errors import ConfigError, DataError
from pipeline.quantised.integer_files import read_integer_model
from pipeline.quantised.integer_numpy import quantise_windows, run_integer_model
from pipeline.quantised.quantised_training import quantise_patient
from tests.cascade.conftest import write_windows


def config(root: Path, **assignments) -> CascadeConfig:
    values = {
        "data.root": str(root),
        "model.simple": "B",
        "training.stage_epochs": [4, 1, 1],
        "training.batch_size": 64,
        "evaluation.max_risk": 0.2,
        "evaluation.max_ictal_risk": 0.4,
        "quantisation.epochs": 2,
        "quantisation.scale_windows": 64,
    }
    return resolve_cascade("tiny", None, None, {**values, **assignments}, experiment="EXP-C4-qat")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_windows(tmp_path_factory.mktemp("swec"), ("P1",))


@pytest.fixture(scope="module")
def stages(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained cascade of one patient."""
    folder = tmp_path_factory.mktemp("stages")
    train_cascade(config(root), "P1", folder)
    return folder


@pytest.fixture(scope="module")
def run(root: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quantised one."""
    folder = tmp_path_factory.mktemp("quantised")
    quantise_patient(config(root), "P1", stages, folder)
    return folder


def test_what_was_learned_is_kept(run):
    metrics = read_parquet(run / "metrics.parquet")
    test = metrics[metrics["split"] == "test"].pivot(index="arm", columns="metric", values="value")
    assert test.loc["integer", "auc"] > test.loc["float", "auc"] - 0.02
    assert (test.loc["qat"] == test.loc["integer"]).all()
    sizes = metrics[metrics["metric"] == "weight_bytes"].set_index("arm")["value"]
    assert sizes["integer"] < 0.55 * sizes["float"]


def test_the_written_model_gives_the_written_predictions(root, run):
    model = read_integer_model(run / "integer_model")
    windows = IeegWindows(root, "P1", "test")
    output = run_integer_model(model, quantise_windows(model.input, windows.live_arrays()[0]))
    table = read_parquet(run / "predictions.parquet")
    table = table[table["split"] == "test"]
    simple = output.simple * 2.0**model.simple.logits.exponent
    assert np.array_equal(simple, table[["simple_0", "simple_1"]].to_numpy())
    assert np.array_equal(output.routed, table["routed"].to_numpy())
    manifest = json.loads((run / "quantised.json").read_text())
    assert manifest["mismatches"] == 0
    assert manifest["windows_compared"] == len(read_parquet(run / "predictions.parquet"))
    steps = manifest["margin"] * 2.0**-model.simple.logits.exponent
    assert manifest["integer_margin"] == model.routing.margin == int(steps)


def test_layers_name_every_width(run):
    layers = read_parquet(run / "layers.parquet").set_index(["network", "layer"])
    bits = layers["weight_bits"].dropna()
    assert bits["complex", "block_1"] == bits["complex", "classifier"] == bits["simple", "hidden"] == 16
    assert set(bits.filter(regex="depthwise|pointwise")) <= {8.0}
    assert (bits.loc["complex"].filter(like="cbam") == 16).all()
    assert layers["accumulator_bits"].dropna().between(2, 48).all()


def test_a_killed_run_ends_with_the_same_bytes(root, stages, run, tmp_path, monkeypatch):
    def save_and_die(folder, state):
        save(folder, state)
        raise KeyboardInterrupt

    save = training_loop.save_checkpoint
    monkeypatch.setattr(training_loop, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        quantise_patient(config(root), "P1", stages, tmp_path)
    monkeypatch.setattr(training_loop, "save_checkpoint", save)
    quantise_patient(config(root), "P1", stages, tmp_path)
    for name in ("integer_model/integer_model.json", "predictions.parquet", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()


def test_other_weights_than_the_manifest_says_are_refused(root, stages, tmp_path):
    copy = tmp_path / "stages"
    shutil.copytree(stages, copy)
    manifest = json.loads((copy / "cascade.json").read_text())
    write_json(copy / "cascade.json", {**manifest, "simple_model": "A"})
    with pytest.raises(DataError, match="not the cascade that its manifest names"):
        quantise_patient(config(root), "P1", copy, tmp_path / "out")
    write_json(copy / "cascade.json", {**manifest, "live_electrodes": 9})
    with pytest.raises(DataError, match="annealed"):
        quantise_patient(config(root), "P1", copy, tmp_path / "out")
    write_json(copy / "cascade.json", manifest)
    (copy / "model.safetensors").unlink()
    with pytest.raises(DataError, match="EXP-C3-stages"):
        quantise_patient(config(root), "P1", copy, tmp_path / "out")


def test_bad_settings_are_named(root):
    with pytest.raises(ConfigError, match="widths"):
        config(root, **{"quantisation.widths": "int4"})


def test_an_infinite_margin_routes_every_window(run):
    model = read_integer_model(run / "integer_model")
    from pipeline.quantised.conversion import integer_routing

    always = replace(model, routing=integer_routing(model.simple.logits, float("inf")))
    low = np.full((1, 10, 512), model.input.window.low, np.int16)
    assert run_integer_model(always, low).routed.all()


def test_the_budget_of_calls_is_kept_after_quantisation(root, stages, run, tmp_path):
    def called(folder: Path) -> float:
        table = read_parquet(folder / "predictions.parquet")
        return table.loc[table["split"] == "calibration", "routed"].mean()

    assert config(root).evaluation.call_budget == 0.05
    quantise_patient(config(root, **{"evaluation.call_budget": 0.0}), "P1", stages, tmp_path / "loosest")
    quantise_patient(config(root, **{"evaluation.call_budget": 0.5}), "P1", stages, tmp_path / "half")
    margins = {
        name: json.loads((folder / "quantised.json").read_text())["margin"]
        for name, folder in {"loosest": tmp_path / "loosest", "default": run, "half": tmp_path / "half"}.items()
    }
    assert margins["loosest"] <= margins["default"] <= margins["half"]
    assert margins["loosest"] < margins["half"]
    assert called(tmp_path / "loosest") <= called(run) <= called(tmp_path / "half") <= 0.5
