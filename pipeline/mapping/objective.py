"""Exact evaluation of a mapping: time, memory and energy per slot (docs/mapping.md has the formulas)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from .instance import CAPACITY_TOLERANCE_MB, MappingInstance

Objective = Literal["serial", "balanced"]


@dataclass(frozen=True)
class SlotTable:
    """What each slot does for one sample; `idle_ms` is the rest of the pipeline period."""

    compute_ms: Float[np.ndarray, " S"]
    send_ms: Float[np.ndarray, " S"]
    idle_ms: Float[np.ndarray, " S"]
    memory_mb: Float[np.ndarray, " S"]
    energy_j: Float[np.ndarray, " S"]

    @property
    def busy_ms(self) -> Float[np.ndarray, " S"]:
        """Compute and send together: a transfer is charged to its sender and not overlapped."""
        return self.compute_ms + self.send_ms


def slot_table(instance: MappingInstance, mapping: Int[np.ndarray, " K"]) -> SlotTable:
    """Compute, send, idle time, memory and energy of every slot.

    energy_j = latency * power / 1e3 + traffic_mb * 8e6 * hops * pj_per_bit * 1e-12, the link energy at the sender.
    """
    S = instance.num_slots
    compute = instance.latency_ms[np.arange(len(mapping)), mapping]
    hops = instance.hops[mapping[:-1], mapping[1:]]
    send = hops * (instance.hop_ms + instance.traffic_mb * instance.ms_per_mb)
    link_j = instance.traffic_mb * 8e6 * hops * instance.pj_per_bit * 1e-12
    compute_ms = np.bincount(mapping, weights=compute, minlength=S)
    send_ms = np.bincount(mapping[:-1], weights=send, minlength=S).astype(float)  # integers if there are no links
    busy_ms = compute_ms + send_ms
    compute_j = np.bincount(mapping, weights=compute * instance.power_w[mapping] / 1e3, minlength=S)
    return SlotTable(
        compute_ms=compute_ms,
        send_ms=send_ms,
        idle_ms=busy_ms.max() - busy_ms,
        memory_mb=np.bincount(mapping, weights=instance.memory_mb, minlength=S),
        energy_j=compute_j + np.bincount(mapping[:-1], weights=link_j, minlength=S),
    )


def is_feasible(instance: MappingInstance, mapping: Int[np.ndarray, " K"]) -> bool:
    """Whether every slot holds its segments and every segment can run where it is."""
    used = np.bincount(mapping, weights=instance.memory_mb, minlength=instance.num_slots)
    runs = np.isfinite(instance.latency_ms[np.arange(len(mapping)), mapping]).all()
    return bool(runs and (used <= instance.capacity_mb + CAPACITY_TOLERANCE_MB).all())


def evaluate(instance: MappingInstance, mapping: Int[np.ndarray, " K"], objective: Objective) -> float:
    """Value of a mapping in ms, infinite if it breaks a capacity.

    `serial` is the time of one sample, `balanced` the pipeline period (the busiest slot).
    """
    if not is_feasible(instance, mapping):
        return float("inf")
    table = slot_table(instance, mapping)
    return float(table.busy_ms.sum() if objective == "serial" else table.busy_ms.max())


def pipeline_latency_ms(instance: MappingInstance, mapping: Int[np.ndarray, " K"], num_samples: int) -> float:
    """Time of `num_samples` samples through the pipeline, fill included: serial + (B - 1) * balanced.

    The first sample passes every stage; after it one sample leaves per period (as SET, ISCA 2023, prices a pipeline).
    """
    table = slot_table(instance, mapping)
    return float(table.busy_ms.sum() + (num_samples - 1) * table.busy_ms.max())
