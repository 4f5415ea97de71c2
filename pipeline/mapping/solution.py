"""What a solve returns, whatever the strategy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from .instance import MappingInstance
from .objective import Objective, slot_table

PROVED_GAP = 2e-4


@dataclass(frozen=True)
class Solution:
    """A mapping with its certificate.

    Attributes:
        mapping: slot of each segment, or None if nothing that fits is known.
        value_ms: value under `objective`; infinite without a mapping.
        lower_bound_ms: no feasible mapping is better.
        seconds: solver time; seconds_startup: compiling or loading the kernels, apart.
        incumbent: (seconds, value) whenever the best mapping improved; bound: the same for the lower bound.
        reason: why there is no mapping, or empty.
    """

    objective: Objective
    strategy: str
    mapping: Int[np.ndarray, " K"] | None
    value_ms: float
    lower_bound_ms: float
    seconds: float = 0.0
    seconds_startup: float = 0.0
    incumbent: list[tuple[float, float]] = field(default_factory=list)
    bound: list[tuple[float, float]] = field(default_factory=list)
    reason: str = ""

    @property
    def gap(self) -> float:
        """(value - bound) / bound; infinite without a mapping or a bound."""
        if self.mapping is None or self.lower_bound_ms <= 0.0:
            return 0.0 if self.value_ms == 0.0 else math.inf
        return max(0.0, self.value_ms / self.lower_bound_ms - 1.0)

    @property
    def proved(self) -> bool:
        """Optimal to within 0.02 %."""
        return self.gap <= PROVED_GAP

    def fields(self, instance: MappingInstance) -> dict[str, Any]:
        """The JSON object of the command line; infinities are null."""
        return {
            "instance": instance.name,
            "objective": self.objective,
            "mapping": None if self.mapping is None else self.mapping.tolist(),
            "value": _number(self.value_ms),
            "lower_bound": _number(self.lower_bound_ms),
            "gap": _number(self.gap),
            "proved": self.proved,
            "strategy": self.strategy,
            "seconds": self.seconds,
            "seconds_startup": self.seconds_startup,
            "per_slot": None if self.mapping is None else per_slot_rows(instance, self.mapping),
            "incumbent": [list(point) for point in self.incumbent],
            "bound": [list(point) for point in self.bound],
            "reason": self.reason,
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def per_slot_rows(instance: MappingInstance, mapping: Int[np.ndarray, " K"]) -> list[dict[str, Any]]:
    """One row per slot: segments, compute / send / idle time, memory against capacity, energy."""
    table = slot_table(instance, mapping)
    return [
        {
            "slot": j,
            "segments": np.flatnonzero(mapping == j).tolist(),
            "compute_ms": float(table.compute_ms[j]),
            "send_ms": float(table.send_ms[j]),
            "idle_ms": float(table.idle_ms[j]),
            "memory_mb": float(table.memory_mb[j]),
            "capacity_mb": _number(float(instance.capacity_mb[j])),
            "energy_j": float(table.energy_j[j]),
        }
        for j in range(instance.num_slots)
    ]
