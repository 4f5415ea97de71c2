"""Fine split (spec §9.3): run a segment as G parallel parts where that pays after communication.

Each part has 1/G of the FLOPs and weights but reads the whole input; the parts join by a ring all-reduce. A split is
taken only if the objective of the whole pipeline falls by more than a margin and every slot still holds its memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .channel_order import affinity_permutation
from .costs import MappingConfig, cost_matrix, link_hops, mapping_config, segment_memory_mb, slot_devices
from .fork_join import GraphTime, collectives_of, graph_time, ring_all_reduce_mb, stages_of
from .instance import CAPACITY_TOLERANCE_MB
from .segments import Segment


def split_segment(segment: Segment, groups: int, first_id: int | None = None) -> list[Segment]:
    """The G parts: FLOPs, weights, heads and inner activations 1/G, the input whole; edges come by `connect`."""
    moved = segment.bytes - segment.weight_bytes
    inner = max(moved - segment.traffic_in_bytes, 0.0)
    inner_resident = max(segment.act_bytes - segment.traffic_in_bytes, 0.0)
    reads = segment.traffic_in_bytes
    return [
        dataclasses.replace(
            segment,
            id=segment.id if first_id is None else first_id + part,
            flops=segment.flops / groups,
            bytes=segment.weight_bytes / groups + reads + inner / groups,
            weight_bytes=segment.weight_bytes / groups,
            act_bytes=reads + inner_resident / groups if segment.act_bytes > 0 else 0.0,
            num_heads=segment.num_heads / groups,
            can_split_fine=False,
            fine_groups=None,
            parent_id=segment.id,
            kernels=None if segment.kernels is None else segment.kernels.divided(groups, segment.embed_dim),
        )
        for part in range(groups)
    ]


@dataclass(frozen=True)
class Plan:
    """A pipeline being refined: segments with parts, their slots, and what they cost there."""

    segments: list[Segment]
    slots: list[int]
    latency_ms: Float[np.ndarray, "K S"]
    memory_mb: Float[np.ndarray, " K"]


def _time(plan: Plan, hops: np.ndarray, config: MappingConfig) -> GraphTime:
    return graph_time(plan.segments, plan.slots, plan.latency_ms, hops, config.hop_ms, config.ms_per_mb)


def _objective(time: GraphTime, config: MappingConfig) -> float:
    return time.serial_ms if config.objective == "serial" else time.period_ms


def slot_sets(latency_ms: Float[np.ndarray, " S"], hops: Float[np.ndarray, "S S"], groups: int) -> list[list[int]]:
    """Candidate slots of the parts: for every anchor the slots that are fast and near, and near and fast; as a ring."""
    candidates = []
    usable = np.flatnonzero(np.isfinite(latency_ms))
    for anchor in usable:
        for keys in ((hops[anchor, usable], latency_ms[usable]), (latency_ms[usable], hops[anchor, usable])):
            others = [int(j) for j in usable[np.lexsort((keys[1], keys[0]))] if j != anchor]
            chosen = _ring([int(anchor), *others[: groups - 1]], hops)
            if len(chosen) == groups and chosen not in candidates:
                candidates.append(chosen)
    return candidates


def _ring(slots: list[int], hops: Float[np.ndarray, "S S"]) -> list[int]:
    """The slots in an order where each is followed by the nearest one left: a ring is as slow as its longest link."""
    ring, left = slots[:1], slots[1:]
    while left:
        ring.append(min(left, key=lambda slot: float(hops[ring[-1], slot])))
        left.remove(ring[-1])
    return ring


def split_in_pipeline(
    plan: Plan,
    position: int,
    eff_specs: dict[str, Any],
    proxy: Any,
    hops: Float[np.ndarray, "S S"],
    capacity_mb: Float[np.ndarray, " S"],
    config: MappingConfig,
) -> Plan | None:
    """The plan with the segment at `position` split on its best slots, or None if no split pays."""
    segment = plan.segments[position]
    groups = segment.fine_groups or config.fine_groups
    parts = split_segment(segment, groups, first_id=max(one.id for one in plan.segments) + 1)
    costs = cost_matrix(parts[:1], slot_devices(eff_specs, len(hops)), proxy)
    part_ms = costs["lat_ms"].detach().double().cpu().numpy()[0]
    part_ms = np.where(np.isfinite(plan.latency_ms[position]), part_ms, np.inf)
    part_mb = float(segment_memory_mb(parts[:1], costs["mem_mb"])[0][0])
    segments = [*plan.segments[:position], *parts, *plan.segments[position + 1 :]]
    latency = np.concatenate([plan.latency_ms[:position], [part_ms] * groups, plan.latency_ms[position + 1 :]])
    memory = np.concatenate([plan.memory_mb[:position], [part_mb] * groups, plan.memory_mb[position + 1 :]])
    best, best_ms = None, _objective(_time(plan, hops, config), config) - config.fine_split_margin_ms
    for chosen in slot_sets(part_ms, hops, groups):
        slots = [*plan.slots[:position], *chosen, *plan.slots[position + 1 :]]
        if (np.bincount(slots, weights=memory, minlength=len(hops)) > capacity_mb + CAPACITY_TOLERANCE_MB).any():
            continue
        candidate = Plan(segments, slots, latency, memory)
        value_ms = _objective(_time(candidate, hops, config), config)
        if value_ms < best_ms - 1e-12:
            best, best_ms = candidate, value_ms
    return best


def try_fine_split_segment(
    segment: Segment, eff_specs: dict[str, Any], proxy: Any, layout_positions: Any, G: int, cfg: Any
) -> dict[str, Any]:
    """Judge one segment on its own (spec §9.3): its best slot against G parts, broadcast and all-reduce included.

    Returns `use_fine`, `segments` (the parts, or the segment), `slots`, `cost_coarse`, `cost_fine` (ms) and
    `rewire_meta` (None without a split). Both sides start with the input on one slot, the anchor.
    """
    config = mapping_config(cfg)
    num_slots = len(next(iter(eff_specs.values())))
    devices = slot_devices(eff_specs, num_slots)
    hops = link_hops(num_slots, layout_positions, config)
    parts = split_segment(segment, G)
    coarse_ms, part_ms = cost_matrix([segment, parts[0]], devices, proxy)["lat_ms"].detach().double().cpu().numpy()
    broadcast_ms = config.hop_ms + float(segment.traffic_in_bytes) / 1e6 * config.ms_per_mb
    latency = np.tile(part_ms, (G, 1))
    best_ms, best_slots = np.inf, [int(coarse_ms.argmin())]
    for chosen in slot_sets(part_ms, hops, G):
        time = graph_time(parts, chosen, latency, hops, config.hop_ms, config.ms_per_mb)
        value_ms = time.serial_ms + broadcast_ms * float(hops[chosen[0], chosen[1:]].sum())
        if value_ms < best_ms:
            best_ms, best_slots = value_ms, chosen
    cost_coarse = float(coarse_ms.min())
    use_fine = bool(best_ms + config.fine_split_margin_ms < cost_coarse)
    return {
        "use_fine": use_fine,
        "segments": parts if use_fine else [segment],
        "slots": best_slots if use_fine else [int(coarse_ms.argmin())],
        "cost_coarse": cost_coarse,
        "cost_fine": float(best_ms),
        "rewire_meta": rewire_meta(segment, G, config) if use_fine else None,
    }


def rewire_meta(segment: Segment, groups: int, config: MappingConfig) -> dict[str, Any]:
    """`{segment_id, groups, perm, inv_perm}`: how the channels are reordered so that each part owns a run of them.

    `random` permutes the segment's output channels (the spec's); `affinity` orders by the matrix given for the
    segment, and is the identity without one.
    """
    matrix = (config.affinity or {}).get(segment.id)
    if config.permutation == "random":
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + segment.id)
        perm = torch.randperm(segment.embed_dim, generator=generator)
    elif matrix is not None:
        perm = torch.from_numpy(affinity_permutation(np.asarray(matrix, dtype=float), groups))
    else:
        perm = torch.arange(segment.embed_dim)
    inverse: Tensor = torch.argsort(perm)
    return {"segment_id": segment.id, "groups": groups, "perm": perm, "inv_perm": inverse}


def refine(
    plan: Plan,
    candidates: Sequence[int],
    eff_specs: dict[str, Any],
    proxy: Any,
    hops: Float[np.ndarray, "S S"],
    capacity_mb: Float[np.ndarray, " S"],
    config: MappingConfig,
) -> tuple[Plan, list[dict[str, Any]]]:
    """Split the segments with the given ids, one after the other, wherever it pays; give the plan and `rewire_meta`."""
    metas = []
    for identity in candidates:
        position = next(n for n, segment in enumerate(plan.segments) if segment.id == identity)
        segment = plan.segments[position]
        refined = split_in_pipeline(plan, position, eff_specs, proxy, hops, capacity_mb, config)
        if refined is not None:
            metas.append(rewire_meta(segment, segment.fine_groups or config.fine_groups, config))
            plan = refined
    return Plan(connect(plan.segments), plan.slots, plan.latency_ms, plan.memory_mb), metas


def connect(segments: list[Segment]) -> list[Segment]:
    """Rebuild the edges of a fork-join graph: every part to every reader, and around each ring; a new list."""
    stages = stages_of(segments)
    result = list(segments)
    for number, stage in enumerate(stages):
        readers = stages[number + 1] if number + 1 < len(stages) else []
        parts = len(stage)
        for place, position in enumerate(stage):
            segment = segments[position]
            edges: list[tuple[int, Any]] = []
            if parts > 1:
                message = collectives_of(segment) * ring_all_reduce_mb(segment.traffic_out_bytes, parts)
                edges.append((segments[stage[(place + 1) % parts]].id, message))
            edges += [(segments[reader].id, segment.traffic_out_bytes) for reader in readers]
            result[position] = dataclasses.replace(segment, edges=edges)
    return result
