"""The spec's API: cost matrix, latency estimate, solve_mapping's keys, capacities, closed slots, fine split."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError, DataError
from pipeline.mapping.fine_split import split_segment, try_fine_split_segment
from pipeline.mapping.fork_join import graph_time, ring_all_reduce_mb, stages_of
from pipeline.mapping.mapping_solver import MappingSolver
from pipeline.mapping.objective import evaluate, slot_table
from pipeline.mapping.segments import Segment, chain
from pipeline.mapping.synthetic import random_instance


class Roofline:
    """A proxy: time = max of compute and memory time plus a launch; counts its calls."""

    def __init__(self, launch_ms: float = 0.01) -> None:
        self.calls = 0
        self.launch_ms = launch_ms

    def predict_segment(self, features: dict[str, Any]) -> dict[str, Any]:
        """One segment on one device."""
        device = features["device"]
        self.calls += 1
        compute_ms = 1e3 * torch.as_tensor(features["flops"] / device["peak_flops"])
        memory_ms = 1e3 * torch.as_tensor(features["bytes"] / device["peak_bw"])
        return {
            "lat_ms": torch.maximum(compute_ms, memory_ms) + self.launch_ms,
            "mem_mb": features["bytes"] / 1e6,
            "power_w": 100.0,
        }


class BatchedRoofline(Roofline):
    """The same with one batched call."""

    def predict_segments(self, features: Sequence[dict[str, Any]], devices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """All segments on all devices."""
        one = Roofline(self.launch_ms)
        self.calls += 1
        rows = [[one.predict_segment({**row, "device": device}) for device in devices] for row in features]
        return {key: torch.tensor([[float(cell[key]) for cell in row] for row in rows]) for key in rows[0][0]}


def _segments(count: int, flops: float = 1e12, traffic: float = 1e6) -> list[Segment]:
    return chain(
        [
            Segment(
                id=k,
                layer_indices=[k],
                flops=flops * (1 + k % 3),
                bytes=4e7,
                seq_len=100,
                embed_dim=64,
                num_heads=4,
                mlp_ratio=4.0,
                precision=2,
                traffic_in_bytes=traffic,
                traffic_out_bytes=traffic,
                attn_flops_ratio=0.6,
                weight_bytes=2e7,
                act_bytes=5e6,
            )
            for k in range(count)
        ]
    )


def _chips(count: int, mem_gb: float = 1.0) -> dict[str, torch.Tensor]:
    speed = torch.tensor([1e14, 5e13, 2e13, 1e14])[torch.arange(count) % 4]
    return {"peak_flops": speed, "peak_bw": speed / 100, "mem_gb": torch.full((count,), mem_gb)}


def test_signatures_follow_the_spec() -> None:
    """Spec §9.3, §10: the positional arguments, in order; additions are keyword-only."""

    def positional(function: Any) -> list[str]:
        parameters = inspect.signature(function).parameters.values()
        return [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self"]

    assert positional(MappingSolver.build_cost_matrix) == ["segments", "eff_specs", "proxy"]
    assert positional(MappingSolver.estimate_pipeline_latency) == ["mapping", "lat_ms", "mode"]
    assert positional(MappingSolver.solve_mapping) == [
        "segments",
        "eff_specs",
        "hw_proxy",
        "layout_positions",
        "strategy",
        "cfg",
    ]
    assert positional(try_fine_split_segment) == ["segment", "eff_specs", "proxy", "layout_positions", "G", "cfg"]


def test_cost_matrix_batched_equals_single_calls() -> None:
    """One batched call gives what K x S calls give."""
    solver, segments, chips = MappingSolver(4), _segments(5), _chips(4)
    single, batched = Roofline(), BatchedRoofline()
    ours, theirs = (solver.build_cost_matrix(segments, chips, proxy) for proxy in (single, batched))
    assert single.calls == 20
    assert batched.calls == 1
    assert ours["lat_ms"].shape == (5, 4)
    for name in ("lat_ms", "mem_mb", "power_w"):
        assert torch.allclose(ours[name].double(), theirs[name].double())


def test_a_nan_prediction_is_named() -> None:
    """The segment and the slot are told."""
    segments = _segments(3)
    segments[2].flops = math.nan
    with pytest.raises(DataError, match="segment 2 on slot 0"):
        MappingSolver(2).build_cost_matrix(segments, _chips(2), Roofline())


def test_estimate_hand_worked_and_equal_to_the_objective() -> None:
    """serial 1 + 2 + 1 + 2.2, balanced 5.2, three samples 6.2 + 2 * 5.2; and agreement with the exact objective."""
    solver = MappingSolver(2)
    lat = torch.tensor([[1.0, 4.0], [2.0, 3.0], [5.0, 1.0]], requires_grad=True)
    send = torch.tensor([0.0, 2.2])
    assert solver.estimate_pipeline_latency([0, 0, 1], lat, "serial", send_ms=send).item() == pytest.approx(6.2)
    period = solver.estimate_pipeline_latency([0, 0, 1], lat, "balanced", send_ms=send)
    assert period.item() == pytest.approx(5.2)
    full = solver.estimate_pipeline_latency([0, 0, 1], lat, "pipeline", send_ms=send, num_samples=3)
    assert full.item() == pytest.approx(16.6)
    period.backward()
    assert lat.grad is not None
    assert lat.grad.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    with pytest.raises(ConfigError, match="mode"):
        solver.estimate_pipeline_latency([0, 0, 1], lat, "parallel")
    instance = random_instance(9, 4, 1, tightness=0.2)
    mapping = np.random.default_rng(0).integers(0, 4, 9)
    sends = instance.send_ms_per_hop[:-1] * instance.hops[mapping[:-1], mapping[1:]]
    for mode in ("serial", "balanced"):
        estimate = MappingSolver(4).estimate_pipeline_latency(
            mapping.tolist(), torch.from_numpy(instance.latency_ms), mode, send_ms=torch.from_numpy(sends)
        )
        table = slot_table(instance, mapping).busy_ms
        assert estimate.item() == pytest.approx(table.sum() if mode == "serial" else table.max())


@pytest.mark.parametrize(
    "strategy", ["round_robin", "greedy", "greedy_local", "dp", "lagrangian", "anneal", "milp", "portfolio"]
)
def test_solve_returns_the_contract(strategy: str) -> None:
    """The spec's keys and ours, consistent with each other, for every strategy."""
    cfg = {"iterations": 5000} if strategy != "milp" else {"seconds": 5.0}
    result = MappingSolver(4).solve_mapping(_segments(8), _chips(4), Roofline(), strategy=strategy, cfg=cfg)
    keys = {"mapping", "per_slot_time", "total_latency_ms", "comm_ms", "segments", "rewire_meta"}
    assert keys | {"lower_bound", "gap", "per_slot", "incumbent", "reason"} <= result.keys()
    assert len(result["mapping"]) == 8
    assert result["total_latency_ms"] == pytest.approx(max(result["per_slot_time"]))
    assert result["serial_ms"] == pytest.approx(sum(result["per_slot_time"]))
    assert result["comm_ms"] == pytest.approx(sum(row["send_ms"] for row in result["per_slot"]))
    assert result["lower_bound"] <= result["value"] * (1 + 1e-12)


