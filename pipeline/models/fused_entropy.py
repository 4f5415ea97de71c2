"""The entropies of `window_entropy` in one pass per sample, compiled by numba: how a CPU computes them.

A clip's distributions fill a core's second cache. PyTorch writes those of the whole batch and all their averages to
fresh memory, which takes longer than the logarithms; here they never leave the cache, and logarithm and exponential
are the short polynomials that float32 needs, in vector registers. Values are those of `window_entropies` to rounding.

Every compiled function is in this one file: numba's disk cache notices changes of the caller's file only.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from .window_entropy import TINY, WindowEntropies, shares_left

LN_2 = np.float32(np.log(2.0))
LOG2_E = np.float32(1.0 / np.log(2.0))
LAYER_NORM_EPS = np.float32(1e-5)
# Of 2: far enough from float32's bounds of 127 that sums over channels stay below them.
LARGEST_EXPONENT = np.float32(100.0)
# Sums may be taken in any order, which vectors need; a NaN stays a NaN.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def fused_window_entropies(
    x: Float[Tensor, "B T N C"],
    windows: Float[Tensor, "W T"],
    cells: Float[Tensor, "K N_v"],
    kept: Bool[Tensor, "B T N"] | None,
    tau: float,
) -> WindowEntropies:
    """`window_entropy.window_entropies` of features on the CPU, without gradient."""
    x = x.detach().float()
    if x.stride(3) != 1:
        x = x.contiguous()
    batch, frames, places, _ = x.shape
    time_share, space_share = shares_left(kept, windows, cells)
    arrays = [
        torch.empty(batch, 0, 0, dtype=torch.bool) if kept is None else kept.contiguous(),
        _inverse(time_share, batch),
        _inverse(space_share, batch),
        torch.empty(batch, frames, places),
        torch.empty(batch, len(windows), places),
        torch.empty(batch, len(windows), places),
        torch.empty(batch, frames, len(cells)),
    ]
    _over_samples(x, windows, cells, np.float32(1.0 / tau), arrays)
    _, _, _, local, time, time_local, space = arrays
    return WindowEntropies(local, time, time_local, time_share, space, space_share)


def _inverse(share: Tensor | None, batch: int) -> Tensor:
    return torch.empty(batch, 0, 0) if share is None else share.clamp_min(TINY).reciprocal()


def _over_samples(x: Tensor, windows: Tensor, cells: Tensor, sharpness: np.float32, arrays: list[Tensor]) -> None:
    """Run the kernel on the batch, or on equal parts of it at once.

    One thread fewer than PyTorch's: the first of its own still spin for work when scoring follows a block.
    """
    matrices = windows.numpy(), cells.numpy()

    def run(start: int, stop: int) -> None:
        part = x[start:stop]
        span = sum((size - 1) * stride for size, stride in zip(part.shape, part.stride(), strict=True)) + 1
        rows = part.as_strided((span,), (1,)).numpy()
        kept, *others = [array[start:stop].numpy() for array in arrays]
        _entropies(rows, x.shape[3], part.stride()[:3], kept, *matrices, sharpness, *others)

    batch, threads = len(x), torch.get_num_threads() - 1
    if threads < 2 or batch < 2:
        run(0, batch)
        return
    size = -(-batch // threads)
    starts = range(0, batch, size)
    for done in [_pool(threads).submit(run, start, min(batch, start + size)) for start in starts]:
        done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="entropy")


@njit(cache=True, fastmath=FAST, inline="always")
@no_type_check
def _log2(x):
    """log2 of a positive normal number: its exponent, and a polynomial over [sqrt(1/2), sqrt(2)) to 3e-7."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32((bits - np.int32(0x3F3504F3)) & np.int32(-0x00800000))
    m = np.int32(bits - exponent).view(np.float32) - np.float32(1.0)
    y = np.float32(0.17063435)
    y = y * m - np.float32(0.27269789)
    y = y * m + np.float32(0.29726262)
    y = y * m - np.float32(0.35896185)
    y = y * m + np.float32(0.48046503)
    y = y * m - np.float32(0.72137587)
    y = y * m + np.float32(1.44269973)
    return y * m + np.float32(np.int32(exponent >> np.int32(23)))


@njit(cache=True, fastmath=FAST, inline="always")
@no_type_check
def _exp2(x):
    """2 to the power of x in [-126, 126]: the exponent's bits, and Taylor's polynomial of the rest."""
    whole = np.floor(x + np.float32(0.5))
    rest = x - whole
    y = np.float32(1.5353362e-4)
    y = y * rest + np.float32(1.3398874e-3)
    y = y * rest + np.float32(9.6184374e-3)
    y = y * rest + np.float32(5.5503325e-2)
    y = y * rest + np.float32(2.4022648e-1)
    y = y * rest + np.float32(6.9314720e-1)
    y = y * rest + np.float32(1.0)
    biased = np.int32(np.int32(whole) + np.int32(127))
    return y * np.int32(biased << np.int32(23)).view(np.float32)


