"""Boxes become tokens: by cover, in the coordinates of the crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.target_tokens import _boxes_in_crop, _cover


def painted(box: tuple[int, int, int, int], grid: int, patch: int) -> np.ndarray:
    """The share of each patch's pixels inside an integer box, by painting it."""
    canvas = np.zeros((200, 200))
    x0, y0, x1, y1 = (value + 50 for value in box)
    canvas[y0:y1, x0:x1] = 1
    inside = canvas[50 : 50 + grid * patch, 50 : 50 + grid * patch]
    return inside.reshape(grid, patch, grid, patch).mean((1, 3)).reshape(-1)


@settings(max_examples=60, deadline=None)
@given(x=st.integers(-20, 40), y=st.integers(-20, 40), width=st.integers(0, 30), height=st.integers(0, 30))
def test_cover_is_the_painted_share(x: int, y: int, width: int, height: int) -> None:
    box = (x, y, x + width, y + height)
    found = _cover(np.array([box], dtype=np.float64), 4, 8)
    np.testing.assert_allclose(found[0], painted(box, 4, 8), atol=1e-12)


def test_no_box_covers_nothing() -> None:
    assert not _cover(np.full((2, 4), np.nan), 3, 8).any()


def test_boxes_are_scaled_to_the_packed_frames_and_moved_by_the_crop() -> None:
    import pandas as pd

    rows = pd.DataFrame({"x0": [32.0], "y0": [24.0], "x1": [64.0], "y1": [48.0]})
    video = pd.Series({"width": 320, "height": 240})
    assert _boxes_in_crop(rows, video, top=2, left=10, short_side=60)[0] == pytest.approx([-2.0, 4.0, 6.0, 10.0])
