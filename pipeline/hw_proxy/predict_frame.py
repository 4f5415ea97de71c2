"""Predictions for a table of layers: `scripts.predict_layers`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..artifacts import read_parquet, write_parquet
from .calibration import correct, fit_corrections, places_of
from .device_table import DeviceTable
from .intervals import Intervals
from .latency_model import LatencyModel
from .layer_frame import layers_from_frame
from .layer_hw_proxy import LayerHwProxy
from .layer_table import LayerTable
from .measured_table import check_latencies, device_places, plain_text, read_devices
from .proxy_files import load_intervals, load_proxy
from .proxy_fit import predict_layers

if TYPE_CHECKING:
    import pandas as pd

KEY = ("device", "layer_type", "precision")


def predict_file(proxy: Path, layers: Path, devices: Path, out: Path, calibrate: Path | None = None) -> str:
    """Write the rows of `layers` with their predictions to `out`, and return the line to print.

    Raises:
        DataError: a file is missing or unusable, or a device has no row of specs.
    """
    frame = read_parquet(layers, KEY)
    few = None if calibrate is None else read_parquet(calibrate, (*KEY, "latency_ms"))
    specs = read_devices(devices)
    model = load_proxy(proxy)
    predicted = predict_frame(model, load_intervals(proxy), frame, specs, few, str(layers), str(devices))
    write_parquet(out, predicted)
    known = known_devices(model)
    new = sorted(set(predicted.device.astype(str)) - known)
    return f"{len(predicted)} layers on {predicted.device.nunique()} devices ({len(new)} never measured) | output {out}"


def known_devices(proxy: LayerHwProxy) -> set[str]:
    """Names of the devices the proxy was fitted on."""
    first = proxy.members[0]
    return set(first.known_devices) if isinstance(first, LatencyModel) else set()


def predict_frame(
    proxy: LayerHwProxy,
    intervals: dict[str, Intervals],
    frame: pd.DataFrame,
    devices: DeviceTable,
    few: pd.DataFrame | None = None,
    table: str = "layers",
    device_file: str = "devices",
) -> pd.DataFrame:
    """The rows with `latency_ms_pred`, its interval, `power_w_pred`, `mem_mb_pred` and `calibrated`.

    Args:
        few: measured rows; those of the same device, layer type and precision correct a row's latency.

    Raises:
        DataError: the table or the measured rows cannot be used, or a device has no row of specs.
    """
    layers, places = _read(proxy, frame, devices, table, device_file)
    log_ms = predict_layers(proxy, layers, devices, places)
    group = _groups(frame, few)
    calibrated = np.zeros(len(frame), dtype=bool)
    if few is not None:
        check_latencies(few, "calibration rows")
        measured, where = _read(proxy, few, devices, "calibration rows", device_file)
        few_group = _groups(few, None, _names(frame, few))
        residual_base = predict_layers(proxy, measured, devices, where)
        truth = torch.tensor(few.latency_ms.to_numpy(dtype=np.float32, copy=True)).log()
        corrections = fit_corrections(residual_base, truth, _places(measured, devices, where), few_group)
        log_ms = correct(log_ms, _places(layers, devices, places), group, corrections)
        calibrated = np.isin(group.numpy(), [*corrections])
    low, high = _offsets(intervals, frame, calibrated, known_devices(proxy))
    latency_ms = log_ms.double().exp().numpy()
    power_w, mem_mb = _power_and_memory(proxy, layers, devices, places, log_ms)
    return frame.assign(
        latency_ms_pred=latency_ms,
        latency_ms_low=latency_ms * np.exp(low),
        latency_ms_high=latency_ms * np.exp(high),
        power_w_pred=power_w,
        mem_mb_pred=mem_mb,
        calibrated=calibrated,
    )


def _read(
    proxy: LayerHwProxy, frame: pd.DataFrame, devices: DeviceTable, table: str, device_file: str
) -> tuple[LayerTable, Int[Tensor, " L"]]:
    first = proxy.members[0]
    sources = first.sources if isinstance(first, LatencyModel) else ()
    plain = plain_text(frame)
    places = device_places(plain, devices, table, device_file)
    return layers_from_frame(plain, table=table, sources=sources), places


def _names(frame: pd.DataFrame, few: pd.DataFrame | None) -> dict[tuple[str, ...], int]:
    keys = set(_keys(frame)) | (set(_keys(few)) if few is not None else set())
    return {key: number for number, key in enumerate(sorted(keys))}


def _keys(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(zip(*(frame[name].astype(str) for name in KEY), strict=True))


def _groups(
    frame: pd.DataFrame, few: pd.DataFrame | None, names: dict[tuple[str, ...], int] | None = None
) -> Int[Tensor, " L"]:
    numbers = _names(frame, few) if names is None else names
    return torch.tensor([numbers[key] for key in _keys(frame)])


def _places(layers: LayerTable, devices: DeviceTable, places: Int[Tensor, " L"]) -> Float[Tensor, "L F"]:
    return places_of(layers, devices.select(places[layers.layer]))


def _offsets(
    intervals: dict[str, Intervals], frame: pd.DataFrame, calibrated: np.ndarray, known: set[str]
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """Interval offsets by what is known of a row's device; NaN where the proxy has no such interval."""
    seen = frame.device.astype(str).isin(known).to_numpy()
    regime = np.where(calibrated, "calibrated", np.where(seen, "known", "unseen"))
    low, high = np.full((2, len(frame)), np.nan)
    kinds = frame.layer_type.astype(str).to_numpy()
    for name, chosen in ((name, regime == name) for name in intervals):
        low[chosen], high[chosen] = intervals[name].of(kinds[chosen].tolist())
    return low, high


def _power_and_memory(
    proxy: LayerHwProxy,
    layers: LayerTable,
    devices: DeviceTable,
    places: Int[Tensor, " L"],
    log_ms: Float[Tensor, " L"],
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """Mean power at the (calibrated) latency, and memory; single-kernel utilisation adds up over a layer's kernels."""
    where = devices.select(places)
    shared = replace(layers, flops=layers.flops * layers.count, bytes_moved=layers.bytes_moved * layers.count)
    with torch.no_grad():
        kernels = proxy.power.of_kernels(shared, where.select(layers.layer), log_ms.exp()[layers.layer])
        idle = where.idle_w[layers.layer]
        power = where.idle_w.index_add(0, layers.layer, kernels - idle).minimum(where.tdp_w)
        return power.double().numpy(), proxy.memory(layers).double().numpy()
