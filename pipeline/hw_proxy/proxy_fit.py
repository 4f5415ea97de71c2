"""From measured rows to a `LayerHwProxy`, and its predictions for other rows."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..config.proxy import ProxyFit
from ..errors import DataError
from .device_table import DeviceTable
from .direct_model import fit_direct
from .latency_fit import FitSettings, fit_latency
from .layer_hw_proxy import LayerHwProxy
from .layer_table import COMPOSITE_KINDS, LAYER_TYPES, LayerTable
from .measured_table import MeasuredTable, kernel_rows, sample_rows

ROWS_AT_ONCE = 32768


def settings_of(config: ProxyFit, **overrides: Any) -> FitSettings:
    """The part of the configuration that one member's fit reads."""
    settings = {
        "hidden": tuple(config.hidden),
        "epochs": config.epochs,
        "batch": config.batch_size,
        "learning_rate": config.lr,
        "weight_decay": config.weight_decay,
        "average_device_share": config.average_device_share,
        "over_weight": config.over_weight,
    }
    return FitSettings(**{**settings, **overrides})


def fit_proxy(measured: MeasuredTable, allowed: Bool[Tensor, " N"], config: ProxyFit, seed: int) -> LayerHwProxy:
    """Fit a proxy to the allowed rows.

    Networks read the rows that are one kernel; rows of whole transformer layers then set one factor per layer type
    (their kernels are measured back to back), and measured memory the residual of the activation peak.

    Raises:
        DataError: no allowed row is one kernel.
    """
    rows = sample_rows(measured, allowed & kernel_rows(measured), config.rows_per_group, seed)
    if not len(rows):
        raise DataError(
            "no row to fit on: the table needs rows that are one kernel "
            f"({', '.join(name for name in LAYER_TYPES if name not in (*COMPOSITE_KINDS, 'segment'))})"
        )
    kernels = measured.layers.select(torch.searchsorted(measured.layers.layer, rows))
    where, latency_ms = measured.device[rows], measured.latency_ms[rows]
    members: list[nn.Module] = []
    for member in range(config.members):
        settings = settings_of(config)
        number = seed * 1000 + member
        if config.mode == "direct":
            members.append(fit_direct(kernels, measured.devices, where, latency_ms, settings, number))
        else:
            members.append(
                fit_latency(kernels, measured.devices, where, latency_ms, measured.sources, settings, number)
            )
    proxy = LayerHwProxy(members, config.latency_rule)
    _fit_layers(proxy, measured, allowed)
    return proxy.eval()


def _fit_layers(proxy: LayerHwProxy, measured: MeasuredTable, allowed: Bool[Tensor, " N"]) -> None:
    whole = torch.nonzero(allowed & ~kernel_rows(measured))[:, 0]
    if len(whole):
        ratio = measured.latency_ms[whole].log() - predict_rows(proxy, measured, whole)
        names = measured.frame.layer_type.to_numpy()[whole.numpy()]
        for name in COMPOSITE_KINDS:
            chosen = torch.tensor(names == name)
            if chosen.any():
                proxy.layer_scale[LAYER_TYPES.index(name)] = ratio[chosen].median().exp()
    if "mem_mb" in measured.frame:
        mem_mb = torch.tensor(measured.frame.mem_mb.to_numpy(dtype=float, na_value=float("nan")))
        proxy.memory.fit(measured.layers, mem_mb.where(allowed, float("nan")).float())


def predict_rows(proxy: LayerHwProxy, measured: MeasuredTable, rows: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Log latency (ms) of the given rows, each on its own device."""
    picked = torch.isin(measured.layers.layer, rows)
    place = torch.zeros(len(measured), dtype=torch.long)
    place[rows] = torch.arange(len(rows))
    table = measured.layers.reordered(torch.nonzero(picked)[:, 0])
    return predict_layers(
        proxy, table.with_layers(place[table.layer], len(rows)), measured.devices, measured.device[rows]
    )


def predict_layers(
    proxy: LayerHwProxy, table: LayerTable, devices: DeviceTable, device_of_layer: Int[Tensor, " L"]
) -> Float[Tensor, " L"]:
    """Log latency (ms) of each layer on its own device, without gradients."""
    total = torch.zeros(table.num_layers, dtype=table.flops.dtype)
    with torch.no_grad():
        for part in torch.arange(len(table)).split(ROWS_AT_ONCE):
            kernels = table.select(part)
            where = devices.select(device_of_layer[table.layer[part]])
            total.index_add_(0, table.layer[part], proxy.kernel_ms(kernels, where) * kernels.count)
    return total.log()
