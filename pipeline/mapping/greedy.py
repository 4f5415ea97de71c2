"""Constructive mappings: round robin, and the greedy rule of spec §10.3."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from .instance import CAPACITY_TOLERANCE_MB, MappingInstance
from .objective import Objective


def snake_order(rows: int, columns: int) -> Int[np.ndarray, " S"]:
    """Slots of a grid (row-major numbers) in snake order, so that successive slots are neighbours on the grid."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    grid[1::2] = grid[1::2, ::-1].copy()
    return grid.ravel()


def round_robin(num_segments: int, slot_order: Int[np.ndarray, " S"]) -> Int[np.ndarray, " K"]:
    """Segment k on the (k mod S)-th slot of the order; capacities are not looked at."""
    return slot_order[np.arange(num_segments) % len(slot_order)]


def greedy(instance: MappingInstance, objective: Objective) -> Int[np.ndarray, " K"] | None:
    """Segments by decreasing mean latency; None when one finds no room.

    `serial` takes the cheapest slot with room, `balanced` the one with the least busy + latency. Links are not
    looked at.
    """
    mapping = np.zeros(instance.num_segments, np.int64)
    free = instance.capacity_mb + CAPACITY_TOLERANCE_MB
    busy_ms = np.zeros(instance.num_slots)
    finite = np.isfinite(instance.latency_ms)
    mean = np.where(finite, instance.latency_ms, 0.0).sum(1) / np.maximum(finite.sum(1), 1)
    for k in np.argsort(-mean, kind="stable"):
        cost = instance.latency_ms[k] + (busy_ms if objective == "balanced" else 0.0)
        cost = np.where(free >= instance.memory_mb[k], cost, np.inf)
        j = int(cost.argmin())
        if not np.isfinite(cost[j]):
            return None
        mapping[k] = j
        free[j] -= instance.memory_mb[k]
        busy_ms[j] += instance.latency_ms[k, j]
    return mapping


def best_fit(instance: MappingInstance) -> Int[np.ndarray, " K"]:
    """Segments by decreasing memory, each where least room is left; where none has room, on the emptiest slot.

    Looks at memory only: a start for search where `greedy` finds no mapping. It may overfill slots.
    """
    mapping = np.zeros(instance.num_segments, np.int64)
    free = instance.capacity_mb + CAPACITY_TOLERANCE_MB
    for k in np.argsort(-instance.memory_mb, kind="stable"):
        possible = np.isfinite(instance.latency_ms[k]) & (instance.capacity_mb >= instance.memory_mb[k])
        roomy = possible & (free >= instance.memory_mb[k])
        j = np.where(roomy, free, np.inf).argmin() if roomy.any() else np.where(possible, free, -np.inf).argmax()
        mapping[k] = j
        free[j] -= instance.memory_mb[k]
    return mapping
