"""Power of a kernel from how busy it keeps the device.

    P = idle + (TDP - idle) * sat(c_f * u_f^p + c_b * u_b^q) * (clock / boost clock)^g

u_f and u_b are achieved FLOP/s and bytes/s over the peaks, at the *predicted* latency; `sat` grows from 0 to below 1.
So power lies between idle and the thermal design power and grows with both. Five numbers are fitted to measured mean
powers of whole models (`pipeline.hw_proxy.power_fit`); no public table holds measured power of single layers, so the
power of a layer is this formula at its own utilisation, never a measured value.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .device_table import DeviceTable
from .layer_table import LayerTable
from .roofline import LEAST_BYTES_PER_S, nominal_peak

SATURATION = 4.0
LEAST_SHARE = 1e-4
# Round numbers to start from and to be drawn to; a fit replaces them.
START = {"flops_weight": 0.75, "flops_power": 0.75, "bytes_weight": 0.75, "bytes_power": 0.75, "clock_power": 0.5}


class PowerModel(nn.Module):
    """The formula with its five positive numbers, kept as logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.log_numbers = nn.Parameter(torch.tensor([*START.values()]).log())

    def forward(
        self,
        flops_share: Float[Tensor, " P"],
        bytes_share: Float[Tensor, " P"],
        devices: DeviceTable,
        clock_share: Float[Tensor, " P"] | float = 1.0,
    ) -> Float[Tensor, " P"]:
        """Watts at the given utilisations; `clock_share` is the clock over the boost clock."""
        flops_weight, flops_power, bytes_weight, bytes_power, clock_power = self.log_numbers.exp()
        busy = flops_weight * (flops_share + LEAST_SHARE) ** flops_power
        busy = busy + bytes_weight * (bytes_share + LEAST_SHARE) ** bytes_power
        busy = busy * torch.as_tensor(clock_share).to(busy) ** clock_power
        share = busy / (1.0 + busy**SATURATION) ** (1.0 / SATURATION)
        return devices.idle_w + (devices.tdp_w - devices.idle_w).clamp(min=0.0) * share

    def of_kernels(
        self, table: LayerTable, devices: DeviceTable, latency_ms: Float[Tensor, " P"]
    ) -> Float[Tensor, " P"]:
        """Watts while kernel i runs on device i, taking `latency_ms`."""
        seconds = 1e-3 * latency_ms
        flops_share = table.flops / seconds / (nominal_peak(table, devices) + 1.0)
        bytes_share = table.bytes_moved / seconds / (devices.peak_bw + LEAST_BYTES_PER_S)
        return self.forward(flops_share.clamp(max=1.05), bytes_share.clamp(max=1.05), devices)
