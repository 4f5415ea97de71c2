"""The cascade's configuration: merged in order, checked before work, with messages that name the mend."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.config.cascade import CascadeConfig, CascadeDataConfig
from pipeline.config.cascade_loading import load_resolved_cascade, resolve_cascade
from pipeline.config.loading import PROJECT_ROOT
from pipeline.errors import ConfigError
from pipeline.experiments import (
    available,
    available_cascade,
    load_catalogue,
    resolve_cascade_experiment,
    resolve_experiment,
)
from pipeline.workflow_settings import recordings_listing, resolve_workflow

FILE = PROJECT_ROOT / "configs" / "swec_cascade.yaml"


@pytest.mark.parametrize("preset", ["tiny", "demo", "bench", "swec", "bonn", "ecog"])
def test_every_preset_resolves_and_reads_back(tmp_path, preset):
    own = {} if preset in ("tiny", "demo", "bench") else {"data.raw_root": "recordings"}
    config = resolve_cascade(preset, FILE, None, own, experiment="EXP-C1-analysis", seed=2)
    assert (config.preset, config.experiment, config.seed) == (preset, "EXP-C1-analysis", 2)
    from pipeline.artifacts import write_yaml

    write_yaml(tmp_path / "config.yaml", config.model_dump(mode="json"))
    assert load_resolved_cascade(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ({"data.stride": 1.0}, "data.stride"),
        ({"data.stride_s": 0.0}, "data.stride_s=0.0"),
        ({"data.sample_rate_hz": 100.0}, r"analysis\.bands_hz reaches 80 Hz, above half of data\.sample_rate_hz=100"),
        ({"data.short_term_margin_s": 9.0}, r"short_term_margin_s=9 contradicts demo\.margin_s=30"),
        ({"analysis.bands_hz": [[8.0, 4.0]]}, "8.0-4.0 Hz is not a band"),
        ({"decision.candidates": ["D"]}, "decision.candidates"),
    ],
)
def test_wrong_settings_are_named(assignments, message):
    with pytest.raises(ConfigError, match=message):
        resolve_cascade("demo", FILE, None, assignments)


def test_every_split_needs_a_share():
    with pytest.raises(ValidationError, match="split_shares lacks val, calibration, test"):
        CascadeDataConfig(split_shares={"train": 1.0})


def test_the_defaults_agree_with_themselves():
    assert CascadeConfig().data.short_term_margin_s == CascadeConfig().demo.margin_s


def test_video_and_cascade_experiments_do_not_mix():
    cascade = available_cascade("demo")
    assert {"EXP-C1-analysis", "EXP-C2-decide"} <= set(cascade)
    assert not set(cascade) & set(available("demo"))
    assert available("bonn") == {}
    assert available_cascade("bonn") == {}
    assert available_cascade("bonn", has_recordings=True) == cascade
    assert set(load_catalogue().experiments) == {*available("demo"), *cascade}
    with pytest.raises(ConfigError, match="belongs to the cascade"):
        resolve_experiment("EXP-C1-analysis", "demo", 0)
    with pytest.raises(ConfigError, match="not of the cascade"):
        resolve_cascade_experiment("EXP-P1V-1-dense-multiscale", "demo", 0)


def test_the_workflow_wants_recordings_exactly_where_none_are_generated(tmp_path):
    with pytest.raises(ConfigError, match=r"preset bonn reads your recordings.*raw_ieeg_root=FOLDER"):
        recordings_listing(resolve_workflow({"preset": "bonn"}))
    with pytest.raises(ConfigError, match="preset demo generates its own recordings"):
        recordings_listing(resolve_workflow({"preset": "demo", "raw_ieeg_root": str(tmp_path)}))
    assert recordings_listing(resolve_workflow({"preset": "demo"})) == ""
    (tmp_path / "a.npz").write_bytes(b"1")
    first = recordings_listing(resolve_workflow({"preset": "bonn", "raw_ieeg_root": str(tmp_path)}))
    (tmp_path / "a.npz").write_bytes(b"12")
    assert recordings_listing(resolve_workflow({"preset": "bonn", "raw_ieeg_root": str(tmp_path)})) != first
