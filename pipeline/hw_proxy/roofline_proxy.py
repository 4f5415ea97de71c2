"""The modelled costs as a proxy: what `modelled_table` says, in one differentiable call for K segments and T chips.

It needs no fit. `hw.proxy: roofline` prices with it; a fitted proxy has the same method. A few measured kernels of a
machine calibrate it: one factor per kernel kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from .device_table import DeviceTable, devices_from_specs
from .layer_frame import layers_from_frame
from .layer_table import KERNEL_KINDS, LayerOfTable, LayerTable, join_tables
from .modelled_table import (
    ATTENTION_POWER,
    BANDWIDTH_EFFICIENCY,
    COMPUTE_POWER,
    EFFICIENCY,
    LAUNCH_MS,
    MEMORY_POWER,
)

if TYPE_CHECKING:
    import pandas as pd

# A chip that is not there (specs that vanish in a mixture) is very slow, not infinitely so.
LEAST_FLOPS, LEAST_BYTES_PER_S = 1e9, 1e6
# A GELU and a sum move as many bytes, but on a processor without special units not at the same speed.
COST_CLASSES = (*KERNEL_KINDS, "function")


@dataclass(frozen=True)
class RooflineProxy:
    """Latency, memory and power by a roofline with fixed efficiencies (`modelled_table`).

    Attributes:
        slowdown: factor on the latency of each of `COST_CLASSES`; none by default.
    """

    slowdown: tuple[float, ...] = (1.0,) * len(COST_CLASSES)

    def predict_segments(
        self,
        segments: Sequence[Mapping[str, Any]] | LayerTable,
        devices: DeviceTable | Sequence[Mapping[str, Any]],
    ) -> dict[str, Float[Tensor, "K T"]]:
        """Latency (ms), memory (MB) and mean power (W) of K segments on T devices, gradients kept.

        Args:
            segments: a table whose layers are the segments, or features with their `kernels`.
            devices: a table, or one mapping of specs per device.

        Raises:
            DataError: a segment does not tell its kernels.
        """
        table = segments if isinstance(segments, LayerTable) else kernels_of(segments)
        device = devices if isinstance(devices, DeviceTable) else devices_of(devices)
        compute_ms, memory_ms = _busy_ms(table, device)
        slowdown = torch.tensor(self.slowdown, dtype=compute_ms.dtype)[cost_class(table)][:, None]
        launch_ms = slowdown * (torch.maximum(compute_ms, memory_ms) + LAUNCH_MS)
        attention = torch.where(table.kind == KERNEL_KINDS.index("sdpa"), ATTENTION_POWER, 1.0)[:, None]
        use = COMPUTE_POWER * attention * compute_ms / launch_ms + MEMORY_POWER * memory_ms / launch_ms
        power_w = device.idle_w + (device.tdp_w - device.idle_w) * use.clamp_max(1.0)
        spent_ms = table.count[:, None] * launch_ms
        latency_ms = _sum_by_layer(spent_ms, table)
        # A closed segment spends no time; its power is that of an idle chip.
        energy = _sum_by_layer(spent_ms * power_w, table)
        mean_w = torch.where(latency_ms > 0.0, energy / latency_ms.clamp_min(1e-12), device.idle_w)
        return {"lat_ms": latency_ms, "mem_mb": _memory_mb(table).expand_as(latency_ms), "power_w": mean_w}


def calibrated_roofline(measured: pd.DataFrame, device: DeviceTable) -> RooflineProxy:
    """The roofline slowed down (or sped up) to a device's measured kernels: the median ratio of each class.

    Args:
        measured: rows of a measured table, one device; whole layers among them are not used.
        device: that device alone.

    Raises:
        DataError: there is no kernel to calibrate on.
    """
    rows = measured[measured["layer_type"].isin(KERNEL_KINDS)].reset_index(drop=True)
    if rows.empty:
        raise DataError("no measured kernel to calibrate on; measure linear, sdpa, layernorm, ... rows")
    table = layers_from_frame(rows)
    with torch.no_grad():
        predicted = RooflineProxy().predict_segments(table, device)["lat_ms"][:, 0]
    classes = torch.empty(len(rows), dtype=torch.long).index_copy(0, table.layer, cost_class(table))
    ratio = (rows["latency_ms"] / predicted.numpy()).groupby(classes.numpy()).median()
    overall = float(ratio.median())
    return RooflineProxy(tuple(float(ratio.get(number, overall)) for number in range(len(COST_CLASSES))))


def cost_class(table: LayerTable) -> Int[Tensor, " R"]:
    """Which of `COST_CLASSES` each kernel is: its kind, but maps that compute a function are a class of their own."""
    function = (table.kind == KERNEL_KINDS.index("elementwise")) & (table.operations > 1.5)
    return torch.where(function, len(KERNEL_KINDS), table.kind)


def kernels_of(segments: Sequence[Mapping[str, Any]]) -> LayerTable:
    """The kernels of all segments in one table, whose layers are the segments.

    Raises:
        DataError: a segment has none.
    """
    for position, segment in enumerate(segments):
        if not isinstance(segment.get("kernels"), LayerTable | LayerOfTable):
            raise DataError(f"segment {position} does not tell its kernels; build it from a workload")
    return join_tables([segment["kernels"] for segment in segments])


def devices_of(devices: Sequence[Mapping[str, Any]]) -> DeviceTable:
    """Devices from one mapping of specs each."""
    names = set.intersection(*(set(device) for device in devices)) - {"name", "device", "vendor"}
    dtype = next((value.dtype for value in devices[0].values() if isinstance(value, Tensor)), torch.float32)
    columns = {name: torch.stack([torch.as_tensor(one[name], dtype=dtype) for one in devices]) for name in names}
    return devices_from_specs(columns)


def _busy_ms(table: LayerTable, device: DeviceTable) -> tuple[Float[Tensor, "R T"], Float[Tensor, "R T"]]:
    half = (table.precision == 1)[:, None]
    peak = torch.where(half, device.peak_flops_fp16, device.peak_flops_fp32) + LEAST_FLOPS
    efficiency = torch.tensor([EFFICIENCY.get(kind, 0.0) for kind in KERNEL_KINDS], dtype=table.flops.dtype)
    share = efficiency[table.kind][:, None]
    # Maps and norms have no efficiency at the peak: they count as bytes alone.
    compute_ms = torch.where(share > 0.0, 1e3 * table.flops[:, None] / (share.clamp_min(1e-3) * peak), 0.0)
    bandwidth = BANDWIDTH_EFFICIENCY * (device.peak_bw + LEAST_BYTES_PER_S)
    return compute_ms, 1e3 * table.bytes_moved[:, None] / bandwidth


def _sum_by_layer(values: Float[Tensor, "R T"], table: LayerTable) -> Float[Tensor, "K T"]:
    return values.new_zeros(table.num_layers, values.shape[1]).index_add(0, table.layer, values)


def _memory_mb(table: LayerTable) -> Float[Tensor, "K 1"]:
    """Weights add up; of the activations the largest launch counts."""
    weights = table.weight_bytes.new_zeros(table.num_layers).index_add(0, table.layer, table.count * table.weight_bytes)
    held = table.count * table.activation_bytes
    largest = held.new_zeros(table.num_layers).scatter_reduce(0, table.layer, held, "amax")
    return ((weights + largest) / 1e6)[:, None]
