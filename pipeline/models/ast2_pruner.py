"""`ASTPruner` (spec §6): which tokens a network drops, and which heads, channels and branches it closes.

Training hides dropped tokens as attention keys; evaluation gathers the kept ones, so that time falls. Both give the
same logits. Token sparsity is set by `rho_target`, since a threshold that follows the k-th score fixes it; gates learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.pruning import PruningConfig

from .gates import INITIAL_LOGIT, GateValues, gate_value, settle
from .keep_schedule import PruningPhase, final_phase, phase_at
from .token_gating import Slices, TokenGating, flat_places, modal_stats
from .token_scores import TokenPlaces, cell_averages, score_tokens
from .token_selection import NEVER, frame_uniform, kept_count, random_scores, select_top, threshold_slope
from .voronoi import build_voronoi_regions


class PrunerConfig(PruningConfig):
    """The pruner's settings and the network's geometry, as the spec's `ast_cfg` holds both."""

    patch_grid_h: int = Field(gt=0, description="rows of the patch grid")
    patch_grid_w: int = Field(gt=0, description="columns of the patch grid")
    num_modalities: int = Field(1, gt=0, description="kinds of tokens")
    modalities: list[str] = Field(["video"], min_length=1, description="their names; the first has the patch grid")
    num_patches_video: int | None = Field(None, description="patches per frame; the grid says the same")
    num_patches_audio: int = Field(0, ge=0, description="sound tokens per frame")


