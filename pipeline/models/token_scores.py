"""How much each token matters: time, space, region, modality and local terms (spec §6.5-6.6).

Scores carry no gradient to the features: they rank tokens, and a gradient through fourteen window entropies would cost
more than it teaches. The weights of modalities are the score's only parameters, and they do learn.

Departures from the literal score, each with the option that restores it:

* features are LayerNorm-ed first, because a softmax over channels of small features is flat and ranks rounding noise;
* every term is scaled to [0, 1] within its sample (`norm: sample`), so that a clip's tokens do not depend on its batch;
  a term that is constant over a sample counts 1/2;
* the time term is the Jensen-Shannon divergence of a window's frames (`time_score: jsd`), which is motion, where the
  entropy of their mean (`entropy`) also ranks high what is merely diffuse;
* a region's importance is its own entropy (`region_score: entropy`), not one constant for all (`constant`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from pipeline.config.pruning import PruningConfig

from .window_entropy import (
    WindowEntropies,
    mean_of_windows,
    mean_over_frames,
    membership,
    space_cells,
    time_windows,
    window_entropies,
)

# Below this spread (nat) a term is rounding noise and is taken as constant.
FLAT = 1e-5


@dataclass(frozen=True)
class TokenPlaces:
    """Where tokens of a frame lie: slices of modalities, of which the first has a patch grid with regions.

    `averages` are the cells of all levels, then the regions: the rows of `cell_averages`.
    """

    slices: Mapping[str, tuple[int, int]]
    grid: tuple[int, int]
    region_ids: Int[Tensor, " N_v"]
    averages: Float[Tensor, "K N_v"]


class TokenScores(NamedTuple):
    """The score of every token, and the terms that a reader wants to see; all without gradient.

    Attributes:
        score: sum of the weighted terms.
        time: normalised time term per place.
        space: normalised space term per frame of each modality, in the order of the slices.
        entropy: entropy of each place's mean distribution over all frames, nat.
    """

    score: Float[Tensor, "B T N"]
    time: Float[Tensor, "B N"]
    space: Float[Tensor, "B T M"]
    entropy: Float[Tensor, "B N"]


def normalise(
    values: Float[Tensor, "B L ..."], valid: Bool[Tensor, "B _ ..."] | None, over: Literal["sample", "batch"]
) -> Float[Tensor, "B L ..."]:
    """Min-max scaling of L terms to [0, 1]: within each sample, or over the batch as the literal spec has it.

    Values that are not valid neither set the range nor are kept inside it.
    """
    axes = tuple(range(2, values.ndim)) if over == "sample" else (0,)
    low = (values if valid is None else values.masked_fill(~valid, torch.inf)).amin(dim=axes, keepdim=True)
    high = (values if valid is None else values.masked_fill(~valid, -torch.inf)).amax(dim=axes, keepdim=True)
    spread = high - low
    return torch.where(spread >= FLAT, (values - low) / spread.clamp_min(FLAT), 0.5)


@torch.no_grad()
def score_tokens(
    x: Float[Tensor, "B T N C"], cfg: PruningConfig, places: TokenPlaces, kept: Bool[Tensor, "B T N"] | None = None
) -> TokenScores:
    """Score all tokens but for the modality term.

    Args:
        x: token features; those that are not kept are ignored.
        cfg: levels, weights and forms of the terms.
        places: slices that cover all N places in order, and the patch grid of the first.
        kept: tokens that are still there; None means all.
    """
    with torch.autocast(device_type=x.device.type, enabled=False):
        windows, levels = _time_matrices(x.shape[1], tuple(cfg.time_window_levels), cfg.time_window_overlap)
        cell_levels = _space_matrices(places.grid, tuple(cfg.space_window_levels))[1]
        windows, levels, cell_levels = (part.to(x.device) for part in (windows, levels, cell_levels))
        entropies = _window_entropies_on(x.device)(x, windows, places.averages, kept, cfg.entropy_tau)
        time, whole = _time_terms(entropies, levels, cfg, kept)
        space, region = _space_terms(entropies, whole, cell_levels, cfg, places, kept)
        score = (cfg.a_time * time + cfg.c_region * region).unsqueeze(1) + cfg.b_space * _by_place(space, places)
        if cfg.d_local:
            valid = None if kept is None else kept.unsqueeze(1)
            score = score + cfg.d_local * normalise(entropies.local.unsqueeze(1), valid, cfg.norm).squeeze(1)
    return TokenScores(score, time, space, whole)


def _window_entropies_on(device: torch.device) -> Callable[..., WindowEntropies]:
    """The compiled kernel where a CPU computes; PyTorch's operators elsewhere, and where they are recorded."""
    if device.type != "cpu" or torch.jit.is_tracing():
        return window_entropies
    # Here, so that dense networks do not wait for numba.
    from .fused_entropy import fused_window_entropies

    return fused_window_entropies