def test_capacity_counts_weights_added_and_the_largest_activation_once() -> None:
    """8 x 20 MB of weights + 5 MB: two slots of 0.1 GB (90 % usable: 90 MB, 4 segments each) hold them, 0.09 GB not."""
    solver, segments = MappingSolver(2), _segments(8)
    result = solver.solve_mapping(segments, _chips(2, mem_gb=0.1), Roofline(), cfg={"iterations": 5000})
    assert sorted(np.bincount(result["mapping"], minlength=2).tolist()) == [4, 4]
    failed = solver.solve_mapping(segments, _chips(2, mem_gb=0.09), Roofline(), cfg={"iterations": 5000})
    assert failed["mapping"] is None
    assert math.isinf(failed["total_latency_ms"])
    assert "160 MB together" in failed["reason"]


def test_closed_slots_and_positions() -> None:
    """Closed slots stay empty; far apart chips cost more hops; unknown keys get a suggestion."""
    solver, segments, chips = MappingSolver(4), _segments(6, traffic=1e8), _chips(4)
    cfg = {"iterations": 5000, "open_slots": [True, False, True, False]}
    for strategy in ("portfolio", "round_robin"):
        result = solver.solve_mapping(segments, chips, Roofline(), strategy=strategy, cfg=cfg)
        assert set(result["mapping"]) <= {0, 2}
    near, far = (torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0], [30.0, 30.0]]) * factor for factor in (1, 4))
    values = [
        solver.solve_mapping(segments, chips, Roofline(), layout_positions=at, cfg={"iterations": 20_000})["value"]
        for at in (near, far)
    ]
    assert values[0] < values[1]
    with pytest.raises(ConfigError, match="did you mean 'iterations'"):
        solver.solve_mapping(segments, chips, Roofline(), cfg={"iteration": 10})


def test_ring_all_reduce_volumes() -> None:
    """A ViT-B block of 1,568 tokens in fp16 (2.408 MB): each of 2 parts sends 2.41 MB, each of 4 sends 3.61 MB."""
    block_mb = 1568 * 768 * 2 / 1e6
    assert ring_all_reduce_mb(block_mb, 2) == pytest.approx(2.408, abs=1e-3)
    assert ring_all_reduce_mb(block_mb, 4) == pytest.approx(3.613, abs=1e-3)


