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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from pipeline.config.pruning import PruningConfig

from .window_entropy import (
    TINY,
    mean_of_windows,
    membership,
    softmax_and_entropy,
    space_cell_entropy,
    space_cells,
    time_averages,
    time_window_entropy,
    time_windows,
)

# Below this spread (nat) a term is rounding noise and is taken as constant.
FLAT = 1e-5


@dataclass(frozen=True)
class TokenPlaces:
    """Where tokens of a frame lie: slices of modalities, of which the first has a patch grid with regions."""

    slices: Mapping[str, tuple[int, int]]
    grid: tuple[int, int]
    region_ids: Int[Tensor, " N_v"]


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
    values: Float[Tensor, "B ..."], valid: Bool[Tensor, "B ..."] | None, over: Literal["sample", "batch"]
) -> Float[Tensor, "B ..."]:
    """Min-max scaling to [0, 1]: within each sample, or over the batch as the literal spec has it.

    Values that are not valid neither set the range nor are kept inside it.
    """
    axes = tuple(range(1, values.ndim)) if over == "sample" else (0,)
    low = (values if valid is None else values.masked_fill(~valid, torch.inf)).amin(dim=axes, keepdim=True)
    high = (values if valid is None else values.masked_fill(~valid, -torch.inf)).amax(dim=axes, keepdim=True)
    spread = high - low
    scaled = (values - low) / spread.clamp_min(FLAT)
    return torch.where(spread >= FLAT, scaled, torch.full_like(scaled, 0.5))


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
        logits = functional.layer_norm(x.float(), (x.shape[-1],)).div_(cfg.entropy_tau)
        p, local = softmax_and_entropy(logits)
        del logits
        time, whole = _time_terms(p, local, cfg, kept)
        space, region = _space_terms(p, whole, cfg, places, kept)
        score = cfg.a_time * time.unsqueeze(1) + cfg.c_region * region.unsqueeze(1)
        widths = [stop - start for start, stop in places.slices.values()]
        score = score + cfg.b_space * torch.cat(
            [space[..., m : m + 1].expand(-1, -1, width) for m, width in enumerate(widths)], dim=2
        )
        if cfg.d_local:
            score = score + cfg.d_local * normalise(local, kept, cfg.norm)
    return TokenScores(score, time, space, whole)


def _time_terms(
    p: Float[Tensor, "B T N C"],
    local: Float[Tensor, "B T N"],
    cfg: PruningConfig,
    kept: Bool[Tensor, "B T N"] | None,
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """The fused time term, and the plain entropy over all frames."""
    frames = p.shape[1]
    # The first row is the whole clip, whether or not level 1 is asked for.
    levels = sorted({1, *cfg.time_window_levels})
    parts = [time_windows(frames, level, cfg.time_window_overlap) for level in levels]
    windows = torch.cat(parts).to(p.device)
    values, share = time_window_entropy(p, windows, kept)
    whole = values[:, 0]
    if cfg.time_score == "jsd":
        mean_local = time_averages(local if kept is None else local * kept, windows)
        values = values - (mean_local if share is None else mean_local / share.clamp_min(TINY))
    valid = None if kept is None else kept.any(dim=1)
    fused, first = torch.zeros_like(whole), 0
    for level, part in zip(levels, parts, strict=True):
        rows = slice(first, first + len(part))
        first += len(part)
        if level in cfg.time_window_levels:
            mean = mean_of_windows(values[:, rows], None if share is None else share[:, rows])
            fused = fused + normalise(mean, valid, cfg.norm)
    return fused / len(cfg.time_window_levels), whole


def _space_terms(
    p: Float[Tensor, "B T N C"],
    whole: Float[Tensor, "B N"],
    cfg: PruningConfig,
    places: TokenPlaces,
    kept: Bool[Tensor, "B T N"] | None,
) -> tuple[Float[Tensor, "B T M"], Float[Tensor, "B N"]]:
    """The fused space term of each modality, and the region term; both from one product with all averages."""
    spans = list(places.slices.values())
    start, stop = spans[0]
    parts = [space_cells(places.grid, level) for level in cfg.space_window_levels]
    cells = torch.cat([*parts, membership(places.region_ids.cpu())]).to(p.device)
    picture_kept = None if kept is None else kept[:, :, start:stop]
    values, share = space_cell_entropy(p[:, :, start:stop], cells, picture_kept)
    valid = None if kept is None else torch.stack([kept[:, :, a:b].any(dim=2) for a, b in spans], dim=2)
    fused, first = torch.zeros(*p.shape[:2], len(spans), device=p.device), 0
    for part in parts:
        rows = slice(first, first + len(part))
        level = mean_of_windows(
            values[..., rows].transpose(1, 2), None if share is None else share[..., rows].transpose(1, 2)
        )
        # A modality without a grid has its time entropy for a space entropy (spec §6.6).
        others = [whole[:, None, a:b].mean(dim=2).expand(-1, p.shape[1]) for a, b in spans[1:]]
        fused = fused + normalise(torch.stack([level, *others], dim=2), valid, cfg.norm)
        first += len(part)
    fused = fused / len(parts)
    region = torch.zeros_like(whole)
    if cfg.region_score == "constant":
        region[:, start:stop] = fused[..., :1].mean(dim=1)
    else:
        of_region = mean_of_windows(values[..., first:], None if share is None else share[..., first:])
        alive = None if share is None else (share[..., first:] > 0).any(dim=1)
        region[:, start:stop] = normalise(of_region, alive, cfg.norm)[:, places.region_ids]
    return fused, region
