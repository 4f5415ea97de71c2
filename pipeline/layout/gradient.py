"""Placement by gradient: penalties whose weight rises while Adam moves the chips, then legalisation.

It is what a design loop that already differentiates through its positions does in passing; `place_chips` finds lower
J in the same seconds (benchmarks/layout.py prints both).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .instance import LayoutInstance
from .legalize import legalize
from .terms import boundary_mm2, heat_c, overlap_mm2, wire_length_mm

PENALTY_FIRST = 0.002
PENALTY_LAST = 20.0


def layout_loss(
    pos_mm: Float[Tensor, "n 2"],
    instance: LayoutInstance,
    penalty: float = 1.0,
    overlap: Literal["rect", "circle"] = "rect",
) -> Float[Tensor, ""]:
    """The exact objective plus `penalty` times overlap and boundary, those in units of an average chip's area."""
    nets = torch.as_tensor(instance.nets, device=pos_mm.device)
    weight = pos_mm.new_tensor(instance.net_weight)
    size_mm = pos_mm.new_tensor(np.stack([instance.w_mm, instance.h_mm], 1))
    chip_mm2 = float((instance.w_mm * instance.h_mm).mean())
    wire = wire_length_mm(pos_mm, nets, weight) / instance.wl_norm
    heat = instance.lam_heat * heat_c(pos_mm, instance) / instance.t_max_c
    illegal = overlap_mm2(pos_mm, size_mm, instance.gap_mm, overlap) + boundary_mm2(pos_mm, size_mm, instance.region)
    return wire + heat + penalty * illegal / chip_mm2


def anneal_penalties(
    instance: LayoutInstance,
    start_mm: np.ndarray,
    steps: int,
    *,
    seed: int = 0,
    overlap: Literal["rect", "circle"] = "rect",
) -> np.ndarray:
    """Centres [n, 2] mm after `steps` of Adam from `start_mm`; overlap may be left.

    The start is jittered by the seed: chips that coincide have no gradient to part them.
    """
    rng = np.random.default_rng(seed)
    side_mm = float(np.sqrt((instance.w_mm * instance.h_mm).mean()))
    jitter = rng.normal(0.0, 0.01 * side_mm, start_mm.shape)
    pos_mm = torch.tensor(start_mm + jitter, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([pos_mm], lr=0.05 * side_mm)
    for k in range(steps):
        share = k / max(steps - 1, 1)
        optimizer.param_groups[0]["lr"] = 0.05 * side_mm * (1 - 0.9 * share)
        loss = layout_loss(pos_mm, instance, PENALTY_FIRST * (PENALTY_LAST / PENALTY_FIRST) ** share, overlap)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pos_mm.detach().numpy()


def place_by_gradient(instance: LayoutInstance, steps: int = 700, *, seed: int = 0) -> np.ndarray | None:
    """Legal centres [n, 2] mm: all chips near the middle, annealed penalties, legalisation; None if none was found.

    Starting on top of each other at a small penalty lets the nets sort the chips before they part.
    """
    side_mm = float(np.sqrt((instance.w_mm * instance.h_mm).mean()))
    start_mm = np.random.default_rng(seed).normal(0.0, side_mm, (instance.num_chips, 2))
    return legalize(instance, anneal_penalties(instance, start_mm, steps, seed=seed), seed=seed)
