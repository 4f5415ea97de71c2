"""Which tokens of a window lie on the generated clips' moving target: what pruning is scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..artifacts import read_parquet
from ..errors import DataError
from .packed import packed_size
from .ucf101 import UCF101Dataset

COLUMNS = ("video_id", "frame", "x0", "y0", "x1", "y1", "moving")
# A patch counts when the target's box covers a tenth of it; a window when the target moves in most of its frames.
LEAST_COVER = 0.1
LEAST_MOVING = 0.75


def target_tokens(dataset: UCF101Dataset, truth_path: Path, patch_size: int) -> Bool[np.ndarray, "W T N"]:
    """Tokens on the moving target in every window of an evaluation split; all False in windows where it rests.

    Args:
        dataset: `val` or `test`, whose crops do not change.
        truth_path: `truth.parquet` of the generated clips.
        patch_size: pixels of the model's input.

    Raises:
        DataError: the table is missing or has no row for a video of the split.
    """
    videos = dataset.videos.reset_index(drop=True)
    data = dataset.cfg.data
    plans = [dataset.plan(index) for index in range(len(dataset))]
    owner = np.array([plan.video for plan in plans])
    frame_ids = np.stack([plan.frame_ids for plan in plans])
    rows = _truth_of_frames(read_parquet(truth_path, COLUMNS), truth_path, videos["video_id"], owner, frame_ids)
    sizes = videos[["height", "width"]].to_numpy(dtype=np.int64)
    packed = np.array([packed_size(int(height), int(width), data.short_side) for height, width in sizes])
    corner = np.array([(plan.left, plan.top) for plan in plans], dtype=np.float64)
    boxes = _boxes_in_crop(rows[..., :4], (packed / sizes)[owner, ::-1], corner)
    covered = _cover(boxes, data.image_size // patch_size, patch_size) >= LEAST_COVER
    moves = rows[..., 4].mean(axis=1) >= LEAST_MOVING
    return covered & moves[:, None, None]


def _truth_of_frames(
    truth: pd.DataFrame,
    truth_path: Path,
    video_ids: pd.Series,
    owner: Int[np.ndarray, " W"],
    frame_ids: Int[np.ndarray, "W T"],
) -> Float[np.ndarray, "W T 5"]:
    """Box (x0, y0, x1, y1) and motion (0 or 1) in each window's frames; `owner` is its video's place in `video_ids`.

    All windows at once: a look-up in a data frame per window takes longer than the network that is scored.
    """
    place = {str(name): row for row, name in enumerate(video_ids)}
    mine = truth.assign(video=truth["video_id"].map(place)).dropna(subset="video")
    mine = mine.sort_values(["video", "frame"], kind="stable")
    first = np.searchsorted(mine["video"].to_numpy(), np.arange(len(place)))
    rows = np.minimum(first[owner][:, None] + frame_ids, len(mine) - 1)
    found = mine[["video", "frame"]].to_numpy(dtype=np.int64)[rows] if len(mine) else np.full((*rows.shape, 2), -1)
    wrong = ((found[..., 0] != owner[:, None]) | (found[..., 1] != frame_ids)).any(axis=1)
    if wrong.any():
        name = video_ids.iloc[owner[wrong.argmax()]]
        raise DataError(f"{truth_path}: lacks frames of {name}; make the demo data again, or unset data.truth")
    return mine[["x0", "y0", "x1", "y1", "moving"]].to_numpy(dtype=np.float64)[rows]


def _boxes_in_crop(
    boxes: Float[np.ndarray, "W T 4"], scale: Float[np.ndarray, "W 2"], corner: Float[np.ndarray, "W 2"]
) -> Float[np.ndarray, "W T 4"]:
    """Boxes (x0, y0, x1, y1) in pixels of the crop, from native ones; scale and corner are (x, y) of each window."""
    return boxes * np.tile(scale, 2)[:, None] - np.tile(corner, 2)[:, None]


def _cover(boxes: Float[np.ndarray, "*S 4"], grid: int, patch_size: int) -> Float[np.ndarray, "*S N"]:
    """Share of each patch that lies in the box; a frame without a box (NaN) has none."""
    edges = np.arange(grid) * patch_size
    spans = []
    for low, high in ((boxes[..., 0], boxes[..., 2]), (boxes[..., 1], boxes[..., 3])):
        overlap = np.minimum(high[..., None], edges + patch_size) - np.maximum(low[..., None], edges)
        spans.append(np.clip(np.nan_to_num(overlap), 0.0, None) / patch_size)
    across, down = spans
    return (down[..., :, None] * across[..., None, :]).reshape(*boxes.shape[:-1], grid * grid)