class ASTPruner(nn.Module):
    """Token gating by spatio-temporal entropy, and gates of heads, channels and blocks.

    Args:
        cfg: settings and geometry by their names in `PrunerConfig`; copied, never changed.
        embed_dim: token width.
        num_heads: attention heads per block.
        depth: blocks.
        num_patches: tokens per frame over all modalities.
        mlp_hidden: hidden width of a block's MLP; None means 4 · embed_dim.

    Attributes:
        modality_logit: [M], the importance of each modality before a sigmoid; not trained if there is only one.
        head_logit, ch_logit, block_logit: [L, H], [L, mlp_hidden], [L, 2] (attention, MLP); None without gates.
        keep_logit: [prune layers] with `learn_keep`, else None.
        progress: share of training that is done, which decides the schedules; set by the trainer.

    Raises:
        ValueError: an unknown or wrong setting, or a geometry that does not fit.
    """

    region_ids: Tensor
    cell_averages: Tensor

    def __init__(
        self,
        cfg: Mapping[str, Any] | PrunerConfig,
        embed_dim: int,
        num_heads: int,
        depth: int,
        num_patches: int,
        *,
        mlp_hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.cfg = cfg if isinstance(cfg, PrunerConfig) else PrunerConfig.model_validate(dict(cfg))
        self._check(depth, num_patches)
        self.embed_dim, self.num_heads, self.depth, self.num_patches = embed_dim, num_heads, depth, num_patches
        self.mlp_hidden = 4 * embed_dim if mlp_hidden is None else mlp_hidden
        self.progress = 1.0
        self.grid = (self.cfg.patch_grid_h, self.cfg.patch_grid_w)
        region_ids, self.num_regions = build_voronoi_regions(
            self.grid[0] * self.grid[1], self.grid, self.cfg.num_regions
        )
        self.register_buffer("region_ids", region_ids, persistent=False)
        averages = cell_averages(self.grid, self.cfg.space_window_levels, region_ids)
        self.register_buffer("cell_averages", averages, persistent=False)
        modalities = self.cfg.num_modalities
        self.modality_logit = nn.Parameter(torch.zeros(modalities), requires_grad=modalities > 1)
        layers = len(self.cfg.prune_layers)
        self.keep_logit = nn.Parameter(torch.empty(layers)) if self.cfg.learn_keep else None
        self.head_logit = nn.Parameter(torch.empty(depth, num_heads)) if self.cfg.gates else None
        self.ch_logit = nn.Parameter(torch.empty(depth, self.mlp_hidden)) if self.cfg.gates else None
        self.block_logit = nn.Parameter(torch.empty(depth, 2)) if self.cfg.gates else None
        self.reset_parameters()

    def _check(self, depth: int, num_patches: int) -> None:
        cfg = self.cfg
        patches = cfg.patch_grid_h * cfg.patch_grid_w
        if cfg.num_patches_video not in (None, patches):
            raise ValueError(
                f"num_patches_video={cfg.num_patches_video}, but patch_grid is {cfg.patch_grid_h}x{cfg.patch_grid_w}"
            )
        if patches + cfg.num_patches_audio != num_patches:
            raise ValueError(
                f"num_patches={num_patches}, but patch_grid {cfg.patch_grid_h}x{cfg.patch_grid_w} and "
                f"num_patches_audio={cfg.num_patches_audio} make {patches + cfg.num_patches_audio}"
            )
        if len(cfg.modalities) != cfg.num_modalities:
            raise ValueError(f"num_modalities={cfg.num_modalities}, but modalities={cfg.modalities}")
        if cfg.prune_layers[-1] >= depth:
            raise ValueError(f"prune_layers={cfg.prune_layers}: the network has blocks 0 to {depth - 1}")

    def reset_parameters(self) -> None:
        """Start with equal modalities, open gates, and the kept shares of `rho_target`."""
        nn.init.zeros_(self.modality_logit)
        for logit in (self.head_logit, self.ch_logit, self.block_logit):
            if logit is not None:
                nn.init.constant_(logit, INITIAL_LOGIT)
        if self.keep_logit is not None:
            shares = torch.tensor(self.cfg.keep_shares()).clamp(0.001, 0.999)
            with torch.no_grad():
                self.keep_logit.copy_(shares.logit())

    def phase(self) -> PruningPhase:
        """Where the schedules stand: at `progress` in training, at their end in evaluation."""
        return phase_at(self.cfg, self.progress) if self.training else final_phase(self.cfg)

    def gates(self) -> GateValues | None:
        """What all gates pass now; None without gates."""
        if self.head_logit is None or self.ch_logit is None or self.block_logit is None:
            return None
        soft = self.phase().soft_gates
        return GateValues(*(gate_value(logit, soft) for logit in (self.head_logit, self.ch_logit, self.block_logit)))

    def prune_place(self, block: int) -> int | None:
        """Which of the prune layers lies before a block, if any."""
        return self.cfg.prune_layers.index(block) if block in self.cfg.prune_layers else None

    def final_keep_shares(self) -> list[float]:
        """Cumulative kept share of gated tokens after each prune layer, in evaluation."""
        if self.keep_logit is None:
            return list(self.cfg.keep_shares())
        return self.keep_logit.detach().sigmoid().cummin(dim=0).values.tolist()

    def kept_counts(self, gated_tokens: int) -> list[int]:
        """Gated tokens that stay after each prune layer, in evaluation."""
        return [kept_count(share, gated_tokens) for share in self.final_keep_shares()]

    def gate_tokens(
        self,
        token_feat: Float[Tensor, "B T N C"],
        modality_slices: Slices,
        *,
        available: Bool[Tensor, "B T N"] | None = None,
        place: int = 0,
    ) -> TokenGating:
        """Decide which tokens stay at one prune layer.

        Args:
            token_feat: features of all tokens; those that are not available are ignored.
            modality_slices: {modality: (start, stop)} over N, the picture's first. Modalities that the pruner does not
                know come last, are exempt and always stay.
            available: tokens that are still there; None means all.
            place: which of the prune layers this is.
        """
        frames, per_frame = token_feat.shape[1:3]
        gated = max(modality_slices[name][1] for name in self.cfg.modalities)
        slices = {name: modality_slices[name] for name in self.cfg.modalities}
        here = None if available is None else available[:, :, :gated]
        places = TokenPlaces(slices, self.grid, self.region_ids, self.cell_averages)
        scores = score_tokens(token_feat[:, :, :gated].detach(), self.cfg, places, here)
        ranking = self._ranking(scores.score, slices)
        if here is not None:
            ranking = ranking.masked_fill(~here, NEVER)
        learned, count = self._keep(place, frames * gated)
        chosen = select_top(ranking.detach().flatten(1), count)
        threshold, share = chosen.threshold, ranking.new_tensor(count / (frames * gated))
        if learned is not None:
            live = learned - learned.detach()
            threshold, share = threshold + threshold_slope(chosen.ordered, count) * live, share + live
        logit = (ranking - threshold[:, None, None]) / self.phase().temperature
        if here is not None:
            logit = logit.masked_fill(~here, NEVER)
        kept = chosen.kept.unflatten(1, (frames, gated))
        exempt = per_frame - gated
        if exempt:
            kept = nn.functional.pad(kept, (0, exempt), value=True)
            logit = nn.functional.pad(logit, (0, exempt), value=torch.inf)
        return TokenGating(flat_places(chosen.index, frames, gated, per_frame), kept, logit, share, gated, scores)

    def _ranking(self, score: Float[Tensor, "B T N"], slices: Slices) -> Float[Tensor, "B T N"]:
        cfg = self.cfg
        if len(slices) > 1:
            weight = self.modality_logit.sigmoid()
            widths = torch.tensor([stop - start for start, stop in slices.values()], device=score.device)
            score = score + cfg.d_modal * weight.repeat_interleave(widths)
        if cfg.selector == "random":
            return random_scores(score, self.training)
        return frame_uniform(score) if cfg.selector == "frame_uniform" else score

    def kept_now(self, place: int, gated_tokens: int) -> int:
        """Gated tokens that stay after a prune layer where the schedule stands now."""
        return self._keep(place, gated_tokens)[1]

    def _keep(self, place: int, gated_tokens: int) -> tuple[Float[Tensor, ""] | None, int]:
        """The kept share at a prune layer if it is learned, live, and the number of tokens that stay."""
        ramp = self.phase().drop_ramp
        if self.keep_logit is None:
            return None, kept_count(1.0 - (1.0 - self.cfg.keep_shares()[place]) * ramp, gated_tokens)
        share = 1.0 - (1.0 - self.keep_logit[: place + 1].sigmoid().amin()) * ramp
        return share, kept_count(float(share.detach()), gated_tokens)

    @torch.no_grad()
    def settle_gates(self) -> None:
        """Close exactly the targeted number of gates of each kind, the lowest logits.

        Around its target a hard count goes on changing by a gate or two, and a short training may not arrive. A kind of
        which far more are closed (another loss asks for it), or without weight in L_AST, stays as it is.
        """
        for kind, logit in (("head", self.head_logit), ("ch", self.ch_logit), ("block", self.block_logit)):
            if logit is not None and getattr(self.cfg, f"lambda_{kind}") > 0:
                settle(logit, getattr(self.cfg, f"target_{kind}"))

    def forward_token_gating(
        self, token_feat: Float[Tensor, "B T N C"], modality_slices: Slices | None = None
    ) -> tuple[Float[Tensor, "B T N 1"], Float[Tensor, ""], dict[str, dict[str, Tensor]]]:
        """Spec §6.6: (mask_token, sparsity_token, modal_stats), with the soft mask and its sparsity.

        `modal_stats` holds `sparsity` (of the soft mask) and `H_time_mean` (mean normalised time term) per modality.
        """
        slices = {"video": (0, self.num_patches)} if modality_slices is None else modality_slices
        gating = self.gate_tokens(token_feat, slices)
        return gating.mask.unsqueeze(-1), gating.soft_sparsity(), modal_stats(gating, slices)

    def compute_L_AST(self, sparsity: Mapping[str, Tensor]) -> Float[Tensor, ""]:  # noqa: N802
        """L_AST = sum of lambda_i (s_i - s_i*)^2 over tokens, heads, channels and blocks (spec §6.7).

        The spec's plain weighted sum of sparsities would be smallest with everything open. A target rises over the
        schedule, so that gates close a few at a time; that of tokens is 1 - rho_target.

        Args:
            sparsity: share closed by kind (`token`, `head`, `ch`, `block`); absent kinds do not count.
        """
        cfg, phase = self.cfg, self.phase()
        targets = {
            "token": (1.0 - cfg.keep_shares()[-1]) * phase.drop_ramp,
            "head": cfg.target_head * phase.target_ramp,
            "ch": cfg.target_ch * phase.target_ramp,
            "block": cfg.target_block * phase.target_ramp,
        }
        total = self.modality_logit.new_zeros(())
        for kind, value in sparsity.items():
            total = total + getattr(cfg, f"lambda_{kind}") * (value - targets[kind]) ** 2
        return total


def build_pruner(
    ast_cfg: Mapping[str, Any] | PruningConfig | None,
    *,
    side: int,
    audio_tokens: int,
    num_frames: int,
    embed_dim: int,
    num_heads: int,
    depth: int,
    mlp_hidden: int,
) -> ASTPruner:
    """The pruner of a network, from its settings and geometry.

    Args:
        ast_cfg: settings by their names in `PruningConfig`; None takes its defaults.
        side: patches along a side of a frame.
        audio_tokens: sound tokens per frame in the sequence; with `audio: keep` they do not compete.
        num_frames, embed_dim, num_heads, depth, mlp_hidden: of the network.

    Raises:
        ValueError: an unknown or wrong setting, or one that does not fit the network.
    """
    settings = ast_cfg if isinstance(ast_cfg, PruningConfig) else PruningConfig.model_validate(dict(ast_cfg or {}))
    settings.check_sizes(depth, num_frames, side)
    competing = audio_tokens if settings.audio == "gate" else 0
    modalities = ["video", "audio"] if competing else ["video"]
    geometry = {
        "patch_grid_h": side,
        "patch_grid_w": side,
        "num_modalities": len(modalities),
        "modalities": modalities,
        "num_patches_video": side * side,
        "num_patches_audio": competing,
    }
    cfg = PrunerConfig.model_validate(settings.model_dump() | geometry)
    return ASTPruner(cfg, embed_dim, num_heads, depth, side * side + competing, mlp_hidden=mlp_hidden)
