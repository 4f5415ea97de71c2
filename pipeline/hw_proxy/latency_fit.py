"""Fitting a `LatencyModel` to measured kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .device_table import DeviceTable
from .latency_model import LatencyModel, source_of_precision
from .layer_features import fit_features, shape_features
from .layer_table import KERNEL_KINDS, LayerTable


@dataclass(frozen=True)
class FitSettings:
    """How long and how strictly a member is fitted; see `configs/proxy_ms_mem.yaml`."""

    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 12
    batch: int = 1024
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    average_device_share: float = 0.3
    error_scale: float = 0.1
    over_weight: float = 1.25


def fit_latency(
    table: LayerTable,
    devices: DeviceTable,
    device_of_row: Int[Tensor, " R"],
    latency_ms: Float[Tensor, " R"],
    sources: tuple[str, ...],
    settings: FitSettings,
    seed: int,
) -> LatencyModel:
    """Fit one member: smooth-L1 on the logarithm of latency, AdamW with one cycle of the learning rate.

    Args:
        table: one kernel per row.
        devices: all devices; those that `device_of_row` names become the known ones.
    """
    torch.manual_seed(seed)
    measured = sorted(set(device_of_row.tolist()))
    model = LatencyModel([devices.names[place] for place in measured], sources, settings.hidden)
    model.default_source.copy_(source_of_precision(table.source, table.precision))
    pairs = devices.select(device_of_row)
    features = torch.cat([shape_features(table), fit_features(table, pairs)], dim=1)
    effects = model.effects(pairs)
    model.network.standardise(torch.cat([features, effects], dim=1))
    # Effects stay 0 and 1: standardised, an unknown device would not be the average one.
    model.network.mean[features.shape[1] :] = 0.0
    model.network.scale[features.shape[1] :] = 1.0
    model.network.least[features.shape[1] :] = 0.0
    with torch.no_grad():
        model.log_floor.copy_(_start_floors(table, latency_ms, len(sources)))
    target = latency_ms.log()
    steps = max(1, settings.epochs * (len(table) // settings.batch))
    optimiser = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=settings.learning_rate, total_steps=steps + 1, pct_start=0.2
    )
    for rows in batches(len(table), settings.batch, steps):
        # One draw per batch would make the gradient jump between two models; one per row averages.
        kept = (torch.rand(len(rows), 1) >= settings.average_device_share).to(effects)
        here, where = table.select(rows), devices.select(device_of_row[rows])
        predicted = model.log_latency(features[rows], effects[rows] * kept, here, where)
        loss = lopsided_loss(predicted - target[rows], settings)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def _start_floors(table: LayerTable, latency_ms: Float[Tensor, " R"], sources: int) -> Float[Tensor, "S K"]:
    """The least latency seen of each source and kind; of its source, or of all, where a kind was not measured."""
    floors = torch.full((max(sources, 1), len(KERNEL_KINDS)), float(latency_ms.min().log()))
    for source in range(sources):
        of_source = table.source == source
        if of_source.any():
            floors[source] = float(latency_ms[of_source].min().log())
        for kind in range(len(KERNEL_KINDS)):
            chosen = of_source & (table.kind == kind)
            if chosen.any():
                floors[source, kind] = float(latency_ms[chosen].min().log())
    return floors


def _groups(model: LatencyModel, weight_decay: float) -> list[dict]:
    decayed = [value for name, value in model.named_parameters() if "weight" in name or name == "device_floor"]
    free = [value for name, value in model.named_parameters() if "weight" not in name and name != "device_floor"]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def lopsided_loss(error: Float[Tensor, " n"], settings: FitSettings) -> Float[Tensor, ""]:
    """Smooth L1 of errors of log latency, with more weight on predicting too slow."""
    size = nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=settings.error_scale, reduction="none")
    return (torch.where(error > 0.0, settings.over_weight, 1.0) * size).mean()


def batches(rows: int, batch: int, steps: int) -> list[Tensor]:
    """Random batches of full size, `steps` of them."""
    size = min(batch, rows)
    chosen: list[Tensor] = []
    while len(chosen) < steps:
        order = torch.randperm(rows)
        chosen += [order[start : start + size] for start in range(0, rows - size + 1, size)]
    return chosen[:steps]
