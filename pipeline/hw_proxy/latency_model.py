"""Latency as efficiency relative to the roofline, plus a launch floor (DESIGN: `mode: efficiency`).

    compute = || flops / (peak * e_c),  flops / what the power limit sustains ||_6
    kernel = || compute,  bytes / (bandwidth * e_m) ||_p                     latency = || kernel, floor ||_q

p-norms stand for "the longer of both, and more where they are close": computing overlaps moving, and running overlaps
launching (measured: a launch that takes 30 us hides a kernel of 20 us). A network gives the two efficiencies, at most
1.05, from shape and fit (`layer_features`), which hold neither FLOPs nor bytes, peak or bandwidth. So latency is at
least the roofline / 1.05 and monotone in all four *by construction*, and never rises with the power limit. Floors
belong to a measurement source (host, framework and way of timing) and a kernel kind.

What a device does differently from the average is an effect of its own: further inputs of the network (one per known
device) and an offset of its floors, switched off at random in training. For a device that was never measured they are
zero, which is what the network then knows as an average device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .device_table import DeviceTable
from .layer_features import fit_features, shape_features
from .layer_proxy_model import LayerProxyModel
from .layer_table import KERNEL_KINDS, UNKNOWN_SOURCE, LayerTable
from .roofline import (
    LEAST_BYTES_PER_S,
    LEAST_MS,
    is_product,
    power_limited_flops,
    smooth_max_log,
    usable_bandwidth,
    usable_peak,
)

MOST_EFFICIENT = 1.05
# Without a bound from below a network explains launch floors by tiny efficiencies, which then move with the bandwidth.
LEAST_EFFICIENT = (0.003, 0.15)
START_LOGIT = 1.0
# Norms, softmax and elementwise maps spend many instructions on each counted operation.
START_LOGIT_ISSUE = -2.0
START_FLOOR_MS = 0.01
START_LAUNCH_SHARPNESS = 2.0
POWER_SHARPNESS = 6.0


class LatencyModel(nn.Module):
    """One fitted member of a proxy.

    Args:
        known_devices: names of the measured devices.
        sources: names of the measurement sources.
        hidden: widths of the network.
    """

    default_source: Tensor

    def __init__(self, known_devices: Sequence[str], sources: Sequence[str], hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.known_devices = tuple(known_devices)
        self.sources = tuple(sources)
        kinds, devices = len(KERNEL_KINDS), len(self.known_devices)
        self.network = LayerProxyModel(count_features() + devices, hidden, 2)
        self.log_floor = nn.Parameter(torch.full((max(len(sources), 1), kinds), START_FLOOR_MS).log())
        self.amd_floor = nn.Parameter(torch.zeros(kinds))
        self.device_floor = nn.Parameter(torch.zeros(devices, kinds))
        self.sharpness = nn.Parameter(torch.ones(kinds))
        self.launch_sharpness = nn.Parameter(torch.full((max(len(sources), 1), kinds), START_LAUNCH_SHARPNESS))
        self.register_buffer("default_source", torch.zeros(2, dtype=torch.long))

    def forward(self, table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
        """Logarithm of the latency (ms) of kernel i on device i, one launch."""
        effects = self.effects(devices)
        features = torch.cat([shape_features(table), fit_features(table, devices)], dim=1)
        return self.log_latency(features, effects, table, devices)

    def log_latency(
        self, features: Float[Tensor, "P F"], effects: Float[Tensor, "P D"], table: LayerTable, devices: DeviceTable
    ) -> Float[Tensor, " P"]:
        """The same from features and device effects that are at hand."""
        raw = self.network(torch.cat([features, effects], dim=1))
        start = torch.where(is_product(table), START_LOGIT, START_LOGIT_ISSUE).to(raw)
        shift = torch.stack([start, torch.full_like(start, START_LOGIT)], dim=1)
        least = torch.tensor(LEAST_EFFICIENT, dtype=raw.dtype)
        log_efficiency = torch.log(least + (MOST_EFFICIENT - least) * torch.sigmoid(raw + shift))
        compute = self.log_compute(log_efficiency[:, 0], table, devices)
        moving = torch.log(1e3 * table.bytes_moved / (usable_bandwidth(devices) + LEAST_BYTES_PER_S) + LEAST_MS)
        overlap = 1.0 + nn.functional.softplus(self.sharpness[table.kind])
        kernel = smooth_max_log(compute, moving - log_efficiency[:, 1], overlap)
        # How a launch hides running is a matter of how it is timed.
        hiding = 1.0 + nn.functional.softplus(self.launch_sharpness[self.sources_of(table), table.kind])
        return smooth_max_log(kernel, self.log_floors(effects, table, devices), hiding)

    def log_compute(
        self, log_efficiency: Float[Tensor, " P"], table: LayerTable, devices: DeviceTable
    ) -> Float[Tensor, " P"]:
        """Logarithm of the time (ms) that computing takes at an efficiency, and within the power limit."""
        at_peak = torch.log(1e3 * table.flops / usable_peak(table, devices) + LEAST_MS) - log_efficiency
        at_limit = torch.log(1e3 * table.flops / power_limited_flops(table, devices) + LEAST_MS)
        return smooth_max_log(at_peak, at_limit, torch.tensor(POWER_SHARPNESS, dtype=at_peak.dtype))

    def sources_of(self, table: LayerTable) -> Int[Tensor, " P"]:
        """The measurement source each kernel is predicted for."""
        return torch.where(table.source == UNKNOWN_SOURCE, self.default_source[table.precision], table.source)

    def log_floors(self, effects: Float[Tensor, "P D"], table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
        """Logarithm of the least time (ms) a launch takes where it is measured."""
        offset = (effects @ self.device_floor).gather(1, table.kind[:, None])[:, 0]
        return self.log_floor[self.sources_of(table), table.kind] + offset + self.amd_floor[table.kind] * devices.is_amd

    def effects(self, devices: DeviceTable) -> Float[Tensor, "P D"]:
        """One where a device is a known one, else zeros."""
        places = {name: place for place, name in enumerate(self.known_devices)}
        index = torch.tensor([places.get(name, len(places)) for name in devices.names], dtype=torch.long)
        rows = torch.eye(len(places) + 1, dtype=self.log_floor.dtype)[:, :-1]
        return rows[index]


def count_features() -> int:
    """Number of shape and fit features."""
    from .device_table import devices_from_chips
    from .layer_table import table_from_kernels

    kernel = {"layer": 0, "kind": "linear", "flops": 1.0, "bytes_moved": 1.0, "precision": 0}
    table = table_from_kernels([kernel], 1)
    chip = devices_from_chips([{"peak_flops": 1.0, "peak_bw": 1.0, "mem_gb": 1.0, "tdp_w": 1.0}])
    return shape_features(table).shape[1] + fit_features(table, chip).shape[1]


def source_of_precision(source: Int[Tensor, " R"], precision: Int[Tensor, " R"]) -> Int[Tensor, " 2"]:
    """The commonest source of each precision; where a precision was not measured, the commonest of all."""
    overall = source.mode().values
    chosen = [source[precision == code].mode().values if (precision == code).any() else overall for code in (0, 1)]
    return torch.stack(chosen)
