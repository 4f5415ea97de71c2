"""Measured rows that cannot be true: they would need more FLOP/s than the device has.

What the device has depends on the units its kernels run on: fp32 convolutions may use TF32 units where there are
some, so a row that beats the fp32 peak there is no error. A run that died early (out of memory, say) still has a
latency, an impossibly short one; its power near idle says the same.
"""

from __future__ import annotations

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from .kernel_lists import MeasuredModels
from .layer_table import KERNEL_KINDS
from .roofline import is_product, nominal_peak

TF32_SHARE_OF_FP16 = 0.5


def least_ms(models: MeasuredModels) -> Float[Tensor, " N"]:
    """Shortest possible time: every product at the highest peak any unit offers it, nothing else counted."""
    table = models.layers
    devices = models.devices.select(table.layer)
    peak = nominal_peak(table, devices)
    tf32 = (table.kind == KERNEL_KINDS.index("conv2d")) & (table.precision == 0) & (devices.has_tf32 > 0.5)
    peak = torch.where(tf32, torch.maximum(peak, TF32_SHARE_OF_FP16 * devices.peak_flops_fp16), peak)
    spent = torch.where(is_product(table), 1e3 * table.count * table.flops / peak, 0.0)
    return torch.zeros(len(models)).index_add(0, table.layer, spent)


def implausible(models: MeasuredModels) -> pd.DataFrame:
    """Rows faster than possible: their columns, `least_ms`, and `reason` in words."""
    bound = least_ms(models)
    bad = torch.nonzero(models.latency_ms < bound)[:, 0]
    frame = models.frame.iloc[bad.numpy()].assign(least_ms=bound[bad].numpy())
    reasons = [
        f"{latency:.1f} ms, but its products alone need {least:.1f} ms at peak; {power:.0f} W mean power"
        for latency, least, power in zip(frame.latency_ms, frame.least_ms, frame.power_w, strict=True)
    ]
    return frame.assign(reason=reasons)
