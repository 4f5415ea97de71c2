"""A mapping as index tensors, and what it costs: the time of a pipeline, differentiable in every live quantity.

The same rules as `pipeline.mapping.fork_join.graph_time`, in torch: a transfer is charged to its sender, parts of one
segment run side by side and join by ring all-reduces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from ..mapping.fine_split import split_segment
from ..mapping.fork_join import collectives_of, stages_of
from ..mapping.segments import Segment


@dataclass(frozen=True)
class PipelinePlan:
    """K segments (parts counted one by one) on S slots, E transfers between stages, R shares of a ring.

    Attributes:
        slots, stages: slot and stage of each segment.
        send_source: segment whose output a transfer carries; `send_slots` [E, 2]: from, to; `send_stage`.
        ring_source: segment whose output is reduced; `ring_slots` [R, 2]: from, to; `ring_stage`; `ring_parts`: G;
            `ring_rounds`: all-reduces one after the other.
    """

    num_slots: int
    slots: Int[Tensor, " K"]
    stages: Int[Tensor, " K"]
    send_source: Int[Tensor, " E"]
    send_slots: Int[Tensor, "E 2"]
    send_stage: Int[Tensor, " E"]
    ring_source: Int[Tensor, " R"]
    ring_slots: Int[Tensor, "R 2"]
    ring_stage: Int[Tensor, " R"]
    ring_parts: Float[Tensor, " R"]
    ring_rounds: Float[Tensor, " R"]

    @property
    def num_stages(self) -> int:
        """Stages, each one segment or the parts of one."""
        return int(self.stages[-1]) + 1


@dataclass(frozen=True)
class PipelineTime:
    """One batch: compute and send time per slot, what is sent (MB times hops, per slot), and the sum over stages."""

    compute_ms: Float[Tensor, " S"]
    send_ms: Float[Tensor, " S"]
    sent_mb_hops: Float[Tensor, " S"]
    serial_ms: Float[Tensor, ""]

    @property
    def busy_ms(self) -> Float[Tensor, " S"]:
        """Compute and send together."""
        return self.compute_ms + self.send_ms

    def period_ms(self, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The busiest slot's time; with `smoothing` s > 0 a soft maximum at temperature s times it, never below it."""
        longest = self.busy_ms.max()
        if smoothing <= 0.0:
            return longest
        below = (self.busy_ms / longest - 1.0) / smoothing
        return longest * (1.0 + smoothing * torch.logsumexp(below, dim=0))