@njit(cache=True, fastmath=FAST)
@no_type_check
def _exponentials(row, e, sharpness):
    """e proportional to softmax(LayerNorm(row) * sharpness); returns 1 / sum(e) and the softmax's entropy in nat.

    A normalised channel is at most sqrt(C), so that the largest need not be sought unless tau is very small.
    Sums are of differences to the first channel: one pass is enough, and a large mean does not cancel.
    """
    width = len(row)
    base = row[0]
    linear = squares = np.float32(0.0)
    for c in range(width):
        d = row[c] - base
        linear += d
        squares += d * d
    mean = linear / np.float32(width)
    scale = sharpness * LOG2_E / np.sqrt(squares / np.float32(width) - mean * mean + LAYER_NORM_EPS)
    middle = mean
    if sharpness * LOG2_E * np.sqrt(np.float32(width)) > LARGEST_EXPONENT:
        middle = row.max() - base
    total = weighted = np.float32(0.0)
    for c in range(width):
        logit = (row[c] - base - middle) * scale
        logit = -LARGEST_EXPONENT if logit < -LARGEST_EXPONENT else logit
        value = _exp2(logit)
        e[c] = value
        total += value
        weighted += value * logit
    return np.float32(1.0) / total, LN_2 * (_log2(total) - weighted / total)


@njit(cache=True)
@no_type_check
def _fours(averages):
    """Columns and weights of each row that are not zero, in fours that zero weights fill up; and the fours per row."""
    rows, columns = averages.shape
    members = np.zeros((rows, columns + 3), np.uint64)
    weights = np.zeros((rows, columns + 3), np.float32)
    count = np.zeros(rows, np.int64)
    for row in range(rows):
        found = 0
        for column in range(columns):
            if averages[row, column] != np.float32(0.0):
                members[row, found] = column
                weights[row, found] = averages[row, column]
                found += 1
        count[row] = (found + 3) // 4
    return members, weights, count


@njit(cache=True, fastmath=FAST)
@no_type_check
def _entropy_of_mean(e, shares, first, step, members, weights, fours, scale, mean):
    """Entropy in nat of scale * sum_i weights[i] p[first + members[i] step], p = e * shares; `mean` is scratch.

    Rows are unsigned, so that no index is looked at for a sign, and four at a time, so that `mean` is passed less.
    """
    width = e.shape[1]
    for four in range(fours):
        at = 4 * four
        one, other = first + members[at] * step, first + members[at + 1] * step
        third, fourth = first + members[at + 2] * step, first + members[at + 3] * step
        u, v = weights[at] * shares[one] * scale, weights[at + 1] * shares[other] * scale
        w, x = weights[at + 2] * shares[third] * scale, weights[at + 3] * shares[fourth] * scale
        if four == 0:
            for c in range(width):
                mean[c] = u * e[one, c] + v * e[other, c] + w * e[third, c] + x * e[fourth, c]
        else:
            for c in range(width):
                mean[c] += u * e[one, c] + v * e[other, c] + w * e[third, c] + x * e[fourth, c]
    total = np.float32(0.0)
    for c in range(width):
        total += mean[c] * _log2(mean[c])
    return -LN_2 * total


@njit(cache=True, fastmath=FAST, nogil=True)
@no_type_check
def _entropies(
    rows, width, strides, kept, windows, cells, sharpness, time_scale, space_scale, local, time, time_local, space
):
    """Fill the last four for some samples, whose features start at sample, frame, place · strides."""
    batch, frames, places = local.shape
    whole = kept.size == 0
    e = np.empty((frames * places, width), np.float32)
    shares = np.empty(frames * places, np.float32)
    mean = np.empty(width, np.float32)
    frame_of, frame_weight, window_fours = _fours(windows)
    place_of, place_weight, cell_fours = _fours(cells)
    one, per_frame = np.uint64(1), np.uint64(places)
    for b in range(batch):
        for t in range(frames):
            for n in range(places):
                token = t * places + n
                if whole or kept[b, t, n]:
                    at = b * strides[0] + t * strides[1] + n * strides[2]
                    shares[token], local[b, t, n] = _exponentials(rows[at : at + width], e[token], sharpness)
                else:
                    e[token, :] = shares[token] = local[b, t, n] = np.float32(0.0)
        for n in range(places):
            for w in range(len(windows)):
                scale = np.float32(1.0) if whole else time_scale[b, w, n]
                time[b, w, n] = _entropy_of_mean(
                    e, shares, np.uint64(n), per_frame, frame_of[w], frame_weight[w], window_fours[w], scale, mean
                )
                of_frames = np.float32(0.0)
                for t in range(frames):
                    of_frames += windows[w, t] * local[b, t, n]
                time_local[b, w, n] = scale * of_frames
        for t in range(frames):
            for k in range(len(cells)):
                scale = np.float32(1.0) if whole else space_scale[b, t, k]
                space[b, t, k] = _entropy_of_mean(
                    e, shares, np.uint64(t) * per_frame, one, place_of[k], place_weight[k], cell_fours[k], scale, mean
                )
