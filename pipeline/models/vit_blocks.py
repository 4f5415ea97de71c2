"""The parts of a pre-LN vision transformer (Dosovitskiy et al. 2021): attention, MLP, block, patch embedding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values."""

    def __init__(self, embed_dim: int, num_heads: int, attn_drop: float = 0.0, drop_rate: float = 0.0) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim={embed_dim} is not a multiple of num_heads={num_heads}")
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.projection = nn.Linear(embed_dim, embed_dim)
        self.dropout = nn.Dropout(drop_rate)

    def forward(
        self, x: Float[Tensor, "B S D"], key_bias: Float[Tensor, "B 1 1 S"] | None = None
    ) -> Float[Tensor, "B S D"]:
        """Attend over all S tokens; `key_bias` is added to every query's scores, -inf hides a key."""
        # Views only: the kernel reads the fused projection in place and returns B S H d in memory.
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        dropout = self.attn_drop if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=key_bias, dropout_p=dropout)
        return self.dropout(self.projection(mixed.transpose(1, 2).flatten(2)))


class MLP(nn.Module):
    """Two linear maps with a GELU between; the hidden width is `mlp_ratio` times the token width."""

    def __init__(self, embed_dim: int, mlp_ratio: float, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.hidden_dim = max(1, round(embed_dim * mlp_ratio))
        self.expand = nn.Linear(embed_dim, self.hidden_dim)
        self.contract = nn.Linear(self.hidden_dim, embed_dim)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """Apply the map to every token."""
        return self.dropout(self.contract(functional.gelu(self.expand(x))))


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
    """A pre-LN transformer block: attention and MLP, each added to the residual stream."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        drop_rate: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = Attention(embed_dim, num_heads, attn_drop, drop_rate)
        self.mlp_norm = nn.LayerNorm(embed_dim)
        self.mlp = MLP(embed_dim, mlp_ratio, drop_rate)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "B S D"], key_bias: Float[Tensor, "B 1 1 S"] | None = None
    ) -> Float[Tensor, "B S D"]:
        """Update all tokens; `key_bias` as in `Attention`."""
        x = x + self.drop_path(self.attention(self.attention_norm(x), key_bias))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


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
