"""Latency and mean power of whole models from their kernels, with *predicted* latencies throughout.

    latency = || scale * sum of kernels,  launches * host time per launch ||_4

Kernels queue on the device while the host launches the next: a model of many small kernels is as slow as its host. The
two numbers are fitted robustly to measured models; the power formula (`power_model`) then gets the predicted latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from .kernel_lists import MeasuredModels, subset
from .latency_model import LatencyModel
from .layer_hw_proxy import LayerHwProxy
from .power_model import START, PowerModel
from .proxy_fit import predict_layers
from .roofline import LEAST_BYTES_PER_S, nominal_peak

SHARPNESS = 4.0
START_SCALE, START_LAUNCH_MS = 1.0, 0.02
PRIOR_WEIGHT = 0.02


@dataclass(frozen=True)
class HostTiming:
    """How kernels add up to a model: a scale, and the host's time per launch (ms)."""

    scale: float = START_SCALE
    launch_ms: float = START_LAUNCH_MS

    def log_ms(self, kernels_ms: Float[Tensor, " N"], launches: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Logarithm of the latency (ms) of whole models."""
        busy, host = torch.log(self.scale * kernels_ms), torch.log(self.launch_ms * launches)
        return torch.logaddexp(SHARPNESS * busy, SHARPNESS * host) / SHARPNESS


def kernel_sums_ms(proxy: LayerHwProxy, models: MeasuredModels) -> Float[Tensor, " N"]:
    """Predicted time (ms) of all kernels of each model, one after the other.

    Kernels count as their source at half precision measures them: on the device, without the host's launch.
    """
    table = models.layers
    first = proxy.members[0]
    if isinstance(first, LatencyModel):
        table = replace(table, source=torch.full_like(table.source, int(first.default_source[1])))
    return predict_layers(proxy, table, models.devices, torch.arange(len(models))).exp()


def fit_host_timing(
    kernels_ms: Float[Tensor, " n"], launches: Float[Tensor, " n"], latency_ms: Float[Tensor, " n"]
) -> HostTiming:
    """Least absolute error of log latency over both numbers."""
    from scipy.optimize import minimize

    target = latency_ms.log()

    def loss(numbers: Float[np.ndarray, " 2"]) -> float:
        timing = HostTiming(*np.exp(numbers).tolist())
        away = numbers - np.log([START_SCALE, START_LAUNCH_MS])
        return float((timing.log_ms(kernels_ms, launches) - target).abs().mean()) + PRIOR_WEIGHT * float(away @ away)

    found = minimize(
        loss, np.log([START_SCALE, START_LAUNCH_MS]), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}
    )
    return HostTiming(*np.exp(found.x).tolist())


def utilisation(
    models: MeasuredModels, latency_ms: Float[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Shares of the time that computing at the peak and moving at full bandwidth would take."""
    table = models.layers
    devices = models.devices.select(table.layer)
    empty = torch.zeros(len(models))
    compute = empty.index_add(0, table.layer, 1e3 * table.count * table.flops / nominal_peak(table, devices))
    moving = 1e3 * table.count * table.bytes_moved / (devices.peak_bw + LEAST_BYTES_PER_S)
    shares = (compute / latency_ms, empty.index_add(0, table.layer, moving) / latency_ms)
    return shares[0].clamp(max=1.05), shares[1].clamp(max=1.05)


def fit_power(models: MeasuredModels, latency_ms: Float[Tensor, " N"]) -> PowerModel:
    """Fit the power formula at the given (predicted) latencies.

    The five numbers are drawn towards round ones (`power_model.START`): one device at one clock cannot tell them apart.

    Raises:
        DataError: no rows.
    """
    if not len(models):
        raise DataError("no measured models to fit the power formula to")
    model = PowerModel()
    flops_share, bytes_share = utilisation(models, latency_ms)
    target = models.power_w.log()
    prior = torch.tensor([*START.values()]).log()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(400):
        predicted = model(flops_share, bytes_share, models.devices, models.clock_share).log()
        away = model.log_numbers - prior
        loss = torch.nn.functional.smooth_l1_loss(predicted, target, beta=0.1) + PRIOR_WEIGHT * (away**2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def predict_power(model: PowerModel, models: MeasuredModels, latency_ms: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Mean power (W) of each model."""
    with torch.no_grad():
        return model(*utilisation(models, latency_ms), models.devices, models.clock_share)


def predict_left_out(
    proxy: LayerHwProxy, models: MeasuredModels, folds: Sequence[Int[Tensor, " n"]]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Latency (ms) and power (W) of every row by fits that left its fold out; NaN for rows in no fold."""
    latency_ms, power_w = torch.full((2, len(models)), torch.nan)
    kernels_ms = kernel_sums_ms(proxy, models)
    for fold in folds:
        rest = torch.ones(len(models), dtype=torch.bool)
        rest[fold] = False
        timing = fit_host_timing(kernels_ms[rest], models.launches[rest], models.latency_ms[rest])
        predicted = timing.log_ms(kernels_ms, models.launches).exp()
        power = fit_power(subset(models, rest), predicted[rest])
        latency_ms[fold] = predicted[fold]
        power_w[fold] = predict_power(power, subset(models, fold), predicted[fold])
    return latency_ms, power_w


def workload_folds(models: MeasuredModels, number: int = 5) -> list[Int[Tensor, " n"]]:
    """Folds that keep all rows of a workload together."""
    names = models.frame.workload_key.astype(str)
    order = {name: place % number for place, name in enumerate(sorted(set(names)))}
    fold = torch.tensor([order[name] for name in names])
    return [torch.nonzero(fold == place)[:, 0] for place in range(number) if (fold == place).any()]


def device_folds(models: MeasuredModels) -> list[Int[Tensor, " n"]]:
    """One fold per device."""
    names = np.asarray(models.devices.names)
    return [torch.tensor(np.flatnonzero(names == name)) for name in np.unique(names)]
