"""Small instances that layout tests share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def content() -> dict[str, Any]:
    """Three chips of 4 x 2, 2 x 2 and 2 x 4 mm on a square of 12 mm, as in an instance file."""
    return {
        "name": "three",
        "w_mm": [4.0, 2.0, 2.0],
        "h_mm": [2.0, 2.0, 4.0],
        "tdp_w": [10.0, 5.0, 1.0],
        "nets": [[0, 1, 2.0], [1, 2, 1.0]],
        "region": {"kind": "rect", "width_mm": 12.0, "height_mm": 12.0},
        "gap_mm": 0.5,
        "t_amb": 40.0,
        "t_max": 50.0,
        "ell_mm": 4.0,
        "r_self": 2.0,
        "r_mut": 0.5,
        "lam_heat": 1.0,
        "wl_norm": 10.0,
    }
