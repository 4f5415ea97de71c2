"""Whole models from kernel lists: latency, power, and rows that cannot be true."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from pipeline.artifacts import write_parquet
from pipeline.errors import DataError
from pipeline.hw_proxy.device_table import devices_from_frame
from pipeline.hw_proxy.kernel_lists import MeasuredModels, at_clock, list_kernels, read_models, subset
from pipeline.hw_proxy.measured_table import read_devices
from pipeline.hw_proxy.model_runs import HostTiming, fit_host_timing, fit_power, predict_power, workload_folds
from pipeline.hw_proxy.plausibility import implausible, least_ms
from pipeline.hw_proxy.power_model import PowerModel
from tests.hw_proxy.made_up import device_frame

KERNELS = [
    {
        "kind": "gemm",
        "op": "gemm",
        "batch": 1,
        "M": 512,
        "N": 1024,
        "K": 256,
        "prec": "bf16",
        "flops": 2.7e8,
        "bytes": 1.8e6,
    },
    {
        "kind": "conv2d",
        "op": "conv2d",
        "batch": 1,
        "M": 4096,
        "N": 64,
        "K": 576,
        "prec": "bf16",
        "flops": 3.0e8,
        "bytes": 5e6,
    },
    {
        "kind": "elementwise",
        "op": "typecast_to_fp32",
        "batch": 1,
        "M": 65536,
        "prec": "bf16",
        "flops": 6.5e4,
        "bytes": 4e5,
    },
    {"kind": "layernorm", "op": "layernorm", "batch": 1024, "M": 256, "prec": "bf16", "flops": 2e6, "bytes": 1e6},
]


def _lists() -> pd.DataFrame:
    lists = [pd.DataFrame(KERNELS).assign(workload=name, count=count) for name, count in (("a", 10), ("b", 40))]
    return pd.concat(lists, ignore_index=True)


@pytest.fixture
def models(tmp_path: Path) -> MeasuredModels:
    rows = [
        {
            "device": device,
            "prec": prec,
            "latency_ms": 5.0,
            "power_w": 100.0,
            "sm_freq_mhz": clock,
            "workload_key": name,
        }
        for device in ("middle", "large")
        for name in ("a", "b")
        for prec in ("bf16", "fp32")
        for clock in (700.0, 1400.0)
    ]
    write_parquet(tmp_path / "models.parquet", pd.DataFrame(rows))
    write_parquet(tmp_path / "kernels.parquet", _lists())
    specs = devices_from_frame(device_frame().assign(year=2021))
    return read_models(tmp_path / "models.parquet", tmp_path / "kernels.parquet", specs, "devices")


def test_a_list_in_fp32_has_no_casts_and_moves_twice_the_bytes() -> None:
    half, single = (list_kernels(_lists().iloc[:4], precision) for precision in (1, 0))
    assert [len(half), len(single)] == [4, 3]
    assert single[0]["bytes_moved"] == 2 * half[0]["bytes_moved"]
    assert single[0]["flops"] == half[0]["flops"]
    with pytest.raises(DataError, match="unknown kind 'fft'"):
        list_kernels(_lists().iloc[:1].assign(kind="fft"), 1)


def test_a_slower_clock_slows_computing_alone(models: MeasuredModels) -> None:
    slow, fast = models.devices.select([0]), models.devices.select([1])
    assert slow.peak_flops_fp16.item() == pytest.approx(fast.peak_flops_fp16.item() / 2)
    assert slow.peak_bw.item() == fast.peak_bw.item()
    assert at_clock(fast, torch.tensor([0.5])).clock_mhz.item() == pytest.approx(slow.clock_mhz.item())


def test_a_row_faster_than_its_products_at_peak_is_rejected_and_a_tf32_convolution_is_not(
    models: MeasuredModels,
) -> None:
    assert not len(implausible(models))
    bound = least_ms(models)
    fp32 = torch.tensor((models.frame.prec == "fp32").to_numpy())
    table = models.layers
    naive = torch.zeros(len(models)).index_add(
        0, table.layer, 1e3 * table.count * table.flops / models.devices.peak_flops_fp32[table.layer]
    )
    # Between the bound with TF32 units and the one without, only the assumed peak is wrong.
    assert (bound[fp32] < 0.9 * naive[fp32]).all()
    assert not len(implausible(replace(models, latency_ms=torch.where(fp32, 0.9 * naive, models.latency_ms))))
    broken = torch.where(torch.arange(len(models)) == 3, 0.5 * bound, models.latency_ms)
    found = implausible(replace(models, latency_ms=broken))
    assert found.index.tolist() == [3]
    assert "products alone need" in found.reason.iloc[0]


def test_host_time_and_scale_are_found_again() -> None:
    kernels_ms, launches = (
        torch.tensor([1.0, 2.0, 50.0, 100.0, 3.0, 80.0]),
        torch.tensor([400.0, 300, 400, 300, 900, 200]),
    )
    truth = HostTiming(1.2, 0.03)
    found = fit_host_timing(kernels_ms, launches, truth.log_ms(kernels_ms, launches).exp())
    assert found.scale == pytest.approx(1.2, rel=0.05)
    assert found.launch_ms == pytest.approx(0.03, rel=0.05)


def test_power_grows_with_use_and_stays_within_idle_and_limit(models: MeasuredModels) -> None:
    model, device = PowerModel(), models.devices.select([0])
    shares = torch.linspace(0.0, 1.05, 20)
    for fixed in (0.0, 0.5, 1.0):
        rest = torch.full_like(shares, fixed)
        for first, second in ((shares, rest), (rest, shares)):
            watts = model(first, second, device.select([0] * 20))
            assert (watts.diff() > 0.0).all()
            assert (watts >= device.idle_w).all()
            assert (watts <= device.tdp_w).all()


def test_the_power_formula_is_fitted_to_what_was_measured(models: MeasuredModels) -> None:
    latency_ms = models.latency_ms
    truth = PowerModel()
    with torch.no_grad():
        truth.log_numbers += torch.tensor([0.3, -0.2, -0.3, 0.1, 0.2])
    rows = replace(models, power_w=predict_power(truth, models, latency_ms))
    fitted = fit_power(rows, latency_ms)
    error = (predict_power(fitted, rows, latency_ms) / rows.power_w - 1.0).abs()
    assert error.max() < 0.1


def test_folds_keep_a_workload_together(models: MeasuredModels) -> None:
    folds = workload_folds(models)
    assert sorted(torch.cat(folds).tolist()) == list(range(len(models)))
    for fold in folds:
        assert len(set(subset(models, fold).frame.workload_key)) == 1


@pytest.mark.reference_data
def test_the_thirteen_impossible_rows_of_the_reference_table_are_found() -> None:
    root = os.environ.get("REFERENCE_DATA")
    if root is None:
        pytest.skip("REFERENCE_DATA is not set")
    folder = Path(root) / "proxy"
    specs = read_devices(folder / "devices.csv")
    models = read_models(folder / "model_energy.parquet", folder / "model_energy_kernels.parquet", specs, "devices.csv")
    rejected = implausible(models)
    assert len(rejected) == 13
    assert set(rejected.prec) == {"bf16"}
    assert rejected.power_w.max() < 100.0
