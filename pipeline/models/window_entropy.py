"""Entropy of tokens' channel distributions, averaged over windows of time and cells of the patch grid (spec §6.2-6.3).

All windows of all levels are the rows of one constant matrix, so that one matrix product makes every average. Where
some tokens are gone (`kept`), a window averages over those that are left and an empty window does not count.

Departures from the spec's code: only full time windows and a last one that ends with the clip, instead of truncated
ones that weigh the last frames most; `H_time_global` is the window over all frames whatever the levels.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

TINY = 1e-12


class WindowEntropies(NamedTuple):
    """Entropies in nat, and the share of each window and cell that is left (None: all).

    Attributes:
        local: of each token's own distribution; of one that is gone, 0.
        time: of each window's mean distribution at each place.
        time_local: mean of `local` over each window.
        space: of each cell's mean distribution in each frame.
    """

    local: Float[Tensor, "B T N"]
    time: Float[Tensor, "B W N"]
    time_local: Float[Tensor, "B W N"]
    time_share: Float[Tensor, "B W N"] | None
    space: Float[Tensor, "B T K"]
    space_share: Float[Tensor, "B T K"] | None


def _softmax_over_channels(x: Float[Tensor, "*S C"], tau: float) -> Float[Tensor, "*S C"]:
    """softmax(x / tau), in float32."""
    return (x.float() / tau).softmax(dim=-1)


def softmax_and_entropy(logits: Float[Tensor, "*S C"]) -> tuple[Float[Tensor, "*S C"], Float[Tensor, "*S"]]:
    """softmax(logits) over channels and its entropy in nat; overwrites `logits`.

    H = log sum exp - sum p x, where the first term is x - log p of the largest channel: no second exponential.
    """
    p = logits.softmax(dim=-1)
    partition = logits.amax(dim=-1) - p.amax(dim=-1).log()
    return p, partition - logits.mul_(p).sum(dim=-1)


def entropy_(p: Float[Tensor, "*S C"], eps: float = TINY) -> Float[Tensor, "*S"]:
    """-sum p log p in nat, with p at least `eps`; overwrites `p`.

    Two buffers in all: fresh memory for every step would take longer than the logarithms, of which those to base 2
    are the fastest.
    """
    log_p = p.clamp_min_(eps).log2()
    return log_p.mul_(p).sum(dim=-1).mul_(-math.log(2.0))


@cache
def time_windows(num_frames: int, level: int, overlap: float) -> Float[Tensor, "W T"]:
    """Rows that average over the windows of one level: ceil(T/L) frames, all of them full, the last ending at T."""
    size = math.ceil(num_frames / level)
    stride = size if overlap <= 0.0 else max(1, int(size * (1.0 - overlap)))
    starts = list(range(0, num_frames - size + 1, stride))
    if starts[-1] != num_frames - size:
        starts.append(num_frames - size)
    windows = torch.zeros(len(starts), num_frames)
    for row, start in enumerate(starts):
        windows[row, start : start + size] = 1.0 / size
    return windows


@cache
def space_cells(grid: tuple[int, int], level: int) -> Float[Tensor, "W N"]:
    """Rows that average over the cells of one level: ceil(g/L) patches a side, the last cell of an axis cut off."""
    sides = [math.ceil(length / level) for length in grid]
    row_of = torch.arange(grid[0]) // sides[0]
    column_of = torch.arange(grid[1]) // sides[1]
    cell_of = (row_of[:, None] * (int(column_of[-1]) + 1) + column_of[None, :]).flatten()
    return membership(cell_of)


def membership(group_of: Tensor) -> Float[Tensor, "R N"]:
    """Rows that average over the members of each group, given each place's group."""
    groups = torch.nn.functional.one_hot(group_of).T.float()
    return groups / groups.sum(dim=1, keepdim=True)


def time_averages(values: Float[Tensor, "B T *S"], windows: Float[Tensor, "W T"]) -> Float[Tensor, "B W *S"]:
    """The average of each window over the frames."""
    return (windows @ values.flatten(2)).unflatten(2, values.shape[2:])


def shares_left(
    kept: Bool[Tensor, "B T N"] | None, windows: Float[Tensor, "W T"], cells: Float[Tensor, "K N_v"]
) -> tuple[Float[Tensor, "B W N"], Float[Tensor, "B T K"]] | tuple[None, None]:
    """The share of each window at each place, and of each cell in each frame, that is left; None where all are."""
    if kept is None:
        return None, None
    left = kept.float()
    return time_averages(left, windows), left[:, :, : cells.shape[1]] @ cells.T


