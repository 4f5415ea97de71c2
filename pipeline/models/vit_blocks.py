"""The parts of a pre-LN vision transformer (Dosovitskiy et al. 2021): attention, MLP, block, patch embedding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .gates import BlockGates


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values.

    `head_dim` is `embed_dim / num_heads` unless given, as it is where heads were cut out.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        attn_drop: float = 0.0,
        drop_rate: float = 0.0,
        *,
        head_dim: int | None = None,
    ) -> None:
        super().__init__()
        if head_dim is None and embed_dim % num_heads:
            raise ValueError(f"embed_dim={embed_dim} is not a multiple of num_heads={num_heads}")
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads if head_dim is None else head_dim
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(embed_dim, 3 * num_heads * self.head_dim)
        self.projection = nn.Linear(num_heads * self.head_dim, embed_dim)
        self.dropout = nn.Dropout(drop_rate)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        key_bias: Float[Tensor, "B 1 1 S"] | None = None,
        gates: BlockGates | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Attend over all S tokens; `key_bias` is added to every query's scores, -inf hides a key."""
        # Views only: the kernel reads the fused projection in place and returns B S H d in memory.
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        dropout = self.attn_drop if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=key_bias, dropout_p=dropout)
        mixed = mixed.transpose(1, 2).flatten(2)
        if gates is None:
            return self.dropout(self.projection(mixed))
        return self.dropout(
            _gated(self.projection, mixed, gates.head.repeat_interleave(self.head_dim), gates.attention)
        )


class MLP(nn.Module):
    """Two linear maps with a GELU between; the hidden width is `mlp_ratio` times the token width unless given."""

    def __init__(
        self, embed_dim: int, mlp_ratio: float, drop_rate: float = 0.0, *, hidden_dim: int | None = None
    ) -> None:
        super().__init__()
        self.hidden_dim = max(1, round(embed_dim * mlp_ratio)) if hidden_dim is None else hidden_dim
        self.expand = nn.Linear(embed_dim, self.hidden_dim)
        self.contract = nn.Linear(self.hidden_dim, embed_dim)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: Float[Tensor, "B S D"], gates: BlockGates | None = None) -> Float[Tensor, "B S D"]:
        """Apply the map to every token."""
        hidden = functional.gelu(self.expand(x))
        if gates is None:
            return self.dropout(self.contract(hidden))
        return self.dropout(_gated(self.contract, hidden, gates.channel, gates.mlp))


def _gated(
    linear: nn.Linear, x: Float[Tensor, "B S I"], inputs: Float[Tensor, " I"], branch: Float[Tensor, ""]
) -> Float[Tensor, "B S D"]:
    """A linear map of gated inputs, as a whole scaled by the branch's gate."""
    return functional.linear(x, linear.weight * (inputs * branch), linear.bias * branch)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drop a sample's residual branch, rescale the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Identity in evaluation; in training each sample is zeroed with probability `rate`."""
        if not self.training or self.rate == 0.0:
            return x
        if self.rate == 1.0:
            return torch.zeros_like(x)
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * (kept / (1.0 - self.rate)).to(x.dtype)


class Block(nn.Module):
    """A pre-LN transformer block: attention and MLP, each added to the residual stream; either may be cut out.

    Args:
        embed_dim: token width.
        num_heads: attention heads; 0 leaves attention out.
        mlp_ratio: hidden width of the MLP over `embed_dim`.
        drop_rate: dropout after the attention projection and the MLP.
        attn_drop: dropout on attention weights.
        drop_path: stochastic depth of both branches.
        head_dim: width of a head; None means `embed_dim / num_heads`.
        hidden_dim: hidden width of the MLP, instead of `mlp_ratio`; 0 leaves the MLP out.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        drop_rate: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        *,
        head_dim: int | None = None,
        hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.attention: Attention | None = None
        self.mlp: MLP | None = None
        if num_heads:
            self.attention_norm = nn.LayerNorm(embed_dim)
            self.attention = Attention(embed_dim, num_heads, attn_drop, drop_rate, head_dim=head_dim)
        if hidden_dim != 0:
            self.mlp_norm = nn.LayerNorm(embed_dim)
            self.mlp = MLP(embed_dim, mlp_ratio, drop_rate, hidden_dim=hidden_dim)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        key_bias: Float[Tensor, "B 1 1 S"] | None = None,
        gates: BlockGates | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Update all tokens; `key_bias` as in `Attention`."""
        if self.attention is not None:
            x = x + self.drop_path(self.attention(self.attention_norm(x), key_bias, gates))
        if self.mlp is not None:
            x = x + self.drop_path(self.mlp(self.mlp_norm(x), gates))
        return x

    @property
    def num_heads(self) -> int:
        """Attention heads; 0 without attention."""
        return 0 if self.attention is None else self.attention.num_heads

    @property
    def hidden_dim(self) -> int:
        """Hidden width of the MLP; 0 without one."""
        return 0 if self.mlp is None else self.mlp.hidden_dim


class EmbeddingShape(NamedTuple):
    """What turns input into tokens: tokens per frame, input values per token, number of weights."""

    tokens_per_frame: int
    in_features: int
    parameters: int


class PatchEmbedding(nn.Module):
    """Every frame's square patches as tokens, with a learned embedding of their place in the frame."""

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        if img_size % patch_size:
            raise ValueError(f"img_size={img_size} is not a multiple of patch_size={patch_size}")
        self.patch_size = patch_size
        self.num_patches = (img_size // patch_size) ** 2
        self.projection = nn.Linear(in_chans * patch_size**2, embed_dim)
        self.spatial_embedding = nn.Parameter(torch.empty(self.num_patches, embed_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding anew (the projection has its own reset)."""
        nn.init.normal_(self.spatial_embedding, std=0.02)

    def forward(self, x: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B T N D"]:
        """Project patches, in row-major order of the grid."""
        p = self.patch_size
        patches = x.unflatten(4, (-1, p)).unflatten(3, (-1, p))  # B T C h p w p
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
        return self.projection(patches) + self.spatial_embedding

    def shape(self) -> EmbeddingShape:
        """The sizes that decide what the embedding costs."""
        return EmbeddingShape(self.num_patches, self.projection.in_features, parameter_count(self))


class AudioEmbedding(nn.Module):
    """One token per frame from its standardised mel bands, with a learned embedding of the modality."""

    def __init__(self, audio_feat_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(audio_feat_dim)
        # No bias: the modality embedding is one.
        self.projection = nn.Linear(audio_feat_dim, embed_dim, bias=False)
        self.modality_embedding = nn.Parameter(torch.empty(embed_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding anew (the other parts have their own reset)."""
        nn.init.normal_(self.modality_embedding, std=0.02)

    def forward(self, x: Float[Tensor, "B T F"]) -> Float[Tensor, "B T 1 D"]:
        """Normalise and project."""
        return (self.projection(self.norm(x)) + self.modality_embedding).unsqueeze(2)

    def shape(self) -> EmbeddingShape:
        """The sizes that decide what the embedding costs."""
        return EmbeddingShape(1, self.projection.in_features, parameter_count(self))


def parameter_count(module: nn.Module) -> int:
    """Number of trainable weights."""
    return sum(parameter.numel() for parameter in module.parameters())
