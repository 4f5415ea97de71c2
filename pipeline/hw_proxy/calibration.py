"""Few-shot calibration: some measured rows of a device correct the predictions for it.

Residuals of log latency are smoothed by a Gaussian process per (device, layer type, precision): a constant, since a
device is mostly faster or slower by a factor, and a slow change with size. A handful of rows moves the factor; twenty
also tilt it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .device_table import DeviceTable
from .layer_table import LayerTable
from .roofline import LEAST_BYTES_PER_S, LEAST_MS, usable_peak

FACTOR_SPREAD = 0.4
CURVE_SPREAD = 0.4
CURVE_OCTAVES = 6.0
NOISE = 0.2
LARGEST_RESIDUAL = 1.5


@dataclass(frozen=True)
class Correction:
    """The fitted process of one group: the measured rows' places and their weights."""

    places: Float[Tensor, "n F"]
    weights: Float[Tensor, " n"]

    def __call__(self, places: Float[Tensor, "m F"]) -> Float[Tensor, " m"]:
        """What to add to log latency at other rows."""
        return _covariance(places, self.places) @ self.weights


def fit_correction(places: Float[Tensor, "n F"], residual: Float[Tensor, " n"]) -> Correction:
    """Fit to residuals log(measured / predicted) at the given places (`places_of`)."""
    bounded = residual.double().clamp(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    where = places.double()
    covariance = _covariance(where, where) + NOISE**2 * torch.eye(len(where), dtype=torch.float64)
    return Correction(where, torch.linalg.solve(covariance, bounded))


def places_of(table: LayerTable, devices: DeviceTable) -> Float[Tensor, "L F"]:
    """Where each layer lies: its least compute and memory time and its size, in units of the curve's length scale."""
    layers = table.num_layers
    compute_ms = 1e3 * table.count * table.flops / usable_peak(table, devices)
    moving_ms = 1e3 * table.count * table.bytes_moved / (devices.peak_bw + LEAST_BYTES_PER_S)
    empty = torch.zeros(layers, dtype=table.flops.dtype)
    totals = [empty.index_add(0, table.layer, values) + LEAST_MS for values in (compute_ms, moving_ms)]
    sizes = [table.groups, table.rows, table.columns, table.depth]
    largest = [empty.scatter_reduce(0, table.layer, values, "amax").clamp(min=1.0) for values in sizes]
    return torch.stack([torch.log2(value) / CURVE_OCTAVES for value in (*totals, *largest)], dim=1)


def correct(
    log_ms: Float[Tensor, " N"],
    places: Float[Tensor, "N F"],
    group: Int[Tensor, " N"],
    corrections: dict[int, Correction],
) -> Float[Tensor, " N"]:
    """Corrected log latencies; groups without measured rows stay as they are."""
    corrected = log_ms.clone()
    for number, correction in corrections.items():
        chosen = group == number
        if chosen.any():
            corrected[chosen] += correction(places[chosen].double()).to(log_ms)
    return corrected


def fit_corrections(
    log_ms: Float[Tensor, " n"],
    measured_log_ms: Float[Tensor, " n"],
    places: Float[Tensor, "n F"],
    group: Int[Tensor, " n"],
) -> dict[int, Correction]:
    """One correction per group of the given measured rows."""
    residual = measured_log_ms - log_ms
    return {
        int(number): fit_correction(places[group == number], residual[group == number]) for number in group.unique()
    }


def _covariance(first: Float[Tensor, "m F"], second: Float[Tensor, "n F"]) -> Float[Tensor, "m n"]:
    distance = torch.cdist(first, second) ** 2
    return FACTOR_SPREAD**2 + CURVE_SPREAD**2 * torch.exp(-0.5 * distance)
