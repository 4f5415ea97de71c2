"""The transformer that all nets share: T frames of N tokens plus CLS in, class logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .vit_blocks import Block, EmbeddingShape


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and regularisation of a transformer; the names are those of `VideoViT`."""

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float
    drop_rate: float = 0.0
    attn_drop: float = 0.0
    drop_path_rate: float = 0.0
    pool: Literal["cls", "mean"] = "cls"


@dataclass(frozen=True)
class NetShape:
    """The sizes that decide what a net costs; heads and hidden units are given per block."""

    num_frames: int
    embeddings: tuple[EmbeddingShape, ...]
    embed_dim: int
    head_dim: int
    heads: tuple[int, ...]
    mlp_hidden: tuple[int, ...]
    num_classes: int


class TransformerOutput(NamedTuple):
    """Logits, the final tokens by frame and place, and the feature that the classifier reads."""

    logits: Float[Tensor, "B K"]
    token_feat: Float[Tensor, "B T N D"]
    cls_feat: Float[Tensor, "B D"]


class TokenTransformer(nn.Module):
    """Frame embedding, CLS, pre-LN blocks over all T·N + 1 tokens, final norm, pooling, linear classifier."""

    def __init__(self, num_frames: int, num_classes: int, config: TransformerConfig) -> None:
        super().__init__()
        if config.pool not in ("cls", "mean"):
            raise ValueError(f"pool={config.pool!r}: choose 'cls' or 'mean'")
        self.num_frames = num_frames
        self.num_classes = num_classes
        self.pool = config.pool
        self.cls_token = nn.Parameter(torch.empty(config.embed_dim))
        self.frame_embedding = nn.Parameter(torch.empty(num_frames, config.embed_dim))
        self.dropout = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(
            Block(
                config.embed_dim,
                config.num_heads,
                config.mlp_ratio,
                config.drop_rate,
                config.attn_drop,
                drop_path=config.drop_path_rate * index / max(1, config.depth - 1),
            )
            for index in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim)
        self.head = nn.Linear(config.embed_dim, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw CLS and the frame embedding anew (the other parts have their own reset)."""
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.frame_embedding, std=0.02)

    def forward(
        self, tokens: Float[Tensor, "B T N D"], key_bias: Float[Tensor, "B T N"] | None = None
    ) -> TransformerOutput:
        """Classify `tokens`.

        Args:
            tokens: embedded input, without frame embedding.
            key_bias: the logarithm of how much each token counts, 0 for all and -inf for not at all: added
                to attention scores, and weighing a mean pool. CLS always counts.
        """
        batch, frames, per_frame, width = tokens.shape
        sequence = (tokens + self.frame_embedding.unsqueeze(1)).flatten(1, 2)
        sequence = self.dropout(torch.cat([self.cls_token.expand(batch, 1, width), sequence], dim=1))
        score_bias = None if key_bias is None else functional.pad(key_bias.flatten(1), (1, 0))[:, None, None, :]
        for block in self.blocks:
            sequence = block(sequence, score_bias)
        sequence = self.norm(sequence)
        features = sequence[:, 0] if self.pool == "cls" else _weighted_mean(sequence[:, 1:], key_bias)
        token_feat = sequence[:, 1:].unflatten(1, (frames, per_frame))
        return TransformerOutput(self.head(features), token_feat, features)

    def shape(self, *embeddings: EmbeddingShape) -> NetShape:
        """The sizes of the net whose tokens come from `embeddings`."""
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        return NetShape(
            num_frames=self.num_frames,
            embeddings=embeddings,
            embed_dim=self.cls_token.numel(),
            head_dim=blocks[0].attention.head_dim,
            heads=tuple(block.attention.num_heads for block in blocks),
            mlp_hidden=tuple(block.mlp.hidden_dim for block in blocks),
            num_classes=self.num_classes,
        )


def _weighted_mean(tokens: Float[Tensor, "B S D"], key_bias: Float[Tensor, "B T N"] | None) -> Float[Tensor, "B D"]:
    if key_bias is None:
        return tokens.mean(dim=1)
    weights = key_bias.flatten(1).softmax(dim=1)
    return torch.einsum("bs,bsd->bd", weights, tokens)
