"""Closed gates can be cut out of the weights without a trace, saved, and loaded again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.models.compact import compact, gated_part, has_pruner, load_compacted, save_compacted
from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT

T, SIDE, CLASSES, BANDS = 3, 16, 5, 6
SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0, "patch_size": 8}
AST = {"prune_layers": [1], "space_window_levels": [1, 2], "time_window_levels": [1, 2]}


def make(kind: str = "video", offset: float = 0.3, seed: int = 0) -> VideoViT | VideoAudioAST:
    torch.manual_seed(seed)
    if kind == "video":
        model = VideoViT(SIDE, T, CLASSES, **SIZES, use_ast_prune=True, ast_cfg=AST)
    else:
        model = VideoAudioAST(
            SIDE, T, CLASSES, **SIZES, audio_feat_dim=BANDS, fusion=kind, use_ast_prune=True, ast_cfg=AST
        )
    pruner, _ = gated_part(model)
    for logit in (pruner.head_logit, pruner.ch_logit, pruner.block_logit):
        logit.data.normal_(mean=offset)
    return model.eval()


def inputs(kind: str) -> tuple[torch.Tensor, ...]:
    x = torch.randn(2, T, 3, SIDE, SIDE)
    return (x,) if kind == "video" else (x, torch.randn(2, T, BANDS))


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["video", "early", "late"]),
    offset=st.sampled_from([-5.0, -0.5, 0.0, 1.0, 5.0]),
    seed=st.integers(0, 30),
)
def test_compacted_equals_gated(kind: str, offset: float, seed: int) -> None:
    model = make(kind, offset, seed)
    smaller, x = compact(model), inputs(kind)
    with torch.no_grad():
        assert (smaller(*x) - model(*x)).abs().max() <= 1e-5


def test_sizes_are_the_open_gates() -> None:
    model = make()
    pruner, _ = gated_part(model)
    gates = pruner.gates()
    _, transformer = gated_part(compact(model))
    for block, values in zip(transformer.blocks, gates.of_blocks(), strict=True):
        assert block.num_heads == int(values.head.sum()) * int(values.attention)
        assert block.hidden_dim == int(values.channel.sum()) * int(values.mlp)


def test_the_model_itself_stays_and_its_copy_has_no_gates() -> None:
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    smaller = compact(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any("head_logit" in name for name in smaller.state_dict())
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("offset", [-5.0, 0.3, 5.0])
@pytest.mark.parametrize("kind", ["video", "early", "late"])
def test_a_file_gives_the_same_model(tmp_path: Path, kind: str, offset: float) -> None:
    smaller, x = compact(make(kind, offset)), inputs(kind)
    save_compacted(tmp_path / "compact.safetensors", smaller)
    loaded = load_compacted(tmp_path / "compact.safetensors", make(kind, seed=9))
    assert torch.equal(loaded(*x), smaller(*x))


def test_a_compacted_model_still_learns() -> None:
    smaller = compact(make()).train()
    smaller(*inputs("video")).logsumexp(1).sum().backward()
    assert [name for name, p in smaller.named_parameters() if p.requires_grad and p.grad is None] == []


def test_what_cannot_be_compacted_or_loaded_is_told(tmp_path: Path) -> None:
    dense = VideoViT(SIDE, T, CLASSES, **SIZES)
    assert not has_pruner(dense)
    with pytest.raises(ValueError, match="use_ast_prune=True"):
        compact(dense)
    ungated = VideoViT(SIDE, T, CLASSES, **SIZES, use_ast_prune=True, ast_cfg=AST | {"gates": False})
    with pytest.raises(ValueError, match="gates"):
        compact(ungated)
    with pytest.raises(DataError, match="no such file"):
        load_compacted(tmp_path / "absent.safetensors", make())
    (tmp_path / "half.safetensors").write_bytes(b"half of a file")
    with pytest.raises(DataError, match="not a compacted model"):
        load_compacted(tmp_path / "half.safetensors", make())
    save_compacted(tmp_path / "early.safetensors", compact(make("early")))
    with pytest.raises(DataError, match="not a compacted model"):
        load_compacted(tmp_path / "early.safetensors", make("video"))
