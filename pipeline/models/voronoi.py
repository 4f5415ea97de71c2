"""Voronoi regions of the patch grid (spec §6.4)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def build_voronoi_regions(
    num_patches: int, patch_grid: tuple[int, int], num_regions: int
) -> tuple[Int[Tensor, " N"], int]:
    """Each patch's nearest of `num_regions` seeds spread evenly over the grid.

    Seeds are the centres of a layout of ceil(sqrt(R)) rows whose lengths differ by at most one. Ties go to the lowest
    region. There are at most as many regions as patches, and every region owns a patch.

    Args:
        num_patches: N, the patches of the grid.
        patch_grid: rows and columns.
        num_regions: regions wanted.

    Returns:
        region of each patch in row-major order, and the number of regions.

    Raises:
        ValueError: the grid has another number of patches, or no region is asked for.
    """
    rows, columns = patch_grid
    if rows * columns != num_patches:
        raise ValueError(f"patch_grid={rows}x{columns} has {rows * columns} patches, not num_patches={num_patches}")
    if num_regions < 1:
        raise ValueError(f"num_regions={num_regions}: at least one region is needed")
    seeds = _seeds(rows, columns, min(num_regions, num_patches))
    centres = torch.cartesian_prod(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5).double()
    # Rounded, so that distances that are equal on paper tie and the lowest region wins.
    distance = ((centres[:, None] - seeds[None]) ** 2).sum(dim=-1).mul(1e6).round()
    owner = distance.argmin(dim=1)
    used, region_ids = torch.unique(owner, return_inverse=True)
    return region_ids, used.numel()


def _seeds(rows: int, columns: int, regions: int) -> Float[Tensor, "R 2"]:
    lines = min(rows, math.ceil(math.sqrt(regions)))
    lines = max(lines, math.ceil(regions / columns))
    seeds = []
    for line in range(lines):
        count = (regions * (line + 1)) // lines - (regions * line) // lines
        y = (line + 0.5) * rows / lines
        seeds += [(y, (place + 0.5) * columns / count) for place in range(count)]
    return torch.tensor(seeds, dtype=torch.float64)
