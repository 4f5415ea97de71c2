"""The pruner's settings: what is scored, how many tokens stay, and what gates are to close (spec §6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Positive, Section, Share

NotNegative = Annotated[float, Field(ge=0.0)]
AboveZero = Annotated[float, Field(gt=0.0)]
Layer = Annotated[int, Field(ge=0)]


class PruningConfig(Section):
    """AST2.0-lite (spec §6): scores of tokens, how many are kept, and gates of heads, channels and blocks."""

    time_window_levels: list[Positive] = Field(
        [1, 2, 4], min_length=1, description="level L averages over windows of ceil(T/L) frames"
    )
    space_window_levels: list[Positive] = Field(
        [1, 2, 4], min_length=1, description="level L averages over cells of ceil(grid/L) patches a side"
    )
    time_window_overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.5, description="overlap of neighbouring time windows"
    )
    entropy_tau: AboveZero = Field(1.0, description="temperature of the softmax over channels")
    num_regions: Positive = Field(8, description="Voronoi regions of the patch grid")
    a_time: float = Field(1.0, description="weight of the time score")
    b_space: float = Field(0.25, description="weight of the space entropy of a token's frame")
    c_region: float = Field(0.25, description="weight of the entropy of a token's Voronoi region")
    d_modal: float = Field(1.0, description="weight of the learned importance of a token's modality")
    d_local: float = Field(0.0, description="weight of a token's own entropy")
    time_score: Literal["jsd", "entropy"] = Field(
        "jsd", description="change over a window (Jensen-Shannon divergence), or the literal entropy of its mean"
    )
    region_score: Literal["entropy", "constant"] = Field(
        "entropy", description="each region's own entropy, or the literal spec's one constant"
    )
    norm: Literal["sample", "batch"] = Field(
        "sample", description="scores are scaled to [0, 1] within a sample, or over the batch (literal spec)"
    )
    selector: Literal["ast", "random", "frame_uniform"] = Field(
        "ast", description="rank tokens by score, at random, or by score with equally many kept in each frame"
    )
    mask_site: Literal["key", "value"] = Field(
        "key", description="drop tokens as keys (and gather in evaluation), or multiply them by the soft mask (literal)"
    )
    audio: Literal["gate", "keep"] = Field("keep", description="sound tokens compete with picture tokens, or all stay")
    rho_target: Share | list[Share] = Field(
        0.5,
        description="share of all gated tokens that stays: after the last prune layer (earlier ones reach it in equal "
        "ratios), or one cumulative share per prune layer",
    )
    prune_layers: list[Layer] = Field([3], min_length=1, description="blocks before which tokens are dropped, 0-based")
    learn_keep: bool = Field(False, description="make the kept share a parameter, started at rho_target")
    keep_warmup: Share = Field(0.2, description="share of training in which the kept share falls from 1 to its target")
    temperature: AboveZero = Field(0.1, description="temperature of the soft mask at the first step")
    temperature_final: AboveZero = Field(0.02, description="temperature of the soft mask at the last step")
    gates: bool = Field(True, description="learn which heads, channels and blocks to close")
    gate_travel: AboveZero = Field(
        12.0, description="how far gate logits (and that of a learned kept share) can move in all, from +3"
    )
    gate_warmup: Share = Field(0.1, description="share of training in which gates are soft; hard afterwards")
    gate_freeze: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.7, description="share of training after which gates stay as they are"
    )
    lambda_token: NotNegative = Field(0.0, description="weight of token sparsity in L_AST (rho_target sets it anyway)")
    lambda_head: NotNegative = Field(10.0, description="weight of head sparsity in L_AST")
    lambda_ch: NotNegative = Field(10.0, description="weight of channel sparsity in L_AST")
    lambda_block: NotNegative = Field(10.0, description="weight of block sparsity in L_AST")
    target_head: Share = Field(0.25, description="share of heads to close")
    target_ch: Share = Field(0.25, description="share of MLP channels to close")
    target_block: Share = Field(0.0, description="share of attention and MLP branches to close")

    @model_validator(mode="after")
    def _check(self) -> PruningConfig:
        for name in ("time_window_levels", "space_window_levels", "prune_layers"):
            values = getattr(self, name)
            if values != sorted(set(values)):
                raise ValueError(f"{name}={values}: give each value once, in rising order")
        if isinstance(self.rho_target, list):
            if len(self.rho_target) != len(self.prune_layers):
                raise ValueError(
                    f"rho_target={self.rho_target} has {len(self.rho_target)} value(s) for {len(self.prune_layers)} "
                    "prune_layers; give one each, or a single number"
                )
            if self.rho_target != sorted(self.rho_target, reverse=True):
                raise ValueError(f"rho_target={self.rho_target}: a token that was dropped cannot return; let it fall")
        if self.gate_freeze < self.gate_warmup:
            raise ValueError(
                f"gate_freeze={self.gate_freeze} is before the end of gate_warmup={self.gate_warmup}; raise it"
            )
        return self

    def check_sizes(self, depth: int, num_frames: int, grid: int) -> None:
        """Refuse settings that do not fit a network.

        Raises:
            ValueError: a prune layer, time level or space level that the network has not.
        """
        if self.prune_layers[-1] >= depth:
            raise ValueError(
                f"ast.prune_layers={self.prune_layers}: the network has blocks 0 to {depth - 1} (model.depth={depth})"
            )
        for name, most, unit in (
            ("time_window_levels", num_frames, "frames"),
            ("space_window_levels", grid, "patches a side"),
        ):
            if getattr(self, name)[-1] > most:
                raise ValueError(f"ast.{name}={getattr(self, name)}: a level above {most} cannot cut {most} {unit}")

    def keep_shares(self) -> Sequence[float]:
        """The cumulative share of gated tokens that stays after each prune layer."""
        if isinstance(self.rho_target, list):
            return self.rho_target
        layers = len(self.prune_layers)
        return [math.pow(self.rho_target, (place + 1) / layers) for place in range(layers)]
