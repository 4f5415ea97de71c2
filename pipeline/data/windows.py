"""Sliding windows over a video and the frames sampled from one (spec §3.2-3.3). Pure functions.

Departures from the spec's code, decided after reading it closely: the table is fixed (jitter moves a window's
start per epoch, never their number), every video has at least one window per scale, and a last window
ends with the video where the stride would leave a tail unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int


def stride_of(cover_len: int, stride_ratio: float) -> int:
    """Frames between two windows of a scale (spec §3.2)."""
    return max(1, int(cover_len * stride_ratio))


def window_starts(n_frames: int, cover_len: int, stride_ratio: float) -> Int[np.ndarray, " W"]:
    """First frames of all windows of one scale in a video of `n_frames` >= 1 frames; W >= 1."""
    last = max(0, n_frames - cover_len)
    starts = np.arange(0, last + 1, stride_of(cover_len, stride_ratio))
    return starts if starts[-1] == last else np.append(starts, last)


def window_table(
    first_frames: Int[np.ndarray, " V"],
    stop_frames: Int[np.ndarray, " V"],
    clip_lens: Sequence[int],
    stride_ratio: float,
) -> pd.DataFrame:
    """All windows of all videos: columns `video` (row number), `cover_len`, `start`.

    Args:
        first_frames: first usable frame of each video.
        stop_frames: one past the last usable frame of each video; at least one frame is usable.
        clip_lens: frames a window covers, one entry per scale.
        stride_ratio: stride over `cover_len`.
    """
    parts = []
    for video, (first, stop) in enumerate(zip(first_frames.tolist(), stop_frames.tolist(), strict=True)):
        for cover_len in clip_lens:
            starts = first + window_starts(stop - first, cover_len, stride_ratio)
            parts.append((np.full_like(starts, video), np.full_like(starts, cover_len), starts))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.empty(0, int)] * 3
    return pd.DataFrame(dict(zip(("video", "cover_len", "start"), columns, strict=True)), dtype=np.int64)


def jittered_start(start: int, cover_len: int, stop_frame: int, stride: int, rng: np.random.Generator) -> int:
    """`start` moved on by less than a stride, without leaving the video.

    Args:
        start: the window's place in the table.
        cover_len: frames the window covers.
        stop_frame: one past the last usable frame.
        stride: frames between windows of this scale.
        rng: generator of this sample and epoch; one number is drawn.
    """
    offset = int(rng.integers(stride))
    return max(start, min(start + offset, stop_frame - cover_len))


def sample_frames(start: int, cover_len: int, stop_frame: int, num_frames: int) -> Int[np.ndarray, " T"]:
    """The `num_frames` frame ids of a window, as the spec's §3.3 code: evenly spaced and floored, or all
    frames and then the last one repeated.

    Args:
        start: first frame of the window, below `stop_frame`.
        cover_len: frames the window covers; cut at `stop_frame`.
        stop_frame: one past the last usable frame.
        num_frames: T.
    """
    length = min(cover_len, stop_frame - start)
    if length >= num_frames:
        return start + np.floor(np.linspace(0, length - 1, num_frames)).astype(np.int64)
    return start + np.minimum(np.arange(num_frames), length - 1)