def window_entropies(
    x: Float[Tensor, "B T N C"],
    windows: Float[Tensor, "W T"],
    cells: Float[Tensor, "K N_v"],
    kept: Bool[Tensor, "B T N"] | None,
    tau: float,
) -> WindowEntropies:
    """Entropies of tokens, of time windows' and of cells' means of p = softmax(LayerNorm(x) / tau) over channels.

    Args:
        x: token features; those that are not kept are ignored.
        windows: rows that average over frames.
        cells: rows that average over the first N_v places.
        kept: tokens that are still there; None means all.
        tau: temperature.
    """
    logits = functional.layer_norm(x.float(), (x.shape[-1],))
    p, local = softmax_and_entropy(logits.div_(tau))
    del logits
    time_share, space_share = shares_left(kept, windows, cells)
    if kept is not None:
        p, local = p * kept.unsqueeze(-1), local * kept
    time, space = time_averages(p, windows), cells @ p[:, :, : cells.shape[1]]
    time_local = time_averages(local, windows)
    if time_share is not None and space_share is not None:
        of_time, of_space = time_share.clamp_min(TINY), space_share.clamp_min(TINY)
        time_local = time_local / of_time
        time, space = time / of_time.unsqueeze(-1), space / of_space.unsqueeze(-1)
    return WindowEntropies(local, entropy_(time), time_local, time_share, entropy_(space), space_share)


def mean_of_windows(
    values: Float[Tensor, "B W S"], share: Float[Tensor, "B W S"] | None, members: Float[Tensor, "L W"]
) -> Float[Tensor, "B L S"]:
    """The mean over each level's windows that are not empty; 0 where all are."""
    if share is None:
        return members @ values
    counts = (share > 0).to(values.dtype)
    return (members @ (values * counts)) / (members @ counts).clamp_min(TINY)


def mean_over_frames(values: Float[Tensor, "B R T"], share: Float[Tensor, "B R T"] | None) -> Float[Tensor, "B R"]:
    """The mean over frames in which something of the region is left; 0 where nothing is in any."""
    if share is None:
        return values.mean(dim=2)
    counts = (share > 0).to(values.dtype)
    return (values * counts).sum(dim=2) / counts.sum(dim=2).clamp_min(1.0)


def compute_multi_level_time_entropy(
    x: Float[Tensor, "B T N C"], levels: list[int], tau: float, eps: float, overlap: float
) -> dict[str, Tensor | dict[int, Tensor]]:
    """How spread each place's channel distribution is over windows of time (spec §6.2).

    Args:
        x: token features.
        levels: level L averages over windows of ceil(T/L) frames.
        tau: temperature of the softmax over channels.
        eps: smallest probability inside the logarithm.
        overlap: of neighbouring windows, in [0, 1).

    Returns:
        `H_time_global` [B, N], over all frames, and `H_time_level`, a dictionary {L: [B, N]}, in nat.

    Raises:
        ValueError: levels that are not rising, or above T.
    """
    frames = x.shape[1]
    _check_levels("time", levels, frames)
    p = _softmax_over_channels(x, tau)
    by_level = {}
    for level in levels:
        windows = time_windows(frames, level, overlap).to(p.device)
        by_level[level] = entropy_(time_averages(p, windows), eps).mean(dim=1)
    whole = by_level.get(1)
    return {"H_time_global": entropy_(p.mean(dim=1), eps) if whole is None else whole, "H_time_level": by_level}


def compute_multi_level_space_entropy(
    x: Float[Tensor, "B T N C"], levels: list[int], tau: float, eps: float, patch_grid: tuple[int, int]
) -> dict[str, Tensor | dict[int, Tensor]]:
    """How spread each frame's channel distribution is over cells of the patch grid (spec §6.3).

    Args:
        x: token features, patches in row-major order.
        levels: level L averages over cells of ceil(g/L) patches a side, without overlap.
        tau: temperature of the softmax over channels.
        eps: smallest probability inside the logarithm.
        patch_grid: rows and columns.

    Returns:
        `H_space_global` [B, T], over all patches, and `H_space_level`, a dictionary {L: [B, T]}, in nat.

    Raises:
        ValueError: levels that are not rising or above the grid, or a grid of another size.
    """
    if patch_grid[0] * patch_grid[1] != x.shape[2]:
        raise ValueError(f"patch_grid={patch_grid[0]}x{patch_grid[1]} does not hold N={x.shape[2]} patches")
    _check_levels("space", levels, max(patch_grid))
    p = _softmax_over_channels(x, tau)
    by_level = {level: entropy_(space_cells(patch_grid, level).to(p.device) @ p, eps).mean(dim=2) for level in levels}
    whole = by_level.get(1)
    return {"H_space_global": entropy_(p.mean(dim=2), eps) if whole is None else whole, "H_space_level": by_level}


def _check_levels(axis: str, levels: list[int], most: int) -> None:
    if not levels or levels != sorted(set(levels)) or levels[0] < 1 or levels[-1] > most:
        raise ValueError(f"{axis} window levels {levels}: give rising whole numbers from 1 to {most}")
