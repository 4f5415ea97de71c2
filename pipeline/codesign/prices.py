"""What each segment costs on each real chip type, and on slots that hold chip types with probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..config.chips import ChipType
from ..hw_proxy.device_table import DeviceTable, devices_from_chips
from ..hw_proxy.layer_hw_proxy import LayerHwProxy
from ..hw_proxy.roofline_proxy import RooflineProxy
from ..mapping.costs import cost_matrix
from ..mapping.segments import Segment


@dataclass(frozen=True)
class Prices:
    """K segments on C chips: `latency_ms`, and `dynamic_j`, the energy above what the chip draws at rest, [K, C]."""

    latency_ms: Float[Tensor, "K C"]
    dynamic_j: Float[Tensor, "K C"]

    def expected(self, type_share: Float[Tensor, "S C"]) -> Prices:
        """Expected costs on slots that hold chip c with probability `type_share[s, c]`: a mixture is no better chip."""
        share = type_share.to(self.latency_ms).T
        return Prices(self.latency_ms @ share, self.dynamic_j @ share)


def price_on_types(segments: Sequence[Segment], chip_types: Sequence[ChipType], proxy: Any) -> Prices:
    """Prices of K segments on T real chip types, one batched call of the proxy; empty never reaches it.

    Raises:
        DataError: the proxy's answer lacks something or is NaN.
    """
    devices = _on_file(tuple(chip_types)) if isinstance(proxy, RooflineProxy | LayerHwProxy) else _specs(chip_types)
    predicted = cost_matrix(segments, devices, proxy)
    idle_w, tdp_w = (_column(tuple(chip_types), name).to(predicted["lat_ms"]) for name in ("idle_w", "tdp_w"))
    return _priced(predicted, idle_w, tdp_w)


def price_on_devices(segments: Sequence[Segment], devices: Sequence[Mapping[str, Any]], proxy: Any) -> Prices:
    """The same on any devices, e.g. mixed specifications; power is kept between idle and the power limit."""
    predicted = cost_matrix(segments, [dict(device) for device in devices], proxy)
    latency_ms = predicted["lat_ms"]
    idle_w = torch.stack([torch.as_tensor(device["idle_w"]).to(latency_ms) for device in devices])
    tdp_w = torch.stack([torch.as_tensor(device["tdp_w"]).to(latency_ms) for device in devices])
    return _priced(predicted, idle_w, tdp_w)


def _priced(predicted: Mapping[str, Tensor], idle_w: Float[Tensor, " C"], tdp_w: Float[Tensor, " C"]) -> Prices:
    above_w = torch.minimum(predicted["power_w"], tdp_w) - idle_w
    return Prices(predicted["lat_ms"], predicted["lat_ms"] * above_w.clamp(min=0.0) / 1e3)


def _specs(chip_types: Sequence[ChipType]) -> list[dict[str, Any]]:
    return [dict(chip.specs()) for chip in chip_types]


@cache
def _on_file(chip_types: tuple[ChipType, ...]) -> DeviceTable:
    """Chips as our own proxies read them, made once: they are asked at every training step."""
    return devices_from_chips([chip.specs() for chip in chip_types])


@cache
def _column(chip_types: tuple[ChipType, ...], name: str) -> Float[Tensor, " T"]:
    return torch.tensor([float(getattr(chip, name)) for chip in chip_types], dtype=torch.float64)


@dataclass(frozen=True)
class MixtureProxy:
    """A proxy for slots instead of devices: whatever devices it is asked about, it answers for the slots' mixtures.

    So the mapping solver, which prices segments (and parts of them) itself, sees expected costs.
    """

    proxy: Any
    chip_types: Sequence[ChipType]
    type_share: Float[Tensor, "S T"]

    def predict_segments(self, features: Sequence[Mapping[str, Any]], devices: Sequence[Any]) -> dict[str, Tensor]:
        """`lat_ms`, `mem_mb`, `power_w`, each [K, S]."""
        segments = [_Features(row) for row in features]
        predicted = cost_matrix(segments, _specs(self.chip_types), self.proxy)
        share = self.type_share.to(predicted["lat_ms"]).T
        return {name: predicted[name] @ share for name in ("lat_ms", "mem_mb", "power_w")}


@dataclass(frozen=True)
class _Features:
    """A segment that is known by its features alone."""

    row: Mapping[str, Any]

    @property
    def id(self) -> int:
        """The proxy's errors name segments."""
        return int(self.row.get("id", -1))

    def features(self) -> dict[str, Any]:
        """As `Segment.features`."""
        return dict(self.row)
