from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training import counted_flops
from pipeline.hw_proxy.flops_estimator import (
    attention_flops,
    flops_bytes_per_layer,
    mlp_flops,
    total_macs,
)
from pipeline.models.compact import compact, gated_part
from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT

KINDS = ["video", "early", "late", "audio"]
Sizes = tuple[int, int, int, int, int, int, float, int]


def build(kind: str, sizes: Sizes, bands: int = 6) -> tuple[VideoViT | VideoAudioAST, tuple[torch.Tensor, ...]]:
    side, frames = sizes[:2]
    clips, sound = torch.randn(2, frames, 3, side, side), torch.randn(2, frames, bands)
    if kind == "video":
        return VideoViT(*sizes).eval(), (clips,)
    return VideoAudioAST(*sizes, bands, fusion=kind).eval(), (clips, sound)


@st.composite
def model_sizes(draw: st.DrawFn) -> Sizes:
    patch, grid, heads = draw(st.sampled_from([4, 8])), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    width = heads * draw(st.sampled_from([4, 8, 12]))
    ratio = draw(st.sampled_from([0.5, 1.0, 2.0, 3.3, 4.0]))
    return (
        patch * grid,
        draw(st.integers(1, 5)),
        draw(st.integers(2, 20)),
        width,
        draw(st.integers(1, 3)),
        heads,
        ratio,
        patch,
    )


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), sizes=model_sizes(), bands=st.integers(1, 20))
def test_total_equals_the_flop_counter_of_torch(kind: str, sizes: Sizes, bands: int) -> None:
    model, inputs = build(kind, sizes, bands)
    total = sum(layer.flops for layer in flops_bytes_per_layer(model, batch_size=2))
    assert total == pytest.approx(counted_flops(model, *inputs), rel=0.01)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), sizes=model_sizes(), precision_bytes=st.sampled_from([1, 2, 4]))
def test_weights_add_up_to_the_parameters(kind: str, sizes: Sizes, precision_bytes: int) -> None:
    model, _ = build(kind, sizes)
    total = sum(layer.bytes_weights for layer in flops_bytes_per_layer(model, precision_bytes=precision_bytes))
    assert total == precision_bytes * sum(p.numel() for p in model.parameters())


