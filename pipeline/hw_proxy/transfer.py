"""Leave one device out: how well a proxy predicts a device that was never measured (DESIGN: the table that decides).

Each measured device in turn is left out of the fit and predicted; beside the proxy stand the roofline, the spec's
direct regression and boosting, all on the same rows. A random split of shapes cannot show this: there, all do well.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..config.proxy import ProxyEvaluation, ProxyFit
from .accuracy import accuracy
from .boosting import boosting_log_ms
from .calibration import correct, fit_corrections, places_of
from .intervals import coverage_of, fit_intervals
from .layer_hw_proxy import LayerHwProxy
from .measured_table import MeasuredTable
from .proxy_fit import fit_proxy, predict_rows
from .roofline import roofline_ms

PROXY, CALIBRATED, ROOFLINE = "proxy", "calibrated", "roofline"
SHAPE = (
    *("layer_type", "op", "precision", "B", "M", "N", "K", "H", "Cin", "Cout", "ksize", "hw", "stride", "padding"),
    *("seq_len", "embed_dim", "num_heads", "mlp_ratio"),
)
KEPT = ("device", "layer_type", "precision", "latency_ms")


def leave_one_device_out(
    measured: MeasuredTable, fit: ProxyFit, evaluation: ProxyEvaluation, seed: int
) -> pd.DataFrame:
    """`predict_left_out_device` for every measured device, one after the other."""
    parts = [predict_left_out_device(measured, name, fit, evaluation, seed) for name in measured.measured_devices()]
    return pd.concat(parts, ignore_index=True)


def predict_left_out_device(
    measured: MeasuredTable, name: str, fit: ProxyFit, evaluation: ProxyEvaluation, seed: int
) -> pd.DataFrame:
    """Predictions for one device by a proxy that never saw it.

    Returns:
        one row per tested row: `row device layer_type precision latency_ms` and one log-latency column per method:
        `proxy`, `calibrated` (NaN in the rows it was calibrated with), and the baselines.
    """
    here = measured.device == measured.devices.names.index(name)
    rows = _some(here, evaluation.rows_tested, seed)
    sizes = {"epochs": evaluation.epochs, "rows_per_group": evaluation.rows_per_group, "members": evaluation.members}
    lighter = fit.model_copy(update=sizes)
    proxy = fit_proxy(measured, ~here, lighter, seed)
    columns = {PROXY: predict_rows(proxy, measured, rows)}
    columns[CALIBRATED] = calibrated(measured, rows, columns[PROXY], evaluation.calibration_rows, seed)
    for method in evaluation.baselines:
        columns[method] = _baseline(method, measured, ~here, rows, lighter, seed)
    frame = measured.frame.iloc[rows.numpy()][list(KEPT)].reset_index(drop=True)
    numbers = {method: values.double().numpy() for method, values in columns.items()}
    return frame.assign(row=rows.numpy(), **numbers)


def _baseline(
    method: str, measured: MeasuredTable, allowed: Bool[Tensor, " N"], rows: Int[Tensor, " n"], fit: ProxyFit, seed: int
) -> Float[Tensor, " n"]:
    if method == ROOFLINE:
        return roofline_rows(measured, rows)
    if method == "boosting":
        return boosting_log_ms(measured, allowed, rows, fit.rows_per_group, seed)
    direct = fit.model_copy(update={"mode": "direct", "members": 1})
    return predict_rows(fit_proxy(measured, allowed, direct, seed), measured, rows)


def roofline_rows(measured: MeasuredTable, rows: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Log of the roofline (ms) of the given rows; kernels of a layer add up."""
    place = torch.full((len(measured),), -1)
    place[rows] = torch.arange(len(rows))
    kernels = torch.nonzero(place[measured.layers.layer] >= 0)[:, 0]
    table = measured.layers.reordered(kernels)
    bound = roofline_ms(table, measured.devices.select(measured.device[table.layer]))
    return torch.zeros(len(rows)).index_add(0, place[table.layer], bound).log()


