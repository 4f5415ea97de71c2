"""The terms of the layout loss in torch, each in its own unit; differentiable and finite at coincident chips.

`wire_length_mm` and `heat_c` are those of the exact objective. The two penalties are what the exact objective
forbids: depth of overlap and distance outside, squared.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .instance import LayoutInstance, Region

_TINY_MM2 = 1e-12


def wire_length_mm(
    pos_mm: Float[Tensor, "n 2"], nets: Int[Tensor, "m 2"], weight: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    """Sum of weight x Manhattan distance of centres."""
    return (weight * (pos_mm[nets[:, 0]] - pos_mm[nets[:, 1]]).abs().sum(1)).sum()


def boundary_mm2(pos_mm: Float[Tensor, "n 2"], size_mm: Float[Tensor, "n 2"], region: Region) -> Float[Tensor, ""]:
    """Sum of the squared distance by which the farthest corner of each chip lies outside."""
    far = pos_mm.abs() + size_mm / 2
    if region.kind == "circle":
        return (far.square().sum(1).sqrt() - region.half_x_mm).clamp(min=0).square().sum()
    return (far - far.new_tensor([region.half_x_mm, region.half_y_mm])).clamp(min=0).square().sum()


def overlap_mm2(
    pos_mm: Float[Tensor, "n 2"],
    size_mm: Float[Tensor, "n 2"],
    gap_mm: float,
    shape: Literal["rect", "circle"] = "rect",
) -> Float[Tensor, ""]:
    """Sum over pairs of the squared depth by which they lack their gap.

    rect: the smaller of the depths along x and y, zero exactly where the pair is legal. circle: chips as discs of
    radius (w + h)/4, the specification's approximation (section 11); it neither forbids all overlap of corners nor
    lets long chips lie close.
    """
    i, j = torch.triu_indices(len(pos_mm), len(pos_mm), 1, device=pos_mm.device)
    apart = pos_mm[i] - pos_mm[j]
    if shape == "rect":
        depth = ((size_mm[i] + size_mm[j]) / 2 + gap_mm - apart.abs()).amin(1)
    else:
        radius = size_mm.sum(1) / 4
        depth = radius[i] + radius[j] + gap_mm - _length(apart)
    return depth.clamp(min=0).square().sum()


def temperatures_c(pos_mm: Float[Tensor, "n 2"], instance: LayoutInstance) -> Float[Tensor, " n"]:
    """Temperature of each chip by the proxy of `heat.py`."""
    side_mm = pos_mm.new_tensor(instance.w_mm * instance.h_mm).sqrt()
    power_w = pos_mm.new_tensor(instance.tdp_w)
    decay = torch.exp(-_length(pos_mm[:, None] - pos_mm[None]) / instance.ell_mm)
    others = 1 - torch.eye(len(pos_mm), dtype=pos_mm.dtype, device=pos_mm.device)
    return instance.t_amb_c + instance.r_self * power_w / side_mm + instance.r_mut * (decay * others) @ power_w


def heat_c(pos_mm: Float[Tensor, "n 2"], instance: LayoutInstance) -> Float[Tensor, ""]:
    """Degrees above the limit, summed over chips."""
    return (temperatures_c(pos_mm, instance) - instance.t_max_c).clamp(min=0).sum()


def _length(apart: Float[Tensor, "*pairs 2"]) -> Float[Tensor, "*pairs"]:
    """Euclidean length whose gradient at zero is zero, not NaN."""
    return (apart.square().sum(-1) + _TINY_MM2).sqrt()