SMALL: Sizes = (16, 3, 7, 24, 2, 3, 2.0, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_come_in_running_order(kind: str) -> None:
    layers = flops_bytes_per_layer(build(kind, SMALL)[0])
    one_net = ["embed", "attention", "mlp", "attention", "mlp", "head"]
    assert [layer.kind for layer in layers] == one_net * (2 if kind == "late" else 1)
    assert [layer.index for layer in layers] == list(range(len(layers)))
    tokens = {"video": [13], "early": [16], "late": [13, 4], "audio": [4]}[kind]
    assert [layer.seq_len for layer in layers[::6]] == tokens
    assert {(layer.embed_dim, layer.num_heads, layer.mlp_ratio) for layer in layers} == {(24, 3, 2.0)}


def test_batch_scales_work_and_activations_and_precision_scales_bytes() -> None:
    model, _ = build("early", SMALL)
    base = flops_bytes_per_layer(model)
    for one, more in zip(base, flops_bytes_per_layer(model, batch_size=5, precision_bytes=2), strict=True):
        assert more.flops == 5 * one.flops
        assert more.bytes_activations == 5 * one.bytes_activations / 2
        assert more.bytes_weights == one.bytes_weights / 2


def test_known_block() -> None:
    """12 N d^2 + 2 N^2 d multiply-accumulates in a block of MLP ratio 4."""
    tokens, width = 393, 192
    flops = attention_flops(tokens, width, 3, 64) + mlp_flops(tokens, width, 4 * width)
    assert flops == 2 * (12 * tokens * width**2 + 2 * tokens**2 * width)


def test_macs_are_those_of_one_clip() -> None:
    model, inputs = build("late", SMALL)
    assert total_macs(model) == counted_flops(model, *inputs) // 2 // 2


def test_expected_sizes_give_gradients() -> None:
    tokens = torch.tensor(100.0, requires_grad=True)
    heads, hidden = torch.tensor(2.5, requires_grad=True), torch.tensor(300.0, requires_grad=True)
    (attention_flops(tokens, 96, heads, 32) + mlp_flops(tokens, 96, hidden)).backward()
    step = 1e-3
    slope = (attention_flops(100.0 + step, 96, 2.5, 32) - attention_flops(100.0 - step, 96, 2.5, 32)) / (2 * step)
    assert tokens.grad.item() == pytest.approx(slope + mlp_flops(1, 96, 300.0), rel=1e-5)
    assert heads.grad.item() == pytest.approx(attention_flops(100.0, 96, 1, 32))
    assert hidden.grad.item() == pytest.approx(mlp_flops(100.0, 96, 1))


def pruned(kind: str, sizes: Sizes, **ast_cfg: object) -> tuple[VideoViT | VideoAudioAST, tuple[torch.Tensor, ...]]:
    """A model with about a third of its gates closed."""
    side, frames = sizes[:2]
    clips, sound = torch.randn(2, frames, 3, side, side), torch.randn(2, frames, 6)
    cfg = {"prune_layers": [1], "space_window_levels": [1, 2], "time_window_levels": [1, 2], **ast_cfg}
    torch.manual_seed(0)
    if kind == "video":
        model, inputs = VideoViT(*sizes, use_ast_prune=True, ast_cfg=cfg), (clips,)
    else:
        model = VideoAudioAST(*sizes, 6, fusion=kind, use_ast_prune=True, ast_cfg=cfg)
        inputs = (clips, sound)
    pruner, _ = gated_part(model)
    for logit in (pruner.head_logit, pruner.ch_logit, pruner.block_logit):
        logit.data.normal_(mean=0.4)
    return model.eval(), inputs


PRUNED: Sizes = (32, 4, 7, 24, 4, 3, 2.0, 8)
FORMS = [
    ("video", {}),
    ("video", {"prune_layers": [0, 2], "rho_target": [0.6, 0.2]}),
    ("video", {"mask_site": "value"}),
    ("early", {"audio": "gate"}),
    ("early", {"audio": "keep", "rho_target": 0.3}),
    ("late", {}),
]


@pytest.mark.parametrize(("kind", "ast_cfg"), FORMS)
def test_pruned_and_compacted_totals_equal_the_flop_counter_of_torch(kind: str, ast_cfg: dict) -> None:
    model, inputs = pruned(kind, PRUNED, **ast_cfg)
    for form in (model, compact(model)):
        total = sum(layer.flops for layer in flops_bytes_per_layer(form, batch_size=2))
        # Gates scale weights and scores rank tokens with a few matrix products that belong to no layer.
        assert total == pytest.approx(counted_flops(form, *inputs) - scoring_flops(form, inputs), rel=0.01)


def scoring_flops(model: VideoViT | VideoAudioAST, inputs: tuple[torch.Tensor, ...]) -> int:
    """What torch counts for scoring: window averages are matrix products."""
    _, info = model(*inputs, return_intermediate=True)
    pruner, _ = gated_part(model)
    places = pruner.num_patches
    slices = {"video": (0, places - 1), "audio": (places - 1, places)} if pruner.cfg.num_modalities > 1 else None
    tokens = torch.randn(2, info["token_mask"].shape[1], places, 24)
    masked = model.ast_pruner is None or isinstance(model, VideoAudioAST) or len(pruner.cfg.prune_layers) > 1
    total = 0
    for place in range(len(pruner.cfg.prune_layers)):
        available = torch.ones(tokens.shape[:3], dtype=torch.bool) if masked and (place or slices) else None
        with FlopCounterMode(display=False) as counter:
            pruner.gate_tokens(tokens, slices or {"video": (0, places)}, available=available, place=place)
        total += counter.get_total_flops()
    return total


@pytest.mark.parametrize(("kind", "ast_cfg"), FORMS)
def test_live_ratios_price_the_compacted_model(kind: str, ast_cfg: dict) -> None:
    model, inputs = pruned(kind, PRUNED, **ast_cfg)
    with torch.no_grad():
        _, info = model(*inputs, return_intermediate=True)
    live = flops_bytes_per_layer(model, batch_size=3, gates=info["gates"])
    for expected, found in zip(flops_bytes_per_layer(compact(model), batch_size=3), live, strict=True):
        for name in ("flops", "bytes_weights", "bytes_activations", "seq_len"):
            if name == "seq_len" and expected.flops == 0:
                continue
            assert float(getattr(found, name)) == pytest.approx(float(getattr(expected, name)), rel=1e-5), (name, found)


def test_cost_falls_with_every_ratio_and_has_a_gradient_in_each() -> None:
    model, inputs = pruned("video", PRUNED, learn_keep=True)
    pruner, _ = gated_part(model)
    for logit in (pruner.head_logit, pruner.ch_logit, pruner.block_logit):
        logit.data.fill_(3.0)
    _, info = model.train()(*inputs, return_intermediate=True)
    sum(layer.flops for layer in flops_bytes_per_layer(model, gates=info["gates"])).backward()
    for parameter in (pruner.head_logit, pruner.ch_logit, pruner.block_logit, pruner.keep_logit):
        assert (parameter.grad > 0).all()


def test_weights_of_a_compacted_model_add_up() -> None:
    smaller = compact(pruned("video", PRUNED)[0])
    own = sum(p.numel() for name, p in smaller.named_parameters() if "ast_pruner" not in name)
    assert sum(layer.bytes_weights for layer in flops_bytes_per_layer(smaller, precision_bytes=1)) == own