def test_graph_time_of_a_chain_is_the_objective() -> None:
    """Without parts the fork-join evaluation and the exact objective agree on every slot."""
    instance = random_instance(9, 4, 2, tightness=0.2)
    segments = _segments(9)
    for segment, traffic_mb in zip(segments, [*instance.traffic_mb, 0.0], strict=True):
        segment.traffic_out_bytes = traffic_mb * 1e6
    mapping = np.random.default_rng(1).integers(0, 4, 9)
    links = (instance.hops, instance.hop_ms, instance.ms_per_mb)
    time = graph_time(segments, mapping.tolist(), instance.latency_ms, *links)
    assert time.busy_ms == pytest.approx(slot_table(instance, mapping).busy_ms)
    assert time.serial_ms == pytest.approx(evaluate(instance, mapping, "serial"))
    assert time.period_ms == pytest.approx(evaluate(instance, mapping, "balanced"))


def test_graph_time_of_a_split_hand_worked() -> None:
    """A -> (B0 | B1) -> C on slots 0, (0 | 1), 1; 2 MB traffic, hop 0.1 ms, 0.5 ms per MB, one hop.

    A sends to B1: 0.1 + 2 * 0.5 = 1.1. Ring of two: 2 steps of 1 MB, 2 * (0.1 + 0.5) = 1.2 on each. C sits where B1
    holds the output: no send. Serial 1 + 1.1 + 2 + 1.2 + 3 = 8.3; slot 0: 1 + 1.1 + 2 + 1.2, slot 1: 2 + 1.2 + 3.
    """
    whole = _segments(3, traffic=2e6)
    parts = split_segment(whole[1], 2, first_id=10)
    segments = [whole[0], *parts, whole[2]]
    assert stages_of(segments) == [[0], [1, 2], [3]]
    latency = np.array([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0], [3.0, 3.0]])
    time = graph_time(segments, [0, 0, 1, 1], latency, np.array([[0.0, 1.0], [1.0, 0.0]]), 0.1, 0.5)
    assert time.serial_ms == pytest.approx(8.3)
    assert time.busy_ms == pytest.approx([5.3, 6.2])
    assert time.comm_ms == pytest.approx(1.1 + 2 * 1.2)
    # 2 MB to B1 and 2 MB around the ring by each part.
    assert time.sent_mb_hops == pytest.approx([4.0, 2.0])


def test_parts_conserve_work_but_not_the_input() -> None:
    """FLOPs and weights add up to the whole; every part reads the whole input."""
    whole = _segments(1)[0]
    parts = split_segment(whole, 4)
    assert sum(part.flops for part in parts) == pytest.approx(whole.flops)
    assert sum(part.weight_bytes for part in parts) == pytest.approx(whole.weight_bytes)
    inner = whole.bytes - whole.weight_bytes - whole.traffic_in_bytes
    assert parts[0].bytes == pytest.approx(whole.weight_bytes / 4 + whole.traffic_in_bytes + inner / 4)
    assert all(part.parent_id == whole.id for part in parts)


def test_split_is_taken_only_when_it_pays() -> None:
    """Fast links: splitting pays and the result says so; slow links: nothing changes and the bound stays."""
    solver, chips = MappingSolver(4), _chips(4)
    base = {"iterations": 5000, "objective": "serial", "fine_groups": 2}
    plain = solver.solve_mapping(_segments(4, flops=5e12), chips, Roofline(), cfg=base)
    split = solver.solve_mapping(_segments(4, flops=5e12), chips, Roofline(), cfg={**base, "fine_split": True})
    assert split["value"] < plain["value"]
    assert split["rewire_meta"]
    assert {"segment_id", "groups", "perm", "inv_perm"} == split["rewire_meta"][0].keys()
    assert len(split["mapping"]) == len(split["segments"]) > 4
    assert split["unsplit_lower_bound"] == pytest.approx(plain["lower_bound"])
    assert sum(row["compute_ms"] + row["send_ms"] for row in split["per_slot"]) == pytest.approx(
        sum(split["per_slot_time"])
    )
    ids = {segment.id for segment in split["segments"]}
    assert len(ids) == len(split["segments"])
    assert all(target in ids for segment in split["segments"] for target, _ in segment.edges)
    slow = {**base, "link_gb_s": 0.01, "fine_split": True}
    kept = solver.solve_mapping(_segments(4, flops=5e12), chips, Roofline(), cfg=slow)
    assert kept["rewire_meta"] == []
    assert len(kept["segments"]) == 4
    assert kept["lower_bound"] > 0.0


def test_try_fine_split_charges_the_collective() -> None:
    """The spec's function: a large segment splits on fast links, and the same one does not on slow ones."""
    segment = _segments(1, flops=5e13)[0]
    taken = try_fine_split_segment(segment, _chips(4), Roofline(), None, 2, {})
    assert taken["use_fine"]
    assert len(taken["segments"]) == 2
    assert taken["cost_fine"] < taken["cost_coarse"]
    perm, inverse = taken["rewire_meta"]["perm"], taken["rewire_meta"]["inv_perm"]
    assert torch.equal(perm[inverse], torch.arange(64))
    refused = try_fine_split_segment(segment, _chips(4), Roofline(), None, 2, {"link_gb_s": 1e-3})
    assert not refused["use_fine"]
    assert refused["segments"] == [segment]
    assert refused["rewire_meta"] is None
