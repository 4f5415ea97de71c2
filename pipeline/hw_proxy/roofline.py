"""How fast a device can be at best, and how times of limits combine.

A kernel cannot end before its FLOPs are computed at the peak, nor before its bytes have moved at full bandwidth.
Three facts correct the data sheet:

- norms, softmax and elementwise maps issue at most 128 operations per clock and compute unit;
- dense products cannot draw more than the power limit for long. An fp32 TFLOP/s took 17 W until 2020 (set on boards
  of 70 to 300 W) and takes half as much every two years since; on units that do nothing but products less by their
  lead over the vector units, in fp16 an eleventh, and where a convolution multiplies less often (Winograd's F(2x2,
  3x3): Lavin & Gray 2016) less by 2.25. A device held below its boost clock needs less in proportion, for its
  voltage is lower. What is limited is the rate achieved, not the peak: a kernel that leaves most units idle is not
  throttled;
- compute units can ask for so many bytes per clock only, so a device held below boost does not reach the bandwidth of
  its memory.

The constants are round and few, and set by hand (docs/proxy.md).

All functions work on pairs: kernel i runs on device i (`LayerTable.select`, `DeviceTable.select`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .device_table import DeviceTable
from .layer_table import KERNEL_KINDS, LayerTable

PRODUCT_KINDS = ("linear", "matmul_batched", "conv2d", "sdpa")
OPERATIONS_PER_CLOCK = 128.0
LIMIT_W_PER_TFLOPS = 17.0
LIMIT_YEAR = 2020.0
HALVING_YEARS = 2.0
FP16_PER_FP32_ENERGY = 11.0
WINOGRAD_SAVING = 2.25
WINOGRAD_WINDOW = 3.0
BYTES_PER_CLOCK = 14.0
# A chip that is not there (specs near zero in a mixture) is very slow, not infinitely so.
LEAST_FLOPS = 1e9
LEAST_BYTES_PER_S = 1e6
LEAST_MS = 1e-9


def is_product(table: LayerTable) -> Bool[Tensor, " P"]:
    """Which kernels are matrix products or convolutions."""
    return torch.tensor([name in PRODUCT_KINDS for name in KERNEL_KINDS])[table.kind]


def nominal_peak(table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
    """FLOP/s of the data sheet at each kernel's precision."""
    return torch.where(table.precision == 1, devices.peak_flops_fp16, devices.peak_flops_fp32)


def roofline_ms(table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
    """The classical bound of one launch: the longer of computing and moving at the data sheet's rates."""
    compute = table.flops / (nominal_peak(table, devices) + LEAST_FLOPS)
    return 1e3 * torch.maximum(compute, table.bytes_moved / (devices.peak_bw + LEAST_BYTES_PER_S))


def usable_peak(table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
    """FLOP/s that a kernel of each kind could reach at best, however short it is."""
    peak = nominal_peak(table, devices)
    issue = devices.num_sm * devices.clock_mhz * (1e6 * OPERATIONS_PER_CLOCK)
    return torch.where(is_product(table), peak, torch.minimum(peak, issue)) + LEAST_FLOPS


def power_limited_flops(table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
    """FLOP/s that the power limit can sustain; without end but for dense products."""
    half = table.precision == 1
    winograd = (table.kind == KERNEL_KINDS.index("conv2d")) & (table.window == WINOGRAD_WINDOW) & ~half
    matrix_units = (devices.peak_flops_fp32 / (devices.peak_flops_fp32_vector + LEAST_FLOPS)).clamp(min=1.0)
    saving = torch.where(half, FP16_PER_FP32_ENERGY, matrix_units * torch.where(winograd, WINOGRAD_SAVING, 1.0))
    needed = LIMIT_W_PER_TFLOPS * 2.0 ** ((LIMIT_YEAR - devices.year).clamp(max=0.0) / HALVING_YEARS)
    limit = 1e12 * saving * devices.tdp_w / (needed * devices.clock_share) + LEAST_FLOPS
    return torch.where(is_product(table), limit, torch.inf)


def usable_bandwidth(devices: DeviceTable) -> Float[Tensor, " P"]:
    """Bytes/s of device memory at each device's clock; what the data sheet says at boost."""
    boost_mhz = devices.clock_mhz / devices.clock_share
    return devices.peak_bw * _asked_share(devices, devices.clock_mhz) / _asked_share(devices, boost_mhz)


def _asked_share(devices: DeviceTable, clock_mhz: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """Share of the bandwidth that the compute units ask for: all of it, or as much as they can."""
    asked = 1e6 * BYTES_PER_CLOCK * devices.num_sm * clock_mhz
    return (1.0 + (devices.peak_bw / (asked + LEAST_BYTES_PER_S)) ** 4) ** -0.25


def smooth_max_log(first: Tensor, second: Tensor, sharpness: Tensor) -> Tensor:
    """Logarithm of the p-norm of two positive numbers given by their logarithms: at least the larger of both."""
    return torch.logaddexp(sharpness * first, sharpness * second) / sharpness
