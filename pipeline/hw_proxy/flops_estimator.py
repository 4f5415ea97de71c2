"""FLOPs and bytes of every layer of a model, in closed form (DESIGN: one estimator for all costs).

Formulas are functions of sizes that take numbers or tensors, so that expected sizes of a pruned model
(kept tokens, heads, hidden units) give differentiable costs. FLOPs are 2 x multiply-accumulates of matrix
products, as `torch.utils.flop_counter.FlopCounterMode` counts them.

Memory traffic counts each tensor a kernel reads or writes once: LayerNorm, linear maps, fused attention
(scores never reach memory), GELU, and the residual sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

Number = int | float | Tensor
Kind = Literal["embed", "attention", "mlp", "head"]


@runtime_checkable
class EmbeddingShape(Protocol):
    """Tokens per frame, input values per token, and number of weights of an embedding."""

    @property
    def tokens_per_frame(self) -> int: ...
    @property
    def in_features(self) -> int: ...
    @property
    def parameters(self) -> int: ...


@runtime_checkable
class NetShape(Protocol):
    """The sizes of one net; heads, hidden units and tokens (CLS included) per block, 0 heads or units: no branch."""

    @property
    def num_frames(self) -> int: ...
    @property
    def embeddings(self) -> Sequence[EmbeddingShape]: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def heads(self) -> Sequence[int]: ...
    @property
    def mlp_hidden(self) -> Sequence[int]: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def tokens(self) -> Sequence[int]: ...
    @property
    def gated_per_frame(self) -> int: ...
    @property
    def prune_layers(self) -> Sequence[int]: ...


@runtime_checkable
class EstimableModel(Protocol):
    """A model that tells the sizes of the nets it runs on a clip."""

    def net_shapes(self) -> Sequence[NetShape]: ...


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one batch.

    Attributes:
        index: position in the model, 0-based.
        kind: `embed`, `attention`, `mlp` or `head`.
        flops: floating-point operations, 2 per multiply-accumulate.
        bytes_weights: bytes of the layer's weights.
        bytes_activations: bytes of activations read and written.
        seq_len: tokens per sample, CLS included.
        embed_dim: token width.
        num_heads: attention heads of the block (of the first block for `embed` and `head`).
        mlp_ratio: hidden width of the block's MLP over `embed_dim` (of the first block for `embed` and `head`).
    """

    index: int
    kind: Kind
    flops: Number
    bytes_weights: Number
    bytes_activations: Number
    seq_len: Number
    embed_dim: int
    num_heads: Number
    mlp_ratio: Number


def linear_flops(rows: Number, in_features: Number, out_features: Number) -> Number:
    """FLOPs of a linear map over `rows` vectors."""
    return 2 * rows * in_features * out_features


def attention_flops(tokens: Number, embed_dim: Number, kept_heads: Number, head_dim: Number) -> Number:
    """FLOPs of self-attention of one sample: projections to q, k, v and back, scores, weighted sum."""
    inner = kept_heads * head_dim
    return 4 * linear_flops(tokens, embed_dim, inner) + 2 * linear_flops(tokens, inner, tokens)


def mlp_flops(tokens: Number, embed_dim: Number, kept_hidden: Number) -> Number:
    """FLOPs of a two-layer MLP over one sample's tokens."""
    return 2 * linear_flops(tokens, embed_dim, kept_hidden)


def attention_weights(embed_dim: Number, kept_heads: Number, head_dim: Number) -> Number:
    """Number of weights: LayerNorm, fused projection and output projection with biases."""
    inner = kept_heads * head_dim
    return 2 * embed_dim + 3 * inner * (embed_dim + 1) + embed_dim * (inner + 1)


def mlp_weights(embed_dim: Number, kept_hidden: Number) -> Number:
    """Number of weights: LayerNorm and two linear maps with biases."""
    return 2 * embed_dim + kept_hidden * (embed_dim + 1) + embed_dim * (kept_hidden + 1)


def attention_traffic(tokens: Number, embed_dim: Number, kept_heads: Number, head_dim: Number) -> Number:
    """Values one sample moves: norm 2X, q k v X + 3I, attention 4I, projection I + X, sum 3X (X, I: tokens x width)."""
    return tokens * (7 * embed_dim + 8 * kept_heads * head_dim)


def mlp_traffic(tokens: Number, embed_dim: Number, kept_hidden: Number) -> Number:
    """Values one sample moves: norm 2X, expand X + H, GELU 2H, contract H + X, sum 3X (X, H: tokens x width)."""
    return tokens * (7 * embed_dim + 4 * kept_hidden)


def embed_traffic(inputs: Number, tokens: Number, embed_dim: Number) -> Number:
    """Values one sample moves: read the input, write tokens, read and write them for the place embeddings."""
    return inputs + 3 * tokens * embed_dim


def head_traffic(tokens: Number, embed_dim: Number, num_classes: Number) -> Number:
    """Values one sample moves: norm over all tokens, read the pooled feature, write logits."""
    return 2 * tokens * embed_dim + embed_dim + num_classes


@dataclass(frozen=True)
class BlockSizes:
    """What one block computes: tokens, heads, hidden units, and how much of each branch there is (1 or a live gate)."""

    tokens: Number
    heads: Number
    hidden: Number
    attention: Number
    mlp: Number


