"""A layout instance from the chips of a design: constants are scaled to the chips as in the benchmark instances."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from .instance import LayoutInstance, Region

SELF_HEATING_SHARE = 0.62
"""The hottest chip alone uses this share of the margin t_max - t_amb."""
MUTUAL_HEATING_SHARE = 0.3
"""The most powerful chip would warm another at distance zero by this share of the margin."""
DECAY_SIDES = 1.2
"""Heat decays over this many sides of an average chip."""


def instance_of_design(
    name: str,
    w_mm: np.ndarray,
    h_mm: np.ndarray,
    tdp_w: np.ndarray,
    nets: np.ndarray,
    net_weight: np.ndarray,
    region: Region,
    *,
    gap_mm: float = 0.2,
    t_amb_c: float = 40.0,
    t_max_c: float = 85.0,
    lam_heat: float = 1.0,
) -> LayoutInstance:
    """Chips [n], nets [m, 2] and traffic [m] (any one unit: J is free of it) as a placement problem.

    `wl_norm` is the total traffic times the side of an average chip, so J near 1 means that nets span one chip.

    Raises:
        DataError: no chip, or a width or height that is not positive.
    """
    if len(w_mm) == 0 or not (np.minimum(w_mm, h_mm) > 0).all():
        raise DataError(f"{name}: widths {list(w_mm)} and heights {list(h_mm)} mm must be positive, at least one chip")
    side_mm = float(np.sqrt((w_mm * h_mm).mean()))
    margin_c = t_max_c - t_amb_c
    density = float((tdp_w / np.sqrt(w_mm * h_mm)).max())
    power_w = float(tdp_w.max())
    return LayoutInstance(
        name=name,
        w_mm=w_mm,
        h_mm=h_mm,
        tdp_w=tdp_w,
        nets=nets,
        net_weight=net_weight,
        region=region,
        gap_mm=gap_mm,
        t_amb_c=t_amb_c,
        t_max_c=t_max_c,
        ell_mm=DECAY_SIDES * side_mm,
        r_self=SELF_HEATING_SHARE * margin_c / density if density > 0 else 0.0,
        r_mut=MUTUAL_HEATING_SHARE * margin_c / power_w if power_w > 0 else 0.0,
        lam_heat=lam_heat,
        wl_norm=max(float(net_weight.sum()), 1e-30) * side_mm,
    )
