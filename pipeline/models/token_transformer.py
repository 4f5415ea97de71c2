"""The transformer that all nets share: T frames of N tokens plus CLS in, class logits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .ast2_pruner import ASTPruner
from .gates import GateValues
from .rival_reduction import reduce_by_attention
from .token_gating import Slices, TokenGating
from .token_sequence import TokenSequence, drop_tokens
from .vit_blocks import Attended, Block, EmbeddingShape


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
    """The sizes that decide what a net costs.

    Attributes:
        heads, mlp_hidden: per block; 0 where the branch was cut out.
        tokens: that attention and MLP of each block see in evaluation, CLS included.
        gated_per_frame: tokens per frame that compete at the prune layers.
        prune_layers: blocks before which tokens are dropped.
    """

    num_frames: int
    embeddings: tuple[EmbeddingShape, ...]
    embed_dim: int
    head_dim: int
    heads: tuple[int, ...]
    mlp_hidden: tuple[int, ...]
    num_classes: int
    tokens: tuple[int, ...]
    gated_per_frame: int = 0
    prune_layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class TransformerOutput:
    """Logits, the feature that the classifier reads, the final tokens, and what the pruner did."""

    logits: Float[Tensor, "B K"]
    cls_feat: Float[Tensor, "B D"]
    sequence: TokenSequence
    gatings: tuple[TokenGating, ...] = ()
    gates: GateValues | None = None

    @property
    def token_feat(self) -> Float[Tensor, "B T N D"]:
        """The final tokens by frame and place; zero where a token was gathered away."""
        return self.sequence.on_grid()


class TokenTransformer(nn.Module):
    """Frame embedding, CLS, pre-LN blocks over all T·N + 1 tokens, final norm, pooling, linear classifier."""

    def __init__(self, num_frames: int, num_classes: int, config: TransformerConfig) -> None:
        super().__init__()
        if config.pool not in ("cls", "mean"):
            raise ValueError(f"pool={config.pool!r}: choose 'cls' or 'mean'")
        self.num_frames = num_frames
        self.num_classes = num_classes
        self.head_dim = config.embed_dim // config.num_heads
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
        self,
        tokens: Float[Tensor, "B T N D"],
        key_bias: Float[Tensor, "B T N"] | None = None,
        pruner: ASTPruner | None = None,
        modality_slices: Slices | None = None,
    ) -> TransformerOutput:
        """Classify `tokens`.

        Args:
            tokens: embedded input, without frame embedding.
            key_bias: the logarithm of how much each token counts, 0 for all and -inf for not at all: added
                to attention scores, and weighing a mean pool. CLS always counts.
            pruner: drops tokens at its prune layers and gates every block.
            modality_slices: {modality: (start, stop)} over N, which the pruner reads.
        """
        batch, frames, per_frame, width = tokens.shape
        flat = (tokens + self.frame_embedding.unsqueeze(1)).flatten(1, 2)
        flat = self.dropout(torch.cat([self.cls_token.expand(batch, 1, width), flat], dim=1))
        sequence = TokenSequence(flat, None if key_bias is None else key_bias.flatten(1), None, frames, per_frame)
        slices = {"video": (0, per_frame)} if modality_slices is None else modality_slices
        gates = None if pruner is None else pruner.gates()
        applied = [None] * len(self.blocks) if gates is None or gates.idle() else gates.of_blocks()
        gatings: list[TokenGating] = []
        attended: Attended | None = None
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            bias = sequence.key_bias
            place = None if pruner is None else pruner.prune_place(index)
            if pruner is not None and place is not None:
                if attended is not None and pruner.cfg.reads_attention():
                    sequence, gating = reduce_by_attention(sequence, pruner, place, attended)
                    bias = sequence.key_bias
                else:
                    sequence, gating, bias = drop_tokens(sequence, pruner, place, slices)
                gatings.append(gating)
            score_bias = None if bias is None else functional.pad(bias, (1, 0))[:, None, None, :]
            updated, attended = block.attend(sequence.tokens, score_bias, applied[index])
            sequence = sequence.updated(updated)
        sequence = sequence.updated(self.norm(sequence.tokens))
        final = sequence.tokens
        features = final[:, 0] if self.pool == "cls" else _weighted_mean(final[:, 1:], sequence.key_bias)
        return TransformerOutput(self.head(features), features, sequence, tuple(gatings), gates)

    def typed_blocks(self) -> list[Block]:
        """The blocks, as what they are."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def shape(self, *embeddings: EmbeddingShape, pruner: ASTPruner | None = None, gated: int = 0) -> NetShape:
        """The sizes of the net whose tokens come from `embeddings`, of which `gated` per frame compete to stay."""
        blocks = self.typed_blocks()
        per_frame = sum(embedding.tokens_per_frame for embedding in embeddings)
        # The literal mask keeps every token in the computation.
        drops = () if pruner is None or pruner.cfg.mask_site == "value" else tuple(pruner.cfg.prune_layers)
        tokens, current = [], self.num_frames * per_frame + 1
        for index in range(len(blocks)):
            if pruner is not None and index in drops:
                kept = pruner.kept_counts(self.num_frames * gated)[drops.index(index)]
                current = 1 + kept + self.num_frames * (per_frame - gated)
            tokens.append(current)
        return NetShape(
            num_frames=self.num_frames,
            embeddings=embeddings,
            embed_dim=self.cls_token.numel(),
            head_dim=self.head_dim,
            heads=tuple(block.num_heads for block in blocks),
            mlp_hidden=tuple(block.hidden_dim for block in blocks),
            num_classes=self.num_classes,
            tokens=tuple(tokens),
            gated_per_frame=gated if drops else 0,
            prune_layers=drops,
        )


def _weighted_mean(tokens: Float[Tensor, "B S D"], key_bias: Float[Tensor, "B S"] | None) -> Float[Tensor, "B D"]:
    if key_bias is None:
        return tokens.mean(dim=1)
    return torch.einsum("bs,bsd->bd", key_bias.softmax(dim=1), tokens)
