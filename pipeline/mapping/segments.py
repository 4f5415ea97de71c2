"""Segments: groups of consecutive layers that run on one slot (spec §9.1, 9.2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..config.chips import ChipType
from ..errors import ConfigError
from .chip_slots import ChipSlotConfig

__all__ = [
    "ChipSlotConfig",
    "ChipType",
    "LayerCostRow",
    "Segment",
    "build_segments_from_model",
    "chain",
    "mark_fine_splittable_segments",
]

Number = int | float | Tensor


@runtime_checkable
class LayerCostRow(Protocol):
    """One layer's cost, as `pipeline.hw_proxy.flops_estimator` writes it; sizes for the whole batch."""

    @property
    def index(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def flops(self) -> Number: ...
    @property
    def bytes_weights(self) -> Number: ...
    @property
    def bytes_activations(self) -> Number: ...
    @property
    def seq_len(self) -> Number: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def num_heads(self) -> Number: ...
    @property
    def mlp_ratio(self) -> Number: ...


@dataclass
class Segment:
    """A group of layers (spec §9.1); costs are for one batch and may be tensors that carry gradients.

    Attributes:
        bytes: weights and activations moved.
        precision: bytes per number.
        traffic_in_bytes, traffic_out_bytes: activations at its boundaries.
        attn_flops_ratio: share of the FLOPs in attention layers.
        weight_bytes: weights; they add up on a slot.
        act_bytes: activations of its largest layer; on a slot the largest counts, not the sum.
        edges: (segment id, bytes) of every segment that reads its output, or takes part in its collective.
        parent_id: segment this is a parallel part of, after a fine split.
        kernels: what it launches, for a proxy that prices kernels (a `LayerTable` of one layer); None leaves it to
            the sums above.
    """

    id: int
    layer_indices: list[int]
    flops: Number
    bytes: Number
    seq_len: Number
    embed_dim: int
    num_heads: Number
    mlp_ratio: Number
    precision: int
    traffic_in_bytes: Number
    traffic_out_bytes: Number
    can_split_fine: bool = False
    fine_groups: int | None = None
    attn_flops_ratio: Number = 0.0
    weight_bytes: Number = 0.0
    act_bytes: Number = 0.0
    kind: str = "segment"
    edges: list[tuple[int, Number]] = field(default_factory=list)
    parent_id: int | None = None
    kernels: Any = None

    def features(self) -> dict[str, Any]:
        """The segment as the proxy reads it (spec §7.2)."""
        return {
            "flops": self.flops,
            "bytes": self.bytes,
            "layer_type": self.kind,
            "embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "seq_len": self.seq_len,
            "precision": self.precision,
            **({} if self.kernels is None else {"kernels": self.kernels}),
        }


LayerCosts = Sequence[LayerCostRow] | Callable[..., Sequence[LayerCostRow]]


def build_segments_from_model(
    model: Any, cfg: Mapping[str, Any], *, layer_costs: LayerCosts | None = None
) -> list[Segment]:
    """Group the model's layers into a chain of segments (spec §9.1).

    Args:
        model: handed to `layer_costs` if that is a function; not looked at otherwise.
        cfg: `segment_size` (layers per segment, 2), `batch_size` (1), `precision_bytes` (4).
        layer_costs: the costs of the layers in their order, or the function that tells them, e.g.
            `pipeline.hw_proxy.flops_estimator.flops_bytes_per_layer`. A row that also tells its `bytes_resident` is
            taken to hold that much; otherwise what it moves.

    Raises:
        ConfigError: no costs, or a size below 1.
    """
    size, batch, precision = (int(cfg.get(key, standard)) for key, standard in _DEFAULTS.items())
    for key, value in zip(_DEFAULTS, (size, batch, precision), strict=True):
        if value < 1:
            raise ConfigError(f"{key}={value}: must be at least 1")
    if layer_costs is None:
        raise ConfigError(
            "layer_costs is missing: hand in the layers' costs, e.g. flops_estimator.flops_bytes_per_layer"
        )
    layers = layer_costs(model, batch, precision) if callable(layer_costs) else layer_costs
    if not layers:
        raise ConfigError("the model has no layers: there is nothing to map")
    groups = [layers[start : start + size] for start in range(0, len(layers), size)]
    arriving = _token_bytes([group[0] for group in groups], batch * precision)
    leaving = arriving if size == 1 else _token_bytes([group[-1] for group in groups], batch * precision)
    return chain(
        [
            _segment(position, group, precision, *traffic)
            for position, (group, *traffic) in enumerate(zip(groups, arriving, leaving, strict=True))
        ]
    )


_DEFAULTS = {"segment_size": 2, "batch_size": 1, "precision_bytes": 4}


def chain(segments: list[Segment]) -> list[Segment]:
    """Give each segment one edge, to the next, with its outgoing traffic; the list is returned."""
    for segment, following in itertools.pairwise(segments):
        segment.edges = [(following.id, segment.traffic_out_bytes)]
    segments[-1].edges = []
    return segments


def _token_bytes(layers: Sequence[LayerCostRow], bytes_per_value: int) -> Sequence[Number]:
    """Bytes of the tokens each layer works on; live numbers in one operation, since every training step needs them."""
    tokens = [layer.seq_len for layer in layers]
    factors = [float(bytes_per_value * layer.embed_dim) for layer in layers]
    live = [one for one in tokens if isinstance(one, Tensor)]
    if len(live) < len(tokens):
        return [one * factor for one, factor in zip(tokens, factors, strict=True)]
    together = torch.stack(live)
    return (together * together.new_tensor(factors)).unbind()


def _segment(
    position: int,
    layers: Sequence[LayerCostRow],
    precision: int,
    traffic_in_bytes: Number,
    traffic_out_bytes: Number,
) -> Segment:
    flops = _total([layer.flops for layer in layers])
    weights = _total([layer.bytes_weights for layer in layers])
    moved = _total([layer.bytes_activations for layer in layers])
    first = layers[0]
    kinds = {layer.kind for layer in layers}
    return Segment(
        id=position,
        layer_indices=[layer.index for layer in layers],
        flops=flops,
        bytes=weights + moved,
        seq_len=first.seq_len,
        embed_dim=first.embed_dim,
        num_heads=first.num_heads,
        mlp_ratio=first.mlp_ratio,
        precision=precision,
        traffic_in_bytes=traffic_in_bytes,
        traffic_out_bytes=traffic_out_bytes,
        attn_flops_ratio=_attention_share(layers),
        weight_bytes=weights,
        act_bytes=max(getattr(layer, "bytes_resident", layer.bytes_activations) for layer in layers),
        kind=kinds.pop() if len(kinds) == 1 else "segment",
    )


def _total(values: Sequence[Number]) -> Number:
    """The sum; a sum of one costs nothing, since live costs are counted at every training step."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _attention_share(layers: Sequence[LayerCostRow]) -> float:
    """What is mostly attention may be split; a decision, so the share needs no gradient."""
    kinds = [layer.kind == "attention" for layer in layers]
    if all(kinds) or not any(kinds):
        return float(kinds[0])
    shares = [layer.flops.item() if isinstance(layer.flops, Tensor) else layer.flops for layer in layers]
    total = sum(shares)
    return sum(share for share, counts in zip(shares, kinds, strict=True) if counts) / total if total > 0 else 0.0


def mark_fine_splittable_segments(segments: list[Segment], cfg: Mapping[str, Any]) -> None:
    """Mark, in place, segments that are mostly attention and send much (spec §9.2).

    `cfg`: `fine_split_attn_ratio_threshold` (0.3), `fine_split_traffic_threshold` (0 bytes), `fine_groups` (2).
    """
    for segment in segments:
        much = segment.attn_flops_ratio > cfg.get("fine_split_attn_ratio_threshold", 0.3)
        if much and segment.traffic_out_bytes > cfg.get("fine_split_traffic_threshold", 0.0):
            segment.can_split_fine = True
            segment.fine_groups = int(cfg.get("fine_groups", 2))
