"""A compact steady-state thermal proxy: it ranks layouts, it does not predict a temperature.

A chip warms itself in proportion to its power over the side of a square of its area, and its neighbours by an amount
that decays exponentially with the distance of the centres:

    T_i = t_amb_c + r_self · P_i / sqrt(w_i · h_i) + sum_{j != i} r_mut · P_j · exp(-d_ij / ell_mm)

No conduction is solved, no package or cooling is modelled. The constants come with the instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .instance import LayoutInstance


def self_heated_c(instance: LayoutInstance) -> np.ndarray:
    """Temperature of each chip without its neighbours, [n] degC."""
    side_mm = np.sqrt(instance.w_mm * instance.h_mm)
    return instance.t_amb_c + instance.r_self * instance.tdp_w / side_mm


def temperatures_c(instance: LayoutInstance, pos_mm: np.ndarray) -> np.ndarray:
    """Temperature of each chip at centres `pos_mm` [n, 2], [n] degC."""
    distance_mm = np.sqrt(((pos_mm[:, None] - pos_mm[None]) ** 2).sum(-1))
    decay = np.exp(-distance_mm / instance.ell_mm)
    np.fill_diagonal(decay, 0.0)
    return self_heated_c(instance) + instance.r_mut * decay @ instance.tdp_w
