"""From segments, chips and a proxy to a mapping instance: the cost matrix, memory rule and links (spec §10.1)."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import ConfigError, DataError
from .instance import MappingInstance, check_instance
from .segments import Segment


@runtime_checkable
class Described(Protocol):
    """What a price needs of a segment."""

    @property
    def id(self) -> int: ...
    def features(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class MappingConfig:
    """What `MappingSolver.solve_mapping` is told in `cfg`; every key has a default.

    Attributes:
        objective: `balanced` (pipeline period) or `serial` (one batch).
        iterations: annealing moves, the limit inside training; seconds: the limit if iterations is None.
        num_samples: batches in the pipeline for `pipeline_ms` (fill included).
        hop_ms, link_gb_s, pj_per_bit: latency, bandwidth and energy of one link hop.
        link_reach_mm: distance one hop covers, if positions are given.
        hops: hop counts between slots, instead of those from positions or the square grid.
        grid_columns: columns of the slot grid; default the square root, rounded up.
        usable_memory_share: share of a chip's memory that may be filled.
        open_slots: which slots may be used; default all.
        warm_start: a mapping to improve on.
        fine_split: try to split segments (docs/mapping.md); fine_split_margin_ms: how much it must gain.
        permutation: `affinity` inside MLP units and heads, or the spec's `random` at the segment's exit.
        affinity: per segment id the channel affinity matrix (`fine_split.mlp_affinity`) that orders its channels.
    """

    objective: str = "balanced"
    iterations: int | None = 20_000
    seconds: float | None = None
    seed: int = 0
    num_samples: int = 1
    hop_ms: float = 0.0005
    link_gb_s: float = 256.0
    pj_per_bit: float = 1.0
    link_reach_mm: float = 32.0
    hops: Any = None
    grid_columns: int | None = None
    usable_memory_share: float = 0.9
    open_slots: Sequence[bool] | None = None
    warm_start: Sequence[int] | None = None
    fine_split: bool = False
    fine_split_attn_ratio_threshold: float = 0.3
    fine_split_traffic_threshold: float = 0.0
    fine_split_margin_ms: float = 0.0
    fine_groups: int = 2
    permutation: str = "affinity"
    affinity: Mapping[int, Any] | None = None

    @property
    def ms_per_mb(self) -> float:
        """Transfer time over one hop: 1 GB/s moves 1 MB in 1 ms."""
        return 1.0 / self.link_gb_s


def mapping_config(cfg: Mapping[str, Any] | None) -> MappingConfig:
    """Check the keys and values of `cfg`.

    Raises:
        ConfigError: an unknown key (the nearest known one is named) or a value out of range.
    """
    known = [field.name for field in dataclasses.fields(MappingConfig)]
    for key in cfg or {}:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise ConfigError(f"mapping cfg has no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    values = dict(cfg or {})
    for field in dataclasses.fields(MappingConfig):
        if isinstance(field.default, float) and isinstance(values.get(field.name), int):
            values[field.name] = float(values[field.name])
    config = MappingConfig(**values)
    for key in ("link_gb_s", "link_reach_mm"):
        if not getattr(config, key) > 0.0:
            raise ConfigError(f"mapping cfg {key}={getattr(config, key)}: must be positive")
    if config.permutation not in ("affinity", "random"):
        raise ConfigError(f"mapping cfg permutation={config.permutation!r}: choose affinity or random")
    if config.fine_groups < 2:
        raise ConfigError(f"mapping cfg fine_groups={config.fine_groups}: must be at least 2")
    return config


def slot_devices(eff_specs: Mapping[str, Any], num_slots: int) -> list[dict[str, Any]]:
    """The specification of each slot, from per-specification vectors of length `num_slots`.

    Raises:
        DataError: a vector has another length.
    """
    for name, values in eff_specs.items():
        if len(values) != num_slots:
            raise DataError(f"eff_specs[{name!r}] has {len(values)} entries for {num_slots} slots")
    return [{name: values[j] for name, values in eff_specs.items()} for j in range(num_slots)]


def cost_matrix(segments: Sequence[Described], devices: Any, proxy: Any) -> dict[str, Tensor]:
    """Latency, memory and power of every segment on every device, [K, S], gradients kept.

    One batched call `proxy.predict_segments(features of K segments, S devices)` if the proxy has it, else K x S calls
    of `predict_segment`; both return `lat_ms`, `mem_mb` and `power_w`.

    Args:
        devices: one mapping of specifications each, or anything with a length that the proxy's batched call takes.

    Raises:
        DataError: a prediction is missing, has another shape, or is NaN.
    """
    shape = (len(segments), len(devices))
    features = [segment.features() for segment in segments]
    names = ("lat_ms", "mem_mb", "power_w")
    if hasattr(proxy, "predict_segments"):
        predicted = proxy.predict_segments(features, devices)
    else:
        rows = [[proxy.predict_segment({**row, "device": device}) for device in devices] for row in features]
        predicted = {
            name: torch.stack([torch.stack([torch.as_tensor(one[name]) for one in row]) for row in rows])
            for name in names
        }
    result = {}
    for name in names:
        if name not in predicted:
            raise DataError(f"the proxy predicts no {name}; it returned {', '.join(map(str, predicted))}")
        values = torch.as_tensor(predicted[name])
        if tuple(values.shape) != shape:
            raise DataError(f"the proxy's {name} has shape {tuple(values.shape)}; {shape} was asked for")
        if torch.isnan(values).any():
            k, j = (int(index) for index in torch.isnan(values).nonzero()[0])
            raise DataError(f"the proxy's {name} is NaN for segment {segments[k].id} on slot {j}")
        result[name] = values if values.is_floating_point() else values.double()
    return result


def link_hops(num_slots: int, positions_mm: Any, config: MappingConfig) -> Float[np.ndarray, "S S"]:
    """Hops between slots: as given, from positions, or Manhattan steps on the slot grid.

    With positions a link takes ceil(Manhattan mm / link_reach_mm) hops, at least one.
    """
    if config.hops is not None:
        return np.array(config.hops, dtype=float)
    if positions_mm is not None:
        places = np.asarray(torch.as_tensor(positions_mm).detach().cpu(), dtype=float)
        apart_mm = np.abs(places[:, None] - places[None]).sum(-1)
        hops = np.maximum(1.0, np.ceil(apart_mm / config.link_reach_mm - 1e-9))
        np.fill_diagonal(hops, 0.0)
        return hops
    columns = config.grid_columns or int(np.ceil(np.sqrt(num_slots)))
    rows, cols = np.divmod(np.arange(num_slots), columns)
    return (np.abs(rows[:, None] - rows) + np.abs(cols[:, None] - cols)).astype(float)


def segment_memory_mb(segments: Sequence[Segment], predicted_mb: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Memory in MB that adds up on a slot, and the memory a segment needs besides while it runs, both [K].

    Weights add up, activations do not. Where the segments do not tell both, the proxy's figure is taken as additive.
    """
    weights = np.array([float(segment.weight_bytes) for segment in segments]) / 1e6
    activations = np.array([float(segment.act_bytes) for segment in segments]) / 1e6
    if (weights > 0).any() and (activations > 0).any():
        return weights, activations
    additive = predicted_mb.detach().double().cpu().numpy().max(1)
    return additive, np.zeros_like(additive)


