"""The default workload is a real mapping problem: one chip cannot do what a mix does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.config.hardware import HwConfig
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.hw_proxy.workload import KeepRatios, keep_everything
from pipeline.mapping.mapping_solver import MappingSolver
from pipeline.mapping.segments import Segment
from pipeline.trainer.workload_segments import workload_segments

SPECS = ("peak_flops", "peak_bw", "mem_gb", "area_mm2", "tdp_w", "idle_w")
MIX = ("small_core", "d1", "a100", "a100")


def pruned() -> KeepRatios:
    tokens, shares = torch.ones(12), torch.full((12,), 0.75)
    tokens[3:] = 0.5
    return KeepRatios(tokens, shares, shares, torch.ones(12), torch.ones(12))


def solve(segments: list[Segment], chips: tuple[str, ...]) -> dict[str, Any]:
    known = load_chip_library().chips
    specs = {name: torch.tensor([float(getattr(known[chip], name)) for chip in chips]) for name in SPECS}
    hops = [[float(a != b) for b in range(len(chips))] for a in range(len(chips))]
    cfg = {"objective": "balanced", "iterations": 20_000, "hops": hops}
    return MappingSolver(len(chips)).solve_mapping(segments, specs, RooflineProxy(), cfg=cfg)


def test_segments_hold_what_their_layers_cost():
    hw = HwConfig()
    segments = workload_segments(hw, keep_everything())
    assert len(segments) == 13
    assert [len(segment.layer_indices) for segment in segments] == [2] * 13
    assert len(workload_segments(hw.model_copy(update={"segment_size": 1}), keep_everything())) == 26
    stream_bytes = 20 * 2 * 3137 * 768
    assert float(segments[1].traffic_out_bytes) == pytest.approx(stream_bytes)
    assert float(segments[1].act_bytes) == pytest.approx(6 * stream_bytes)
    kernels = [segment.kernels.table() for segment in segments]
    flops = [(table.count * table.flops).sum().item() for table in kernels]
    assert flops == pytest.approx([float(segment.flops) for segment in segments])


def test_gradients_reach_every_gate_through_every_segment():
    ratios = {name: torch.full((4,), 0.8, requires_grad=True) for name in vars(keep_everything())}
    for segment in workload_segments(HwConfig(), KeepRatios(**ratios)):
        (segment.flops + segment.bytes + segment.traffic_out_bytes).backward(retain_graph=True)
    assert all((value.grad > 0).all() for value in ratios.values())


def test_all_on_one_chip_is_infeasible_or_at_least_twice_as_slow():
    segments = workload_segments(HwConfig(), pruned())
    mix = solve(segments, MIX)
    assert mix["mapping"] is not None
    for chip in load_chip_library().libraries["default"]:
        alone = solve(segments, (chip,))
        assert alone["mapping"] is None or alone["balanced_ms"] >= 2.0 * mix["balanced_ms"]
    assert "the largest slot it can run on has" in solve(segments, ("d1",))["reason"]


def test_the_mix_needs_every_kind_of_chip_it_has():
    segments = workload_segments(HwConfig(), pruned())
    best_ms = solve(segments, MIX)["balanced_ms"]
    assert best_ms < 0.9 * solve(segments, ("l4",) * 8)["balanced_ms"]
    assert best_ms < 0.6 * solve(segments, ("big_core",) * 4)["balanced_ms"]