def calibrated(
    measured: MeasuredTable, rows: Int[Tensor, " n"], log_ms: Float[Tensor, " n"], rows_per_type: int, seed: int
) -> Float[Tensor, " n"]:
    """The same predictions after calibration with some of the rows, which are NaN in the result."""
    group, truth = measured.group[rows], measured.latency_ms[rows].log()
    places = row_places(measured, rows)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + 1))
    few = torch.cat([order[group[order] == number][:rows_per_type] for number in group.unique()])
    corrections = fit_corrections(log_ms[few], truth[few], places[few], group[few])
    corrected = correct(log_ms, places, group, corrections)
    corrected[few] = torch.nan
    return corrected


def row_places(measured: MeasuredTable, rows: Int[Tensor, " n"]) -> Float[Tensor, "n F"]:
    """Where the given rows lie for calibration."""
    place = torch.full((len(measured),), -1)
    place[rows] = torch.arange(len(rows))
    table = measured.layers.reordered(torch.nonzero(place[measured.layers.layer] >= 0)[:, 0])
    pairs = measured.devices.select(measured.device[table.layer])
    return places_of(table.with_layers(place[table.layer], len(rows)), pairs)


def _some(allowed: Bool[Tensor, " N"], number: int, seed: int) -> Int[Tensor, " n"]:
    places = torch.nonzero(allowed)[:, 0]
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))
    return torch.sort(places[order[:number]]).values


def summary(predictions: pd.DataFrame) -> pd.DataFrame:
    """Errors by method and device, and by method, device and layer type (`layer_type` is `all` in the former)."""
    methods = [name for name in predictions if name not in (*KEPT, "row")]
    rows = []
    for method in methods:
        usable = predictions[np.isfinite(predictions[method])]
        for device, of_device in usable.groupby("device"):
            for kind, chosen in [("all", of_device), *of_device.groupby("layer_type")]:
                found = accuracy(np.exp(chosen[method].to_numpy()), chosen.latency_ms.to_numpy(dtype=float))
                rows.append({"method": method, "device": device, "layer_type": kind, **vars(found)})
    return pd.DataFrame(rows)


def interval_coverage(predictions: pd.DataFrame, method: str, coverage: float) -> pd.DataFrame:
    """Share of each device's rows inside intervals that were calibrated on the other devices."""
    usable = predictions[np.isfinite(predictions[method])]
    error = np.log(usable.latency_ms.to_numpy(dtype=float)) - usable[method].to_numpy()
    device, kind = np.array([*usable.device]), np.array([*usable.layer_type])
    rows = []
    for name in np.unique(device):
        here = device == name
        if here.all():
            continue
        intervals = fit_intervals(error[~here], device[~here].tolist(), kind[~here].tolist(), coverage)
        inside = coverage_of(error[here], kind[here].tolist(), intervals)
        rows.append({"device": name, "rows": int(here.sum()), "coverage": float(inside.mean())})
    return pd.DataFrame(rows, columns=["device", "rows", "coverage"])


def shape_split(measured: MeasuredTable, share: float = 0.1) -> Bool[Tensor, " N"]:
    """Rows whose shape is held out: a fixed share by a hash, so a shape is out on every device at once."""
    names = [name for name in SHAPE if name in measured.frame]
    hashed = pd.util.hash_pandas_object(measured.frame[names].astype(str), index=False).to_numpy()
    return torch.tensor(hashed % 1000 < 1000 * share)


def random_split_accuracy(proxy: LayerHwProxy, measured: MeasuredTable, rows: Int[Tensor, " n"]) -> pd.DataFrame:
    """Errors on held-out shapes of known devices, over all and by layer type."""
    predicted = predict_rows(proxy, measured, rows).exp().double().numpy()
    frame = measured.frame.iloc[rows.numpy()]
    found = [("all", np.ones(len(rows), bool))]
    found += [(name, (frame.layer_type == name).to_numpy()) for name in sorted(frame.layer_type.unique())]
    latency = frame.latency_ms.to_numpy(dtype=float)
    return pd.DataFrame(
        [{"layer_type": name, **vars(accuracy(predicted[chosen], latency[chosen]))} for name, chosen in found]
    )
