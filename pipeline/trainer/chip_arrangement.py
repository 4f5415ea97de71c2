"""Which slot holds which chip of a design: chips that talk to each other sit next to each other on the grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def traffic_between(
    mapping: Sequence[int], traffic_mb: Float[np.ndarray, " K"], number: int
) -> Float[np.ndarray, "n n"]:
    """MB per batch between any two of `number` chips, both ways, for a chain of segments."""
    between = np.zeros((number, number))
    for sender, reader, amount in zip(mapping[:-1], mapping[1:], traffic_mb[:-1], strict=True):
        between[sender, reader] += amount
        between[reader, sender] += amount
    np.fill_diagonal(between, 0.0)
    return between


def arrange_on_grid(
    between_mb: Float[np.ndarray, "n n"], hops: Float[np.ndarray, "S S"], slot_order: Sequence[int]
) -> list[int]:
    """A slot for each of n chips, with few MB times hops: a descent over exchanges of two slots, used or not.

    Args:
        hops: between all S slots.
        slot_order: all slots; chips begin on the first n of them.
    """
    number = len(between_mb)
    slots = list(slot_order)

    def cost(order: Sequence[int]) -> float:
        chosen = list(order[:number])
        return float((between_mb * hops[np.ix_(chosen, chosen)]).sum())

    best = cost(slots)
    improved = True
    while improved:
        improved = False
        for a, b in itertools.combinations(range(len(slots)), 2):
            if a >= number:
                continue
            slots[a], slots[b] = slots[b], slots[a]
            now = cost(slots)
            if now < best - 1e-9:
                best, improved = now, True
            else:
                slots[a], slots[b] = slots[b], slots[a]
    return slots[:number]