def _by_place(space: Float[Tensor, "B T M"], places: TokenPlaces) -> Float[Tensor, "B T _"]:
    """Each place's value, from its modality's."""
    if len(places.slices) == 1:
        return space
    widths = [stop - start for start, stop in places.slices.values()]
    return space.repeat_interleave(torch.tensor(widths, device=space.device), dim=2)


@cache
def _time_matrices(
    frames: int, levels: tuple[int, ...], overlap: float
) -> tuple[Float[Tensor, "W T"], Float[Tensor, "L W"]]:
    """All windows, first the whole clip, and the windows of each level."""
    every = levels if levels[0] == 1 else (1, *levels)
    parts = [time_windows(frames, level, overlap) for level in every]
    return torch.cat(parts), _level_members([len(part) for part in parts])[-len(levels) :]


def cell_averages(
    grid: tuple[int, int], levels: Sequence[int], region_ids: Int[Tensor, " N_v"]
) -> Float[Tensor, "K N_v"]:
    """Rows that average over the cells of each level, then over the regions."""
    return torch.cat([_space_matrices(grid, tuple(levels))[0], membership(region_ids)])


@cache
def _space_matrices(
    grid: tuple[int, int], levels: tuple[int, ...]
) -> tuple[Float[Tensor, "W N_v"], Float[Tensor, "L W"]]:
    """All cells, and the cells of each level."""
    parts = [space_cells(grid, level) for level in levels]
    return torch.cat(parts), _level_members([len(part) for part in parts])


def _level_members(counts: list[int]) -> Float[Tensor, "L W"]:
    return membership(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)))


def _time_terms(
    entropies: WindowEntropies,
    levels: Float[Tensor, "L W"],
    cfg: PruningConfig,
    kept: Bool[Tensor, "B T N"] | None,
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """The fused time term, and the plain entropy over all frames."""
    values, share = entropies.time, entropies.time_share
    whole = values[:, 0]
    if cfg.time_score == "jsd":
        values = values - entropies.time_local
    valid = None if kept is None else kept.any(dim=1).unsqueeze(1)
    return normalise(mean_of_windows(values, share, levels), valid, cfg.norm).mean(dim=1), whole


def _space_terms(
    entropies: WindowEntropies,
    whole: Float[Tensor, "B N"],
    members: Float[Tensor, "L W"],
    cfg: PruningConfig,
    places: TokenPlaces,
    kept: Bool[Tensor, "B T N"] | None,
) -> tuple[Float[Tensor, "B T M"], Float[Tensor, "B N"]]:
    """The fused space term of each modality, and the region term."""
    spans = list(places.slices.values())
    start, stop = spans[0]
    values, share = entropies.space.transpose(1, 2), entropies.space_share  # B W T
    share = None if share is None else share.transpose(1, 2)
    at = members.shape[1]
    levels = mean_of_windows(values[:, :at], None if share is None else share[:, :at], members)
    # A modality without a grid has its time entropy for a space entropy (spec §6.6).
    others = [whole[:, a:b].mean(dim=1)[:, None, None].expand_as(levels) for a, b in spans[1:]]
    valid = None if kept is None else torch.stack([kept[:, :, a:b].any(dim=2) for a, b in spans], dim=2).unsqueeze(1)
    space = normalise(torch.stack([levels, *others], dim=3), valid, cfg.norm).mean(dim=1)
    if cfg.region_score == "constant":
        region = space[..., :1].mean(dim=1).expand(-1, stop - start)
    else:
        in_region = None if share is None else share[:, at:]
        of_region = mean_over_frames(values[:, at:], in_region).unsqueeze(1)
        alive = None if in_region is None else (in_region > 0).any(dim=2).unsqueeze(1)
        region = normalise(of_region, alive, cfg.norm)[:, 0, places.region_ids]
    return space, functional.pad(region, (start, whole.shape[1] - stop))
