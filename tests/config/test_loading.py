"""Merging, precedence, and errors that name file, key, value and mend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.loading import dotted_to_nested, load_preset, load_yaml, merge, parse_assignment, resolve_run
from pipeline.config.sections import MODE_PAIRS
from pipeline.errors import ConfigError
from pipeline.experiments import available, load_catalogue, name_of, resolve_experiment

PRESETS = ("tiny", "demo", "bench", "clips", "ucf101")
DENSE = "EXP-P1V-1-dense-multiscale"

nested = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda children: st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), nested, max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(mappings, mappings)
def test_the_last_layer_wins_and_nothing_else_is_lost(below: dict, above: dict) -> None:
    merged = merge(below, above)
    assert set(merged) == set(below) | set(above)
    for key in merged:
        if key not in above:
            assert merged[key] == below[key]
        elif isinstance(above[key], dict) and isinstance(below.get(key), dict):
            assert merged[key] == merge(below[key], above[key])
        else:
            assert merged[key] == above[key]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_experiment_resolves_under_every_preset(preset: str) -> None:
    for name in available(preset):
        run = resolve_experiment(name, preset, seed=3)
        assert (run.experiment, run.preset, run.seed) == (name, preset, 3)


def test_layers_apply_in_their_documented_order(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("title: t\ndata: {clip_lens: [4]}\ntraining: {lr: 0.5, num_epochs: 7}\n")
    run = resolve_run("demo", file, {"training.num_epochs": 8}, {"training.lr": 0.25})
    assert run.data.clip_lens == [4]  # experiment file over base
    assert run.training.num_epochs == 8  # catalogue override over experiment file
    assert run.training.lr == 0.25  # --set over all
    assert run.data.image_size == load_preset("demo").run["data"]["image_size"]  # preset over schema default


def test_legacy_clip_len_becomes_clip_lens_and_num_frames(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("data: {clip_len: 16}\n")
    assert resolve_run("demo", file).data.clip_lens == [16]
    assert resolve_run("demo", file).data.num_frames == 16
    assert resolve_run("demo", file, None, {"data.num_frames": 4}).data.num_frames == 4
    with pytest.raises(ConfigError, match=r"--set: data\.clip_len .*keep data\.clip_lens"):
        resolve_run("demo", None, None, {"data.clip_len": 16, "data.clip_lens": [8]})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ({"data.num_frame": 4}, r"--set: unknown key 'data\.num_frame'; did you mean 'num_frames'\?"),
        ({"trainng.lr": 1}, r"unknown key 'trainng'; did you mean 'training'\?"),
        ({"training.lr": "fast"}, r"--set: training\.lr='fast'"),
        ({"training.lr": -1}, r"training\.lr=-1.*greater than 0"),
        ({"training.use_audio": True}, r"training\.use_audio=True.*data\.use_audio=False"),
        ({"hw.mode": "single_device"}, r"training\.mode=dense_baseline.*hw\.mode=single_device"),
        ({"hw.use_hw_loss": True}, r"hw\.use_hw_loss=true.*hw\.mode=none"),
        ({"data.image_size": 512}, r"image_size=512.*short_side=72"),
        ({"model.embed_dim": 65}, r"embed_dim=65.*num_heads=2"),
        ({"data.image_size": 40}, r"image_size=40.*patch_size=16"),
        ({"data.clip_lens": []}, r"data\.clip_lens"),
    ],
)
def test_wrong_settings_are_told_by_key_value_and_mend(assignment: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_experiment(DENSE, "demo", 0, assignment)


@pytest.mark.parametrize("training_mode", sorted(MODE_PAIRS))
@pytest.mark.parametrize("hw_mode", ["none", "single_device", "multi_chip_fixed", "version_c_full"])
def test_only_documented_mode_pairs_are_accepted(training_mode: str, hw_mode: str) -> None:
    modes = {"training.mode": training_mode, "hw.mode": hw_mode, "hw.lambda_chip": 0.0, "hw.lambda_area": 0.0}
    if hw_mode == "multi_chip_fixed":
        modes |= {"chips.num_slots": 1, "chips.fixed": ["a100"], "alternation.steps_alpha": 0}
    if hw_mode in MODE_PAIRS[training_mode]:
        assert resolve_run("demo", None, modes).hw.mode == hw_mode
    else:
        with pytest.raises(ConfigError, match=re.escape(f"training.mode={training_mode} does not go with")):
            resolve_run("demo", None, modes)


def test_unknown_preset_and_missing_file_suggest_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"preset=dmeo.*did you mean 'demo'"):
        load_preset("dmeo")
    with pytest.raises(ConfigError, match=r"ast2_ucf101_dens\.yaml.*did you mean 'ast2_ucf101_dense\.yaml'"):
        load_yaml(Path("configs/ast2_ucf101_dens.yaml"))


def test_yaml_that_is_not_a_mapping_is_refused(tmp_path: Path) -> None:
    for text, message in (("- 1\n", "holds a list"), ("a: [1", "not YAML")):
        file = tmp_path / "x.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_yaml(file)


def test_assignments_are_typed_by_yaml() -> None:
    assert parse_assignment("data.clip_lens=[4, 8]") == ("data.clip_lens", [4, 8])
    assert parse_assignment("data.use_audio=true") == ("data.use_audio", True)
    assert parse_assignment("data.root=/data/my clips #2") == ("data.root", "/data/my clips #2")
    assert parse_assignment("data.root=a: b") == ("data.root", "a: b")
    assert parse_assignment('data.root="123"') == ("data.root", "123")
    assert dotted_to_nested({"a.b": 1, "a.c": 2, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}
    for text in ("novalue", "=3", "a..b=1"):
        with pytest.raises(ConfigError, match=r"expected section\.key=value"):
            parse_assignment(text)


def test_bare_config_names_its_catalogue_entry_and_changes_name_an_adhoc_run() -> None:
    config = Path("configs/ast2_ucf101_dense.yaml")
    assert name_of(config, {}) == DENSE
    changed = name_of(config, {"training.lr": 0.1})
    assert re.fullmatch(r"adhoc/ast2_ucf101_dense-[0-9a-f]{8}", changed)
    assert changed != name_of(config, {"training.lr": 0.2})


def test_titles_do_not_enter_the_resolved_run() -> None:
    entry = load_catalogue().experiments[DENSE]
    assert entry.title
    assert entry.title not in str(resolve_experiment(DENSE, "demo", 0).model_dump())
