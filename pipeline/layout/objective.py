"""The exact objective and legality of a layout, and a report of what breaks it.

J = wl / wl_norm + lam_heat · heat / t_max_c          over legal layouts, infinite otherwise
wl = sum over nets of weight · (|dx| + |dy|)          centre to centre, weight x mm
heat = sum_i max(0, T_i - t_max_c)                    degC, T_i from the thermal proxy in heat.py
legal: all corners of every chip in the region, and for every pair
       max(|dx| - (w_i + w_j)/2, |dy| - (h_i + h_j)/2) >= gap_mm, both to TOLERANCE_MM
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .heat import temperatures_c
from .instance import LayoutInstance

TOLERANCE_MM = 1e-6


@dataclass(frozen=True)
class LayoutScore:
    """`cost` is J, infinite where not `legal`; `raw_cost` is J without that test."""

    cost: float
    raw_cost: float
    legal: bool
    wl_mm: float
    heat_c: float
    t_peak_c: float
    overlap_mm2: float
    outside_mm: float
    overlapping_pairs: int
    chips_outside: int


def wire_length_mm(instance: LayoutInstance, pos_mm: np.ndarray) -> float:
    """Weighted centre-to-centre Manhattan length, weight x mm."""
    span = np.abs(pos_mm[instance.nets[:, 0]] - pos_mm[instance.nets[:, 1]]).sum(1)
    return float((instance.net_weight * span).sum())


def outside_mm(instance: LayoutInstance, pos_mm: np.ndarray) -> np.ndarray:
    """How far the farthest corner of each chip lies outside the region, [n] mm."""
    far_x = np.abs(pos_mm[:, 0]) + instance.w_mm / 2
    far_y = np.abs(pos_mm[:, 1]) + instance.h_mm / 2
    region = instance.region
    if region.kind == "circle":
        return np.maximum(np.hypot(far_x, far_y) - region.half_x_mm, 0.0)
    return np.maximum(np.maximum(far_x - region.half_x_mm, far_y - region.half_y_mm), 0.0)


def clearances_mm(instance: LayoutInstance, pos_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed clearance of every pair i < j along x and along y, negative where they overlap, 2 x [n(n-1)/2] mm."""
    i, j = np.triu_indices(instance.num_chips, 1)
    apart = np.abs(pos_mm[i] - pos_mm[j])
    clear_x = apart[:, 0] - (instance.w_mm[i] + instance.w_mm[j]) / 2
    clear_y = apart[:, 1] - (instance.h_mm[i] + instance.h_mm[j]) / 2
    return clear_x, clear_y


def score(instance: LayoutInstance, pos_mm: np.ndarray) -> LayoutScore:
    """Evaluate centres `pos_mm` [n, 2].

    Raises:
        DataError: the positions are not n finite pairs.
    """
    pos_mm = np.asarray(pos_mm, dtype=float)
    if pos_mm.shape != (instance.num_chips, 2) or not np.isfinite(pos_mm).all():
        raise DataError(f"{instance.name}: pos_mm must be {instance.num_chips} finite [x, y] pairs")
    out = outside_mm(instance, pos_mm)
    clear_x, clear_y = clearances_mm(instance, pos_mm)
    lacking = np.maximum(instance.gap_mm - np.maximum(clear_x, clear_y), 0.0)
    temperature = temperatures_c(instance, pos_mm)
    wl = wire_length_mm(instance, pos_mm)
    heat = float(np.maximum(temperature - instance.t_max_c, 0.0).sum())
    value = wl / instance.wl_norm + instance.lam_heat * heat / instance.t_max_c
    legal = bool((out <= TOLERANCE_MM).all() and (lacking <= TOLERANCE_MM).all())
    return LayoutScore(
        cost=value if legal else float("inf"),
        raw_cost=value,
        legal=legal,
        wl_mm=wl,
        heat_c=heat,
        t_peak_c=float(temperature.max()),
        overlap_mm2=float((np.maximum(-clear_x, 0.0) * np.maximum(-clear_y, 0.0)).sum()),
        outside_mm=float(out.max()),
        overlapping_pairs=int((lacking > TOLERANCE_MM).sum()),
        chips_outside=int((out > TOLERANCE_MM).sum()),
    )
