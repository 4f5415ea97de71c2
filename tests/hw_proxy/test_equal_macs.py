"""The dense control of equal cost: what the presets say is what the search finds, within 2 %."""

from __future__ import annotations

import pytest

from pipeline.config import load_preset
from pipeline.experiments import resolve_experiment
from pipeline.hw_proxy.equal_macs import equal_macs_sizes
from pipeline.hw_proxy.flops_estimator import total_macs
from pipeline.models.build import build_model
from pipeline.models.video_vit import VideoViT

BASE = "EXP-P1V-3-ast-no-hw"
CLASSES = 6
PRESETS = ("tiny", "bench")


def macs_of(name: str, preset: str) -> int:
    return total_macs(build_model(resolve_experiment(name, preset, 0), CLASSES))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_control_costs_what_the_pruned_networks_cost(preset: str) -> None:
    ours = macs_of(f"{BASE}__ast", preset)
    assert macs_of(f"{BASE}__dense-equal-macs", preset) == pytest.approx(ours, rel=0.02)
    for rival in ("random", "frame-uniform", "evit", "tome-once"):
        assert macs_of(f"{BASE}__{rival}", preset) == ours, rival


@pytest.mark.parametrize("preset", PRESETS)
def test_it_takes_as_many_steps_as_the_others_in_all(preset: str) -> None:
    control = resolve_experiment(f"{BASE}__dense-equal-macs", preset, 0)
    ours = resolve_experiment(f"{BASE}__ast", preset, 0)
    start = resolve_experiment(str(ours.init_from), preset, 0)
    assert control.init_from is None
    assert control.epochs() == start.epochs() + ours.epochs()


@pytest.mark.parametrize("preset", PRESETS)
def test_merging_in_every_block_ends_with_as_many_tokens(preset: str) -> None:
    once = build_model(resolve_experiment(f"{BASE}__tome-once", preset, 0), CLASSES)
    each = build_model(resolve_experiment(f"{BASE}__tome-each-block", preset, 0), CLASSES)
    assert each.net_shapes()[0].tokens[-1] == once.net_shapes()[0].tokens[-1]
    assert len(each.ast_pruner.cfg.prune_layers) == load_preset(preset).run["model"]["depth"] - 1


@pytest.mark.parametrize("preset", PRESETS)
def test_the_search_finds_the_preset_s_sizes(preset: str) -> None:
    dense = resolve_experiment("EXP-P1V-1-dense-multiscale", preset, 0)
    model, data = dense.model, dense.data

    def build(width: int, ratio: float) -> VideoViT:
        sizes = (data.image_size, data.num_frames, CLASSES, width, model.depth, model.num_heads, ratio)
        return VideoViT(*sizes, model.patch_size)

    macs = macs_of(f"{BASE}__ast", preset)
    width, ratio = equal_macs_sizes(build, model.embed_dim, model.num_heads, model.mlp_ratio, macs)
    assert total_macs(build(width, ratio)) == pytest.approx(macs, rel=0.02)
    control = resolve_experiment(f"{BASE}__dense-equal-macs", preset, 0).model
    assert (width, round(ratio * width)) == (control.embed_dim, round(control.mlp_ratio * control.embed_dim))
    with pytest.raises(ValueError, match="needs more already"):
        equal_macs_sizes(build, model.embed_dim, model.num_heads, model.mlp_ratio, macs=1)
