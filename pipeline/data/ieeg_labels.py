"""Which windows of a recording are ictal, interictal or neither. Pure functions, times in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int

from .ieeg_recording import Span


class WindowLabel(IntEnum):
    """0 and 1 are classes; negative ones state why a window is left out."""

    INTERICTAL = 0
    ICTAL = 1
    GUARD = -1
    CLUSTER = -2
    NAN = -3
    THINNED = -4


def followers(seizures_s: Sequence[Span], gap_s: float) -> list[bool]:
    """Whether each seizure (patient's clock, in order) starts within `gap_s` after an earlier one ended."""
    marks, last_offset = [], -np.inf
    for onset, offset in seizures_s:
        marks.append(bool(onset - last_offset < gap_s))
        last_offset = max(last_offset, offset)
    return marks


def cluster_spans(seizures_s: Sequence[Span], gap_s: float, guard_s: float) -> list[Span]:
    """The times that clusters take: from the end of the seizure before a follower to the follower's end and guard."""
    spans, last_offset = [], -np.inf
    for (onset, offset), follows in zip(seizures_s, followers(seizures_s, gap_s), strict=True):
        if follows:
            spans.append((min(last_offset, onset), offset + guard_s))
        last_offset = max(last_offset, offset)
    return spans


def label_windows(
    starts_s: Float[np.ndarray, " N"],
    window_s: float,
    seizures_s: Sequence[Span],
    *,
    ictal_overlap: float,
    guard_s: float,
    left_out_s: Sequence[Span] = (),
) -> Int[np.ndarray, " N"]:
    """A `WindowLabel` per window.

    Args:
        starts_s: where the windows start.
        window_s: their length.
        seizures_s: the seizures that count.
        ictal_overlap: share of the window that seizures must cover for ICTAL.
        guard_s: a window that is not ictal and touches this much time before or after a seizure is GUARD; with 0 a
            window covered by less than the share is INTERICTAL.
        left_out_s: times of clusters; a window that touches one is CLUSTER, unless it is ictal.
    """
    # An onset that falls on a grid of samples must not lose a window to the last bit of a division.
    covered_s = sum((_overlap(starts_s, window_s, span) for span in seizures_s), np.zeros_like(starts_s)) + 1e-9
    near = np.zeros(len(starts_s), bool)
    for onset, offset in seizures_s:
        near |= _overlap(starts_s, window_s, (onset - guard_s, onset)) > 0
        near |= _overlap(starts_s, window_s, (offset, offset + guard_s)) > 0
    in_cluster = np.zeros(len(starts_s), bool)
    for span in left_out_s:
        in_cluster |= _overlap(starts_s, window_s, span) > 0
    labels = np.where(near, WindowLabel.GUARD, WindowLabel.INTERICTAL)
    labels = np.where(in_cluster, WindowLabel.CLUSTER, labels)
    return np.where(covered_s >= ictal_overlap * window_s, WindowLabel.ICTAL, labels).astype(np.int64)


def thin_interictal(labels: Int[np.ndarray, " N"], share: float) -> Int[np.ndarray, " N"]:
    """Mark all but an evenly spaced `share` of the interictal windows as THINNED."""
    interictal = np.flatnonzero(labels == WindowLabel.INTERICTAL)
    rank = np.arange(len(interictal))
    dropped = np.floor((rank + 1) * share) == np.floor(rank * share)
    thinned = labels.copy()
    thinned[interictal[dropped]] = WindowLabel.THINNED
    return thinned


def _overlap(starts_s: Float[np.ndarray, " N"], window_s: float, span: Span) -> Float[np.ndarray, " N"]:
    return np.maximum(0.0, np.minimum(starts_s + window_s, span[1]) - np.maximum(starts_s, span[0]))
