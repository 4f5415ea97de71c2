"""Settings of the pruner: what is refused, and how."""

from __future__ import annotations

import pytest

from pipeline.config import ConfigError, resolve_run
from pipeline.config.pruning import PruningConfig

AST = {"training.mode": "single_device_ast"}
SOUND = {"data.use_audio": True, "training.use_audio": True}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ast.rho_target": 1.5}, "ast.rho_target"),
        ({"ast.rho_target": [0.5, 0.4]}, "2 value"),
        ({"ast.prune_layers": [0, 1], "ast.rho_target": [0.4, 0.5]}, "cannot return"),
        ({"ast.prune_layers": [1, 0]}, "rising order"),
        ({"ast.time_window_levels": [1, 1]}, "give each value once"),
        ({"ast.time_window_overlap": 1.0}, "time_window_overlap"),
        ({"ast.temperature": 0.0}, "temperature"),
        ({"ast.entropy_tua": 1.0}, "did you mean 'entropy_tau'"),
        ({"ast.gate_freeze": 0.05}, "gate_freeze=0.05"),
        ({"ast.mask_site": "query"}, "mask_site"),
        (AST | {"ast.prune_layers": [2]}, r"blocks 0 to 1 \(model.depth=2\)"),
        (AST | {"ast.time_window_levels": [1, 16]}, "above 8 cannot cut 8 frames"),
        (AST | {"ast.space_window_levels": [1, 4]}, "above 2 cannot cut 2 patches a side"),
        (AST | SOUND | {"model.fusion": "audio"}, "model.fusion=audio has none"),
        (AST | SOUND | {"model.fusion": "late", "ast.audio": "gate"}, "set ast.audio=keep or model.fusion=early"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        resolve_run("tiny", None, None, settings)


def test_a_dense_run_does_not_mind_the_pruners_settings() -> None:
    assert resolve_run("tiny", None, None, {"ast.prune_layers": [7]}).ast.prune_layers == [7]


def test_one_share_is_reached_in_equal_ratios() -> None:
    cfg = PruningConfig(prune_layers=[3, 6, 9], rho_target=0.125)
    assert cfg.keep_shares() == pytest.approx([0.5, 0.25, 0.125])
    assert PruningConfig(prune_layers=[1, 2], rho_target=[0.7, 0.2]).keep_shares() == [0.7, 0.2]


def test_further_epochs_are_those_of_a_run_that_starts_from_another() -> None:
    settings = {"training.num_epochs": 9, "training.further_epochs": 2}
    assert resolve_run("tiny", None, None, settings).epochs() == 9
    assert resolve_run("tiny", None, None, settings, init_from="EXP-P1V-1-dense-multiscale").epochs() == 2
    evaluation = settings | {"training.num_epochs": 0}
    assert resolve_run("tiny", None, None, evaluation, init_from="EXP-P1V-1-dense-multiscale").epochs() == 0
