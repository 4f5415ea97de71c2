"""Which tokens of a window lie on the generated clips' moving target: what pruning is scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

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
    truth = read_parquet(truth_path, COLUMNS)
    known = truth[truth["video_id"].isin(videos["video_id"])]
    by_video = {str(name): rows for name, rows in known.groupby("video_id")}
    data = dataset.cfg.data
    grid = data.image_size // patch_size
    result = np.zeros((len(dataset), data.num_frames, grid * grid), dtype=bool)
    for index in range(len(dataset)):
        plan = dataset.plan(index)
        video = videos.iloc[plan.video]
        name = str(video["video_id"])
        if name not in by_video:
            raise DataError(f"{truth_path}: no rows of {name}; make the demo data again, or unset data.truth")
        rows = by_video[name].set_index("frame").loc[plan.frame_ids]
        if rows["moving"].mean() >= LEAST_MOVING:
            boxes = _boxes_in_crop(rows, video, plan.top, plan.left, data.short_side)
            result[index] = _cover(boxes, grid, patch_size) >= LEAST_COVER
    return result


def _boxes_in_crop(
    rows: pd.DataFrame, video: pd.Series, top: int, left: int, short_side: int
) -> Float[np.ndarray, "T 4"]:
    """Boxes (x0, y0, x1, y1) in pixels of the crop."""
    height, width = packed_size(int(video["height"]), int(video["width"]), short_side)
    scale_x, scale_y = width / video["width"], height / video["height"]
    boxes = rows[["x0", "y0", "x1", "y1"]].to_numpy(dtype=np.float64)
    return boxes * [scale_x, scale_y, scale_x, scale_y] - [left, top, left, top]


def _cover(boxes: Float[np.ndarray, "T 4"], grid: int, patch_size: int) -> Float[np.ndarray, "T N"]:
    """Share of each patch that lies in the box; a frame without a box (NaN) has none."""
    edges = np.arange(grid) * patch_size
    spans = []
    for low, high in ((boxes[:, 0], boxes[:, 2]), (boxes[:, 1], boxes[:, 3])):
        overlap = np.minimum(high[:, None], edges + patch_size) - np.maximum(low[:, None], edges)
        spans.append(np.clip(np.nan_to_num(overlap), 0.0, None) / patch_size)
    across, down = spans
    return (down[:, :, None] * across[:, None, :]).reshape(len(boxes), -1)