def split_like(segments: Sequence[Segment], rewire_meta: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """The segments with those of `rewire_meta` divided as a solve divided them, costs taken from the live ones."""
    result = list(segments)
    for meta in rewire_meta:
        position = next(place for place, one in enumerate(result) if one.id == meta["segment_id"])
        first_id = max(one.id for one in result) + 1
        result[position : position + 1] = split_segment(result[position], int(meta["groups"]), first_id)
    return result


def plan_of(
    segments: Sequence[Segment], mapping: Sequence[int], num_slots: int, hops: Float[np.ndarray, "S S"]
) -> PipelinePlan:
    """Who sends what to whom: each reader is served by the nearest part that holds its input.

    Raises:
        DataError: a mapping of another length, or a slot that is not there.
    """
    if len(mapping) != len(segments):
        raise DataError(f"the mapping has {len(mapping)} entries for {len(segments)} segments")
    for position, slot in enumerate(mapping):
        if not 0 <= int(slot) < num_slots:
            raise DataError(f"segment {position} is mapped to slot {slot}; slots are 0..{num_slots - 1}")
    groups = stages_of(segments)
    stages = [number for number, group in enumerate(groups) for _ in group]
    sends: list[tuple[int, int, int, int]] = []
    rings: list[tuple[int, int, int, int, int, int]] = []
    for number, group in enumerate(groups):
        if len(group) > 1:
            rounds = collectives_of(segments[group[0]])
            for a, b in zip(group, [*group[1:], group[0]], strict=True):
                rings.append((group[0], int(mapping[a]), int(mapping[b]), number, len(group), rounds))
        for reader in groups[number + 1] if number + 1 < len(groups) else []:
            to = int(mapping[reader])
            sender = min(group, key=lambda position: hops[mapping[position], to])
            sends.append((group[0], int(mapping[sender]), to, number))
    send = torch.tensor(sends, dtype=torch.long).reshape(-1, 4)
    ring = torch.tensor(rings, dtype=torch.long).reshape(-1, 6)
    return PipelinePlan(
        num_slots=num_slots,
        slots=torch.tensor([int(slot) for slot in mapping]),
        stages=torch.tensor(stages),
        send_source=send[:, 0],
        send_slots=send[:, 1:3],
        send_stage=send[:, 3],
        ring_source=ring[:, 0],
        ring_slots=ring[:, 1:3],
        ring_stage=ring[:, 3],
        ring_parts=ring[:, 4].double(),
        ring_rounds=ring[:, 5].double(),
    )


def pipeline_time(
    plan: PipelinePlan,
    latency_ms: Float[Tensor, " K"],
    traffic_mb: Float[Tensor, " K"],
    hops: Float[Tensor, "S S"],
    hop_ms: float,
    ms_per_mb: float,
) -> PipelineTime:
    """Time of one batch through the pipeline.

    Args:
        latency_ms: of each segment on its slot.
        traffic_mb: output of each segment.
        hops: between slots, 0 on the diagonal; may be live.
        hop_ms, ms_per_mb: a transfer of x MB over h hops takes h (hop_ms + x ms_per_mb).
    """
    none = latency_ms.new_zeros(plan.num_slots)
    links = hops[plan.send_slots[:, 0], plan.send_slots[:, 1]]
    sent_mb = traffic_mb[plan.send_source]
    send_ms = links * (hop_ms + sent_mb * ms_per_mb)
    busy_ms = none.index_add(0, plan.send_slots[:, 0], send_ms)
    volume = none.index_add(0, plan.send_slots[:, 0], links * sent_mb)
    compute_ms = none.index_add(0, plan.slots, latency_ms)
    if len(plan.ring_source) == 0:
        return PipelineTime(compute_ms, busy_ms, volume, latency_ms.sum() + send_ms.sum())
    parts, rounds = plan.ring_parts.to(latency_ms), plan.ring_rounds.to(latency_ms)
    ring_links = hops[plan.ring_slots[:, 0], plan.ring_slots[:, 1]]
    reduced_mb = traffic_mb[plan.ring_source] / parts
    ring_ms = rounds * 2.0 * (parts - 1.0) * ring_links * (hop_ms + reduced_mb * ms_per_mb)
    busy_ms = busy_ms.index_add(0, plan.ring_slots[:, 0], ring_ms)
    volume = volume.index_add(0, plan.ring_slots[:, 0], rounds * 2.0 * (parts - 1.0) * ring_links * reduced_mb)
    # Between two stages senders work side by side; one sender's transfers follow each other.
    pair = plan.send_stage * plan.num_slots + plan.send_slots[:, 0]
    by_sender = latency_ms.new_zeros(plan.num_stages * plan.num_slots).index_add(0, pair, send_ms)
    serial_ms = (
        _longest(latency_ms, plan.stages, plan.num_stages).sum()
        + _longest(ring_ms, plan.ring_stage, plan.num_stages).sum()
        + by_sender.reshape(plan.num_stages, plan.num_slots).amax(dim=1).sum()
    )
    return PipelineTime(compute_ms, busy_ms, volume, serial_ms)


def _longest(values: Float[Tensor, " K"], groups: Int[Tensor, " K"], number: int) -> Float[Tensor, " G"]:
    return values.new_zeros(number).scatter_reduce(0, groups, values, "amax")