def slot_capacities(
    weights_mb: Float[np.ndarray, " K"], activations_mb: Float[np.ndarray, " K"], memory_mb: Float[np.ndarray, " S"]
) -> tuple[Float[np.ndarray, " S"], Bool[np.ndarray, "K S"]]:
    """What weights may fill on each slot, and which segments each slot can hold at all.

    A slot keeps the largest activation free of any segment that it can hold alone: safe, and strict only where a slot
    takes none of the wide ones.
    """
    holds = (weights_mb + activations_mb)[:, None] <= memory_mb[None]
    reserved = np.where(holds, activations_mb[:, None], 0.0).max(axis=0)
    return memory_mb - reserved, holds


def build_instance(
    segments: Sequence[Segment],
    costs: Mapping[str, Tensor],
    eff_specs: Mapping[str, Any],
    positions_mm: Any,
    config: MappingConfig,
) -> MappingInstance:
    """The instance the solver sees: plain numbers, closed slots forbidden.

    Raises:
        DataError: as `check_instance`.
    """
    latency = costs["lat_ms"].detach().double().cpu().numpy().copy()
    S = latency.shape[1]
    if config.open_slots is not None:
        latency[:, ~np.asarray(config.open_slots, dtype=bool)] = np.inf
    memory_mb, activations_mb = segment_memory_mb(segments, costs["mem_mb"])
    capacity_mb = np.full(S, np.inf)
    if "mem_gb" in eff_specs:
        usable_mb = np.array([1e3 * float(value) * config.usable_memory_share for value in eff_specs["mem_gb"]])
        capacity_mb, holds = slot_capacities(memory_mb, activations_mb, usable_mb)
        somewhere = np.asarray(holds.any(axis=1))
        latency[~holds & somewhere[:, None]] = np.inf
        # A segment that no slot can hold counts whole, so that the reason names its memory.
        memory_mb = np.where(somewhere, memory_mb, memory_mb + activations_mb)
    instance = MappingInstance(
        name="",
        latency_ms=latency,
        memory_mb=memory_mb,
        capacity_mb=capacity_mb,
        traffic_mb=np.array([float(segment.traffic_out_bytes) for segment in segments[:-1]]) / 1e6,
        hops=link_hops(S, positions_mm, config),
        hop_ms=config.hop_ms,
        ms_per_mb=config.ms_per_mb,
        power_w=costs["power_w"].detach().double().cpu().numpy().mean(0),
        pj_per_bit=config.pj_per_bit,
    )
    check_instance(instance)
    return instance
