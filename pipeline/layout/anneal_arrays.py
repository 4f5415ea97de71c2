"""The instance and a layout as the flat arrays that the compiled annealing works on."""

from __future__ import annotations

import numpy as np

from .anneal import Problem, State
from .instance import LayoutInstance
from .objective import outside_mm


def problem_of(instance: LayoutInstance, *, rotate: bool = False) -> Problem:
    """Nets in compressed rows with weights in units of J per mm, and the chips that hang on one other chip alone."""
    n = instance.num_chips
    ends = np.concatenate([instance.nets, instance.nets[:, ::-1]])
    weight = np.concatenate([instance.net_weight, instance.net_weight]) / instance.wl_norm
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    start = np.searchsorted(ends[order, 0], np.arange(n + 1))
    partner = np.ascontiguousarray(ends[order, 1])
    degree = np.diff(start)
    leaves = [
        [j for j in partner[start[i] : start[i + 1]] if degree[j] == 1] if degree[i] > 1 else [] for i in range(n)
    ]
    side_mm = np.sqrt(instance.w_mm * instance.h_mm)
    return Problem(
        tdp_w=instance.tdp_w,
        self_c=instance.t_amb_c + instance.r_self * instance.tdp_w / side_mm,
        start=start.astype(np.int64),
        partner=partner,
        weight=np.ascontiguousarray(weight[order]),
        leaf_start=np.cumsum([0] + [len(row) for row in leaves]).astype(np.int64),
        leaf=np.array([j for row in leaves for j in row], dtype=np.int64),
        circle=instance.region.kind == "circle",
        half_x=float(instance.region.half_x_mm),
        half_y=float(instance.region.half_y_mm),
        gap=float(instance.gap_mm),
        ell=float(instance.ell_mm),
        r_mut=float(instance.r_mut),
        t_max=float(instance.t_max_c),
        heat_weight=instance.lam_heat / instance.t_max_c,
        rotate=rotate,
    )


def state_of(instance: LayoutInstance, pos_mm: np.ndarray) -> State:
    """Centres `pos_mm` [n, 2] as a state; its caches are filled by the annealing itself."""
    n = instance.num_chips
    return State(
        x=pos_mm[:, 0].astype(float),
        y=pos_mm[:, 1].astype(float),
        half_w=instance.w_mm / 2,
        half_h=instance.h_mm / 2,
        decay=np.zeros((n, n)),
        temp_c=np.zeros(n),
        moved=np.full(n, -1, dtype=np.int64),
        chosen=np.zeros(n, dtype=np.int64),
        new_x=np.zeros(n),
        new_y=np.zeros(n),
        new_half_w=np.zeros(n),
        new_half_h=np.zeros(n),
        new_decay=np.zeros((n, n)),
        new_temp=np.zeros(n),
    )


def random_centres(instance: LayoutInstance, rng: np.random.Generator) -> np.ndarray:
    """Every chip anywhere inside the region, overlaps as they fall, [n, 2] mm; each chip must fit it alone."""
    region = instance.region
    half = np.stack([instance.w_mm, instance.h_mm], 1) / 2
    centres = rng.uniform(-1.0, 1.0, half.shape) * (np.array([region.half_x_mm, region.half_y_mm]) - half)
    while (outside := outside_mm(instance, centres) > 0).any():
        centres[outside] *= 0.9
    return centres
