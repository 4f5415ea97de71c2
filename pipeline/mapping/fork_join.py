"""Time and memory of a chain some of whose segments run as G parallel parts (tensor parallelism).

A stage is one segment, or the parts of one. Every part reads the whole input and, after a ring all-reduce, holds the
whole output. A transfer is charged to its sender, as everywhere; between stages each reader gets the data from the
nearest part that holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .segments import Segment


@dataclass(frozen=True)
class GraphTime:
    """Time per slot, of one sample, and what it sends: ms in all, and MB times hops per slot (for link energy)."""

    busy_ms: Float[np.ndarray, " S"]
    sent_mb_hops: Float[np.ndarray, " S"]
    serial_ms: float
    comm_ms: float

    @property
    def period_ms(self) -> float:
        """The pipeline period: the busiest slot."""
        return float(self.busy_ms.max())


def stages_of(segments: Sequence[Segment]) -> list[list[int]]:
    """Positions of the segments, grouped: neighbours with the same parent run in parallel."""
    stages: list[list[int]] = []
    for position, segment in enumerate(segments):
        previous = segments[position - 1] if position else None
        if previous is not None and segment.parent_id is not None and segment.parent_id == previous.parent_id:
            stages[-1].append(position)
        else:
            stages.append([position])
    return stages


def ring_all_reduce_mb(traffic_mb: Any, parts: int) -> Any:
    """What each part sends in a ring all-reduce, in the unit given: 2 (G - 1) / G of the tensor.

    Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, 2009.
    """
    return 2.0 * (parts - 1) / parts * traffic_mb


def collectives_of(segment: Segment) -> int:
    """All-reduces a divided segment needs: one after each of its layers, attention and MLP apart."""
    return max(1, len(segment.layer_indices))


def graph_time(
    segments: Sequence[Segment],
    slots: Sequence[int],
    latency_ms: Float[np.ndarray, "K S"],
    hops: Float[np.ndarray, "S S"],
    hop_ms: float,
    ms_per_mb: float,
) -> GraphTime:
    """Time of the segments (parts included) on their slots; on a plain chain it equals the mapping objective.

    A ring of G parts takes 2 (G - 1) steps of traffic / G each, once per layer; one step lasts as long as its slowest
    link.
    """
    busy_ms, sent_mb_hops = np.zeros(len(hops)), np.zeros(len(hops))
    serial_ms = comm_ms = 0.0
    stages = stages_of(segments)
    for number, stage in enumerate(stages):
        for position in stage:
            busy_ms[slots[position]] += latency_ms[position, slots[position]]
        serial_ms += max(latency_ms[position, slots[position]] for position in stage)
        traffic_mb = float(segments[stage[0]].traffic_out_bytes) / 1e6
        parts = len(stage)
        if parts > 1:
            rounds = collectives_of(segments[stage[0]])
            step_ms = rounds * (hop_ms + traffic_mb / parts * ms_per_mb)
            links = [hops[slots[a], slots[b]] for a, b in zip(stage, stage[1:] + stage[:1], strict=True)]
            ring_ms = [2 * (parts - 1) * link * step_ms for link in links]
            for position, link, send_ms in zip(stage, links, ring_ms, strict=True):
                busy_ms[slots[position]] += send_ms
                sent_mb_hops[slots[position]] += rounds * link * ring_all_reduce_mb(traffic_mb, parts)
            serial_ms += max(ring_ms)
            comm_ms += sum(ring_ms)
        if number + 1 < len(stages):
            sends = np.zeros(len(hops))
            for reader in stages[number + 1]:
                sender = min(stage, key=lambda position: hops[slots[position], slots[reader]])
                link = hops[slots[sender], slots[reader]]
                sends[slots[sender]] += link * (hop_ms + traffic_mb * ms_per_mb)
                sent_mb_hops[slots[sender]] += link * traffic_mb
            busy_ms += sends
            serial_ms += float(sends.max())
            comm_ms += float(sends.sum())
    return GraphTime(busy_ms, sent_mb_hops, serial_ms, comm_ms)
