"""The sound's own net: a transformer over one token per frame."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from .token_transformer import NetShape, TokenTransformer, TransformerConfig, TransformerOutput
from .vit_blocks import AudioEmbedding


class AudioTransformer(nn.Module):
    """Sound alone: the video's transformer on one token per frame."""

    def __init__(self, num_frames: int, num_classes: int, audio_feat_dim: int, config: TransformerConfig) -> None:
        super().__init__()
        self.audio_embedding = AudioEmbedding(audio_feat_dim, config.embed_dim)
        self.transformer = TokenTransformer(num_frames, num_classes, config)

    def forward(self, x: Float[Tensor, "B T F"]) -> TransformerOutput:
        """Classify standardised features."""
        return self.transformer(self.audio_embedding(x))

    def net_shapes(self) -> list[NetShape]:
        """The sizes of this net, for cost estimates."""
        return [self.transformer.shape(self.audio_embedding.shape())]
