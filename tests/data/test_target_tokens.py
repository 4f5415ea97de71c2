"""Boxes become tokens: by cover, in the coordinates of the crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.target_tokens import _boxes_in_crop, _cover, _truth_of_frames
from pipeline.errors import DataError


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
    boxes = np.array([[[32.0, 24.0, 64.0, 48.0]]])
    found = _boxes_in_crop(boxes, scale=np.array([[0.25, 0.25]]), corner=np.array([[10.0, 2.0]]))
    assert found[0, 0] == pytest.approx([-2.0, 4.0, 6.0, 10.0])


def test_frames_are_found_whatever_the_order_of_the_table() -> None:
    truth = pd.DataFrame(
        [(name, frame, frame, 0, frame + 1, 1, name == "b") for name in "abc" for frame in range(5)],
        columns=["video_id", "frame", "x0", "y0", "x1", "y1", "moving"],
    ).sample(frac=1.0, random_state=0)
    videos = pd.Series(["c", "b"])
    rows = _truth_of_frames(truth, Path("t"), videos, np.array([1, 0]), np.array([[0, 2], [3, 4]]))
    assert rows[:, :, 0].tolist() == [[0, 2], [3, 4]]
    assert rows[:, :, 4].tolist() == [[1, 1], [0, 0]]
    for names, frames in ((["c", "d"], [[0, 1]]), (["b", "c"], [[4, 5]])):
        with pytest.raises(DataError, match=f"lacks frames of {names[1]}; make the demo data again"):
            _truth_of_frames(truth, Path("t"), pd.Series(names), np.array([1]), np.array(frames))
    with pytest.raises(DataError, match="lacks frames of x"):
        _truth_of_frames(truth, Path("t"), pd.Series(["x"]), np.array([0]), np.array([[0, 1]]))
