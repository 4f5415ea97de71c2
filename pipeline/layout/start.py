"""A legal layout without any search: chips on shelves inside the region, or on a regular grid."""

from __future__ import annotations

import itertools
import math

import numpy as np

from .instance import LayoutInstance, Region
from .objective import score

_BOTTOMS = 48


def legal_start(instance: LayoutInstance) -> np.ndarray | None:
    """Centres [n, 2] mm of a legal shelf packing, or None where shelves cannot hold the chips.

    Shelves are stacked upwards from a bottom that is tried at several heights; each shelf takes the tallest (or
    widest, or largest) chip left and every later chip that still fits its width.
    """
    orders = (
        np.lexsort((-instance.w_mm, -instance.h_mm)),
        np.argsort(-instance.w_mm * instance.h_mm, kind="stable"),
        np.argsort(-instance.w_mm, kind="stable"),
    )
    region = instance.region
    for share, order in itertools.product(np.linspace(-1.0, 0.0, _BOTTOMS), orders):
        centres = _shelves(instance, order, float(share) * region.half_y_mm)
        if centres is not None and score(instance, centres).legal:
            return centres
    return None


def _shelves(instance: LayoutInstance, order: np.ndarray, bottom_mm: float) -> np.ndarray | None:
    left = list(order)
    centres = np.zeros((instance.num_chips, 2))
    y = bottom_mm
    while left:
        height = float(instance.h_mm[left[0]])
        width = _free_width(instance.region, y, y + height)
        if y + height > instance.region.half_y_mm:
            return None
        shelf, used = [], -instance.gap_mm
        for i in left:
            if instance.h_mm[i] <= height and used + instance.gap_mm + instance.w_mm[i] <= width:
                shelf.append(i)
                used += instance.gap_mm + float(instance.w_mm[i])
        if not shelf:
            y += 0.05 * height
            continue
        x = -used / 2
        for i in shelf:
            centres[i] = x + instance.w_mm[i] / 2, y + instance.h_mm[i] / 2
            x += instance.w_mm[i] + instance.gap_mm
        left = [i for i in left if i not in shelf]
        y += height + instance.gap_mm
    return centres


def _free_width(region: Region, low_mm: float, high_mm: float) -> float:
    """Width of the region that is free over the whole height from `low_mm` to `high_mm`."""
    if region.kind == "rect":
        return 2 * region.half_x_mm
    farthest = max(abs(low_mm), abs(high_mm))
    return 2 * math.sqrt(max(region.half_x_mm**2 - farthest**2, 0.0))


def grid_centres(num_slots: int, pitch_x_mm: float, pitch_y_mm: float) -> np.ndarray:
    """A regular grid around (0, 0), row by row, as square as the number allows, [num_slots, 2] mm."""
    columns = math.ceil(math.sqrt(num_slots))
    rows = math.ceil(num_slots / columns)
    k = np.arange(num_slots)
    x = (k % columns - (columns - 1) / 2) * pitch_x_mm
    y = ((rows - 1) / 2 - k // columns) * pitch_y_mm
    return np.stack([x, y], 1)
