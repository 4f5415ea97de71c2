"""`LayerHwProxy`: latency, memory and power of layers and segments on devices (spec §7.3).

One batched, differentiable call prices K segments on T devices; there is no loop over either. Gradients reach every
spec of the devices and, through FLOPs, bytes and counts, every gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import DataError
from .device_table import DeviceTable, devices_from_chips
from .latency_model import LatencyModel
from .layer_config import layer_from_config, layers_of
from .layer_features import fit_features, shape_features
from .layer_table import LAYER_TYPES, LayerTable, join_tables
from .memory_model import MemoryModel
from .power_model import PowerModel

LatencyRule = Literal["sum", "max"]


class LayerHwProxy(nn.Module):
    """A fitted proxy.

    `layer_scale` is a factor per layer type on its kernels' latencies, 1 but for measured whole layers.

    Args:
        members: fitted models of log latency (`LatencyModel` or `DirectModel`); predictions are geometric means.
        latency_rule: whether a segment's latency is the sum of its layers' or the largest (spec §7.3).
    """

    layer_scale: Tensor

    def __init__(self, members: Sequence[nn.Module], latency_rule: LatencyRule = "sum") -> None:
        super().__init__()
        if not members:
            raise DataError("a proxy needs at least one fitted model")
        self.members = nn.ModuleList(members)
        self.memory = MemoryModel()
        self.power = PowerModel()
        self.latency_rule: LatencyRule = latency_rule
        self.register_buffer("layer_scale", torch.ones(len(LAYER_TYPES)))

    def log_latency(
        self, table: LayerTable, devices: DeviceTable, shapes: Float[Tensor, "P F"] | None = None
    ) -> Float[Tensor, " P"]:
        """Logarithm of the latency (ms) of one launch of kernel i on device i; `shapes` if they are at hand."""
        shapes = shape_features(table) if shapes is None else shapes
        features = torch.cat([shapes, fit_features(table, devices)], dim=1)
        found = [
            member.log_latency(features, member.effects(devices), table, devices)
            if isinstance(member, LatencyModel)
            else member(table, devices)
            for member in self.members
        ]
        return torch.stack(found).mean(0)

    def kernel_ms(
        self, table: LayerTable, devices: DeviceTable, shapes: Float[Tensor, "P F"] | None = None
    ) -> Float[Tensor, " P"]:
        """Latency (ms) of one launch of kernel i on device i, as part of its layer."""
        scale = self.layer_scale[table.layer_type].to(table.flops)
        return self.log_latency(table, devices, shapes).exp() * scale

    def forward(self, table: LayerTable, devices: DeviceTable) -> dict[str, Float[Tensor, "L T"]]:
        """Each of L layers on each of T devices.

        Returns:
            `lat_ms`, `mem_mb`, `power_w` (time-weighted over the layer's kernels), each [L, T].
        """
        return self.predict_segments(table, devices)

    def predict_segments(
        self,
        segments: LayerTable | Sequence[Mapping[str, Any]],
        devices: DeviceTable | Sequence[Mapping[str, Any]],
        *,
        segment_of_layer: Int[Tensor, " L"] | None = None,
    ) -> dict[str, Float[Tensor, "K T"]]:
        """Each of K segments on each of T devices, in one differentiable call.

        Args:
            segments: a table of layers, or one mapping per segment (`layer_config.layers_of`).
            devices: chips or effective specs: a table, or one mapping per device.
            segment_of_layer: segment of each layer, 0 .. K - 1; each layer is a segment of its own if None.

        Returns:
            `lat_ms` (sum or max over layers), `mem_mb` (max over layers, as the spec has it, though weights stay),
            `power_w` (time-weighted mean), and beside the spec `mem_weights_mb`, `mem_act_mb` (weights of all
            layers, largest activation peak: what a slot must hold), `energy_j`; each [K, T].
        """
        table = layers_of(segments)
        devices = devices if isinstance(devices, DeviceTable) else devices_from_chips(devices)
        layers, number = table.num_layers, len(devices)
        kernels = torch.arange(len(table)).repeat_interleave(number)
        where = torch.arange(number).repeat(len(table))
        here, there = table.select(kernels), devices.select(where)
        # A kernel's shape is the same on every device.
        once_ms = self.kernel_ms(here, there, shape_features(table)[kernels])
        power_w = self.power.of_kernels(here, there, once_ms)
        kernel_ms = (once_ms * here.count).reshape(len(table), number)
        empty = torch.zeros(layers, number, dtype=kernel_ms.dtype)
        layer_ms = empty.index_add(0, table.layer, kernel_ms)
        layer_j = empty.index_add(0, table.layer, 1e-3 * kernel_ms * power_w.reshape(len(table), number))
        weights, activations = self.memory.parts(table)
        places = torch.arange(layers) if segment_of_layer is None else segment_of_layer
        return self._merged(places, layer_ms, layer_j, weights, activations)

    def _merged(
        self,
        segments: Int[Tensor, " L"],
        layer_ms: Float[Tensor, "L T"],
        layer_j: Float[Tensor, "L T"],
        weights_mb: Float[Tensor, " L"],
        activations_mb: Float[Tensor, " L"],
    ) -> dict[str, Float[Tensor, "K T"]]:
        number = int(segments.max()) + 1
        total = torch.zeros(number, layer_ms.shape[1], dtype=layer_ms.dtype)
        flat = torch.zeros(number, dtype=layer_ms.dtype)
        time_ms = total.index_add(0, segments, layer_ms)
        energy_j = total.index_add(0, segments, layer_j)
        over = segments[:, None].expand_as(layer_ms)
        longest = total.scatter_reduce(0, over, layer_ms, "amax")
        columns = layer_ms.shape[1]
        largest = flat.scatter_reduce(0, segments, weights_mb + activations_mb, "amax")
        peak = flat.scatter_reduce(0, segments, activations_mb, "amax")
        resident = flat.index_add(0, segments, weights_mb)
        return {
            "lat_ms": time_ms if self.latency_rule == "sum" else longest,
            "mem_mb": largest[:, None].expand(-1, columns),
            # An unused segment draws nothing; dividing by its zero time would poison every gradient.
            "power_w": 1e3 * energy_j / time_ms.clamp(min=1e-12),
            "mem_weights_mb": resident[:, None].expand(-1, columns),
            "mem_act_mb": peak[:, None].expand(-1, columns),
            "energy_j": energy_j,
        }

    def predict_layer(
        self, layer_cfg: Mapping[str, Any], device_cfg: Mapping[str, Any] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One layer on one device (spec §7.3): `{lat_ms, mem_mb, power_w}`, tensors without dimensions.

        Args:
            layer_cfg: as `build_layer_features` takes it; its `device` entry is used where `device_cfg` is None.
            device_cfg: an entry of the chip library.

        Raises:
            DataError: no device, or what `layer_from_config` and `devices_from_chips` refuse.
        """
        return self.predict_segment({"layers": [layer_cfg], "device": _device_of(layer_cfg, device_cfg)})

    def predict_segment(
        self, segment_cfg: Mapping[str, Any], device_cfg: Mapping[str, Any] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One segment on one device (spec §7.3): sum or max of latencies, max of memory, time-weighted power.

        Args:
            segment_cfg: `layers` (a list of layer configs), or the features of a whole segment; and `device`.
        """
        layer_cfgs = segment_cfg.get("layers", [segment_cfg])
        if not layer_cfgs:
            raise DataError("segment config: `layers` is empty; give at least one layer")
        table = join_tables([layer_from_config(layer) for layer in layer_cfgs])
        devices = devices_from_chips([_device_of(segment_cfg, device_cfg)])
        whole = torch.zeros(table.num_layers, dtype=torch.long)
        predicted = self.predict_segments(table, devices, segment_of_layer=whole)
        return {name: predicted[name][0, 0] for name in ("lat_ms", "mem_mb", "power_w")}


def _device_of(cfg: Mapping[str, Any], device_cfg: Mapping[str, Any] | None) -> Mapping[str, Any]:
    device = device_cfg if device_cfg is not None else cfg.get("device")
    if device is None:
        raise DataError("no device: give device_cfg, or a `device` entry in the layer or segment config")
    return device