def flops_bytes_per_layer(
    model: EstimableModel,
    batch_size: int = 1,
    precision_bytes: int = 4,
    *,
    gates: Mapping[str, Tensor] | None = None,
) -> list[LayerCost]:
    """The cost of every layer of a model, in the order in which they run.

    Attention and MLP are layers of their own, beside one embedding and one head per net. With late fusion the
    video's layers come first. Scoring tokens is not counted (the benchmark of pruning measures it).

    Args:
        model: a `VideoViT` or `VideoAudioAST`.
        batch_size: samples per forward pass.
        precision_bytes: bytes per weight and activation.
        gates: None gives what runs in evaluation: gathered tokens, all heads and hidden units that are in the weights.
            The live ratios of a pruned model (`info["gates"]`) give what would run with closed gates cut out, as
            tensors that are differentiable in the ratios; they belong to the video's net.
    """
    layers: list[LayerCost] = []
    for net in model.net_shapes():
        live = gates if not layers else None
        layers += _net_costs(net, live, batch_size, precision_bytes, first_index=len(layers))
    return layers


def block_sizes(net: NetShape, gates: Mapping[str, Tensor] | None) -> list[BlockSizes]:
    """The sizes of every block: as they stand, or as live gates make them."""
    sizes = []
    for index, (tokens, heads, hidden) in enumerate(zip(net.tokens, net.heads, net.mlp_hidden, strict=True)):
        size = BlockSizes(tokens, heads, hidden, int(heads > 0), int(hidden > 0))
        if gates is not None:
            size = _gated_sizes(net, index, size, gates)
        sizes.append(size)
    return sizes


def _gated_sizes(net: NetShape, index: int, size: BlockSizes, gates: Mapping[str, Tensor]) -> BlockSizes:
    tokens: Number = size.tokens
    place = sum(layer <= index for layer in net.prune_layers) - 1
    if place >= 0:
        per_frame = sum(embedding.tokens_per_frame for embedding in net.embeddings)
        always = 1 + net.num_frames * (per_frame - net.gated_per_frame)
        tokens = always + gates["keep_ratio"][place] * (net.num_frames * net.gated_per_frame)
    if "head" not in gates:
        return BlockSizes(tokens, size.heads, size.hidden, size.attention, size.mlp)
    head, channel, block = gates["head"][index], gates["channel"][index], gates["block"][index]
    return BlockSizes(
        tokens,
        head.sum(),
        channel.sum(),
        block[0] * (head.detach() > 0).any(),
        block[1] * (channel.detach() > 0).any(),
    )


def _net_costs(
    net: NetShape, gates: Mapping[str, Tensor] | None, batch_size: int, precision_bytes: int, first_index: int
) -> list[LayerCost]:
    width, head_dim = net.embed_dim, net.head_dim
    per_frame = sum(embedding.tokens_per_frame for embedding in net.embeddings)
    all_tokens = net.num_frames * per_frame + 1
    blocks = block_sizes(net, gates)
    # kind, FLOPs, weights, values moved per sample, tokens, heads, hidden units
    rows: list[tuple[Kind, Number, Number, Number, Number, Number, Number]] = []
    first = (blocks[0].heads, blocks[0].hidden)
    rows.append(("embed", *_embed_cost(net, all_tokens), all_tokens, *first))
    for block in blocks:
        rows.append(("attention", *_attention_cost(block, width, head_dim), block.tokens, block.heads, block.hidden))
        rows.append(("mlp", *_mlp_cost(block, width), block.tokens, block.heads, block.hidden))
    final = blocks[-1].tokens
    head_weights = 2 * width + net.num_classes * (width + 1)
    head_flops = linear_flops(1, width, net.num_classes)
    rows.append(("head", head_flops, head_weights, head_traffic(final, width, net.num_classes), final, *first))
    return [
        LayerCost(
            index=first_index + position,
            kind=kind,
            flops=batch_size * flops,
            bytes_weights=precision_bytes * weights,
            bytes_activations=batch_size * precision_bytes * moved,
            seq_len=tokens,
            embed_dim=width,
            num_heads=heads,
            mlp_ratio=hidden / width,
        )
        for position, (kind, flops, weights, moved, tokens, heads, hidden) in enumerate(rows)
    ]


def _attention_cost(block: BlockSizes, width: int, head_dim: int) -> tuple[Number, Number, Number]:
    sizes = (block.tokens, width, block.heads, head_dim)
    weights = attention_weights(width, block.heads, head_dim)
    return (
        block.attention * attention_flops(*sizes),
        block.attention * weights,
        block.attention * attention_traffic(*sizes),
    )


def _mlp_cost(block: BlockSizes, width: int) -> tuple[Number, Number, Number]:
    sizes = (block.tokens, width, block.hidden)
    return (
        block.mlp * mlp_flops(*sizes),
        block.mlp * mlp_weights(width, block.hidden),
        block.mlp * mlp_traffic(*sizes),
    )


def _embed_cost(net: NetShape, tokens: int) -> tuple[Number, Number, Number]:
    inputs = sum(net.num_frames * part.tokens_per_frame * part.in_features for part in net.embeddings)
    # CLS and one vector per frame belong to the transformer, whatever its tokens come from.
    weights = sum(part.parameters for part in net.embeddings) + (1 + net.num_frames) * net.embed_dim
    return linear_flops(1, inputs, net.embed_dim), weights, embed_traffic(inputs, tokens, net.embed_dim)


def total_macs(model: EstimableModel) -> int:
    """Multiply-accumulates of one clip's forward pass in evaluation."""
    return sum(int(layer.flops) for layer in flops_bytes_per_layer(model)) // 2
