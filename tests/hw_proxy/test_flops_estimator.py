from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.training import counted_flops
from pipeline.hw_proxy.flops_estimator import (
    attention_flops,
    flops_bytes_per_layer,
    mlp_flops,
    total_macs,
)
from pipeline.models.video_vit import VideoAudioAST, VideoViT

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
