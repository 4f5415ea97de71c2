"""Segments from layer costs: sums, traffic, attention share, edges, gradients, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.mapping.segments import Segment, build_segments_from_model, mark_fine_splittable_segments


@dataclass
class Row:
    """A layer's cost, as the estimator would write it."""

    index: int
    kind: str
    flops: Any
    bytes_weights: Any = 100.0
    bytes_activations: Any = 1000.0
    seq_len: Any = 8
    embed_dim: int = 16
    num_heads: Any = 4
    mlp_ratio: Any = 4.0


ROWS = [
    Row(0, "embed", 10.0),
    Row(1, "attention", 30.0, bytes_activations=3000.0),
    Row(2, "mlp", 50.0),
    Row(3, "attention", 30.0),
    Row(4, "head", 1.0, seq_len=1),
]


def test_hand_worked_groups_of_two() -> None:
    """Five layers in twos: sums of FLOPs and bytes, the largest activation, traffic tokens x width x bytes x batch."""
    segments = build_segments_from_model(None, {"batch_size": 3, "precision_bytes": 2}, layer_costs=ROWS)
    assert [segment.layer_indices for segment in segments] == [[0, 1], [2, 3], [4]]
    first = segments[0]
    assert first.flops == 40.0
    assert first.bytes == 2 * 100.0 + 4000.0
    assert first.weight_bytes == 200.0
    assert first.act_bytes == 3000.0
    assert first.attn_flops_ratio == pytest.approx(0.75)
    assert first.traffic_out_bytes == 3 * 2 * 8 * 16
    assert segments[2].traffic_in_bytes == 3 * 2 * 1 * 16
    assert [segment.edges for segment in segments] == [[(1, 768)], [(2, 768)], []]
    assert [segment.kind for segment in segments] == ["segment", "segment", "head"]


def test_costs_may_be_a_function_of_the_model() -> None:
    """The function gets the model, the batch size and the bytes per number."""
    seen: list[tuple[Any, int, int]] = []

    def costs(model: Any, batch_size: int, precision_bytes: int) -> list[Row]:
        seen.append((model, batch_size, precision_bytes))
        return ROWS

    assert len(build_segments_from_model("net", {"segment_size": 1, "batch_size": 2}, layer_costs=costs)) == 5
    assert seen == [("net", 2, 4)]


def test_gradients_reach_the_gates() -> None:
    """FLOPs, bytes and traffic built from a live keep ratio stay differentiable."""
    keep = torch.tensor(0.5, requires_grad=True)
    rows = [Row(k, "attention", 30.0 * keep, bytes_activations=100.0 * keep, seq_len=8 * keep) for k in range(4)]
    segments = build_segments_from_model(None, {}, layer_costs=rows)
    total = sum(torch.as_tensor(s.flops + s.bytes + s.traffic_out_bytes) for s in segments)
    torch.as_tensor(total).backward()
    # 4 layers of 30 FLOPs and 100 bytes, 2 segments whose output is 4 bytes x 16 channels x 8 keep tokens.
    assert keep.grad is not None
    assert keep.grad.item() == pytest.approx(4 * 130.0 + 2 * 4 * 16 * 8)


def test_marking_needs_attention_and_traffic() -> None:
    """Both thresholds have to be passed (spec §9.2)."""

    def marked(cfg: dict[str, Any]) -> list[bool]:
        segments: list[Segment] = build_segments_from_model(None, {}, layer_costs=ROWS)
        mark_fine_splittable_segments(segments, cfg)
        return [segment.can_split_fine for segment in segments]

    assert marked({"fine_split_attn_ratio_threshold": 0.5, "fine_split_traffic_threshold": 0}) == [True, False, False]
    assert marked({"fine_split_attn_ratio_threshold": 0.3, "fine_split_traffic_threshold": 0}) == [True, True, False]
    assert marked({"fine_split_attn_ratio_threshold": 0.3, "fine_split_traffic_threshold": 1e9}) == [False] * 3


@pytest.mark.parametrize(
    ("cfg", "costs", "words"),
    [({"segment_size": 0}, ROWS, "segment_size=0"), ({}, None, "layer_costs"), ({}, [], "no layers")],
)
def test_refusals(cfg: dict[str, Any], costs: Any, words: str) -> None:
    """Sizes below one, no costs, no layers."""
    with pytest.raises(ConfigError, match=words):
        build_segments_from_model(None, cfg, layer_costs=costs)
