"""How fast a device can be at best, and how times of limits combine.

A kernel cannot end before its FLOPs are computed at the peak, nor before its bytes have moved at full bandwidth.
Three facts correct the data sheet's peak:

- norms, softmax and elementwise maps issue at most 128 operations per clock and compute unit;
- fp32 convolutions may use TF32 units where a device has them, with a gain that grows with their lead;
- dense products are throttled where the power limit is low for the peak. An fp32 TFLOP/s took 18 W until 2018 and
  takes half as much every four years since; in fp16 a sixteenth. Below that the usable peak falls with the 0.8th power
  of the ratio, since voltage falls with the clock.

The constants are round and few: boards at both ends of the reference table (70 W and 400 W) set them.

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
TF32_SHARE_OF_FP16 = 0.5
TF32_EXPONENT = 0.5
THROTTLE_W_PER_TFLOPS = 18.0
THROTTLE_YEAR = 2018.0
HALVING_YEARS = 4.0
THROTTLE_EXPONENT = 0.8
FP16_PER_FP32_ENERGY = 16.0
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
    """FLOP/s that a kernel of each kind could reach at best."""
    peak = nominal_peak(table, devices)
    lead = (TF32_SHARE_OF_FP16 * devices.peak_flops_fp16 / (peak + LEAST_FLOPS)).clamp(min=1.0)
    convolves = (table.kind == KERNEL_KINDS.index("conv2d")) & (table.precision == 0) & (devices.has_tf32 > 0.5)
    peak = torch.where(convolves, peak * lead**TF32_EXPONENT, peak)
    issue = devices.num_sm * devices.clock_mhz * (1e6 * OPERATIONS_PER_CLOCK)
    peak = torch.where(is_product(table), peak * _throttle(table, devices, peak), torch.minimum(peak, issue))
    return peak + LEAST_FLOPS


def _throttle(table: LayerTable, devices: DeviceTable, peak: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    saving = torch.where(table.precision == 1, FP16_PER_FP32_ENERGY, 1.0)
    needed = THROTTLE_W_PER_TFLOPS * 2.0 ** ((THROTTLE_YEAR - devices.year).clamp(max=0.0) / HALVING_YEARS)
    power = 1e12 * saving * (devices.tdp_w + 1e-3) / (peak + LEAST_FLOPS) / needed
    share = power**THROTTLE_EXPONENT
    return share / (1.0 + share**4) ** 0.25


def smooth_max_log(first: Tensor, second: Tensor, sharpness: Tensor) -> Tensor:
    """Logarithm of the p-norm of two positive numbers given by their logarithms: at least the larger of both."""
    return torch.logaddexp(sharpness * first, sharpness * second) / sharpness
