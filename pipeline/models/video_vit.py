"""`VideoViT`: frames alone (spec §5.1)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.pruning import PruningConfig

from .ast2_pruner import ASTPruner, build_pruner
from .pruning_info import pruning_info
from .token_gating import Slices
from .token_transformer import NetShape, TokenTransformer, TransformerConfig, TransformerOutput
from .vit_blocks import PatchEmbedding

Info = dict[str, Any]
AstSettings = dict[str, Any] | PruningConfig | None


class VideoViT(nn.Module):
    """Video classifier (spec §5.1): T·N_v patch tokens and CLS, full attention over space and time.

    Args:
        img_size: side of the square frames, pixels; a multiple of `patch_size`.
        num_frames: frames T per clip; any other number is refused.
        num_classes: number of logits.
        embed_dim: token width D, a multiple of `num_heads`.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_ratio: hidden width of the MLP over `embed_dim`.
        patch_size: side of a square patch, pixels.
        in_chans: channels C per frame.
        drop_rate: dropout after the embedding, the attention projection and the MLP.
        attn_drop: dropout on attention weights.
        drop_path_rate: stochastic depth at the last block, rising linearly from 0 at the first.
        use_ast_prune: drop tokens, and gate heads, channels and branches (`ast_pruner`).
        ast_cfg: settings of the pruner by their names in `PruningConfig`, read only with `use_ast_prune`.
        pool: what the classifier reads, the CLS token or the mean of the others that were kept.
        layout: order of the input's axes, `btchw` or `bcthw`.

    Raises:
        ValueError: sizes that do not fit, or an unknown option.
    """

    def __init__(
        self,
        img_size: int,
        num_frames: int,
        num_classes: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        patch_size: int,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        attn_drop: float = 0.0,
        drop_path_rate: float = 0.0,
        use_ast_prune: bool = False,
        ast_cfg: AstSettings = None,
        *,
        pool: Literal["cls", "mean"] = "cls",
        layout: Literal["btchw", "bcthw"] = "btchw",
    ) -> None:
        super().__init__()
        if layout not in ("btchw", "bcthw"):
            raise ValueError(f"layout={layout!r}: choose 'btchw' or 'bcthw'")
        self.layout = layout
        self.clip_shape = (num_frames, in_chans, img_size, img_size)
        self.patch_embedding = PatchEmbedding(img_size, patch_size, in_chans, embed_dim)
        self.transformer = TokenTransformer(
            num_frames,
            num_classes,
            TransformerConfig(embed_dim, depth, num_heads, mlp_ratio, drop_rate, attn_drop, drop_path_rate, pool),
        )
        self.ast_pruner = self.make_pruner(ast_cfg, audio_tokens=0) if use_ast_prune else None

    def make_pruner(self, ast_cfg: AstSettings, audio_tokens: int) -> ASTPruner:
        """A pruner for this net's patches, and for sound tokens that join them."""
        first = self.transformer.typed_blocks()[0]
        return build_pruner(
            ast_cfg,
            side=self.clip_shape[-1] // self.patch_embedding.patch_size,
            audio_tokens=audio_tokens,
            num_frames=self.transformer.num_frames,
            embed_dim=self.transformer.cls_token.numel(),
            num_heads=first.num_heads,
            depth=len(self.transformer.blocks),
            mlp_hidden=first.hidden_dim,
        )

    def set_training_progress(self, progress: float) -> None:
        """Say which share of training is done; the pruner's schedules follow it."""
        if self.ast_pruner is not None:
            self.ast_pruner.progress = progress

    def embed(self, x: Float[Tensor, "B _ _ H W"]) -> Float[Tensor, "B T N D"]:
        """Patch tokens with their spatial embedding.

        Raises:
            ValueError: `x` has other sizes than the model was built for.
        """
        if self.layout == "bcthw" and x.ndim == 5:
            x = x.transpose(1, 2)
        if x.ndim != 5 or tuple(x.shape[1:]) != self.clip_shape:
            expected = ", ".join(f"{name}={size}" for name, size in zip("TCHW", self.clip_shape, strict=True))
            raise ValueError(
                f"VideoViT expects clips [B, T, C, H, W] with {expected}; got {list(x.shape)}"
                + (" after moving channels behind frames" if self.layout == "bcthw" else "")
                + ". Sample data.num_frames frames of data.image_size pixels, or give layout= for another order of axes"
            )
        return self.patch_embedding(x)

    def forward(self, x: Float[Tensor, "B _ _ H W"], return_intermediate: bool = False) -> Tensor | tuple[Tensor, Info]:
        """Classify clips.

        Args:
            x: [B, T, C, H, W], or [B, C, T, H, W] with `layout="bcthw"`.
            return_intermediate: also return the dictionary.

        Returns:
            logits [B, K], or (logits, info) where info holds `token_feat` [B, T, N_v, D] (final tokens),
            `cls_feat` [B, D] (what the classifier reads) and `branch_logits`, a list of (logits [B, K],
            weight [B]) that a training loss takes one cross-entropy of each. With a pruner also what
            `pruning_info` describes; `token_feat` is then zero where a token was gathered away.

        Raises:
            ValueError: `x` has other sizes than the model was built for.
        """
        output = self.transformer(self.embed(x), pruner=self.ast_pruner)
        if not return_intermediate:
            return output.logits
        weight = torch.ones(output.logits.shape[0], device=output.logits.device)
        slices = {"video": (0, self.patch_embedding.num_patches)}
        return output.logits, model_info(output, [(output.logits, weight)], self.ast_pruner, slices)

    def branches(self) -> list[nn.Module]:
        """The nets that are trained apart from each other: this one."""
        return [self]

    def net_shapes(self) -> list[NetShape]:
        """The sizes of each net that runs on a clip, for cost estimates."""
        embedding = self.patch_embedding.shape()
        return [self.transformer.shape(embedding, pruner=self.ast_pruner, gated=self.patch_embedding.num_patches)]


def model_info(
    output: TransformerOutput, branches: list[tuple[Tensor, Tensor]], pruner: ASTPruner | None, slices: Slices
) -> Info:
    """What a model tells beside its logits: features, branches, and what its pruner did (spec §5.1-5.2)."""
    info: Info = {"token_feat": output.token_feat, "cls_feat": output.cls_feat, "branch_logits": branches}
    return info if pruner is None else info | pruning_info(output.gatings, output.gates, pruner, slices)
