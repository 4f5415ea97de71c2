"""This machine's profile: a table the proxies read, memory that repeats exactly, and nothing invented."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.artifacts import read_json, read_parquet, write_json
from pipeline.errors import ConfigError, DataError
from pipeline.hw_proxy import host_profile
from pipeline.hw_proxy.device_table import devices_from_frame
from pipeline.hw_proxy.host_profile import GRIDS, GridSize, layer_row, layer_rows, profile_host, profiled_precisions
from pipeline.hw_proxy.kernel_shapes import kernel_shapes
from pipeline.hw_proxy.layer_frame import layers_from_frame
from pipeline.hw_proxy.measure_designs import measure_designs, ratio_bounds
from pipeline.hw_proxy.operations import activation_peaks_bytes, kernel_operation, layer_operation
from pipeline.hw_proxy.predict_hardware import KNOBS, predict_hardware, read_design
from pipeline.hw_proxy.roofline_proxy import COST_CLASSES, RooflineProxy, calibrated_roofline
from pipeline.hw_proxy.timing import Timing
from pipeline.hw_proxy.workload import keep_everything, ratios_from_shape

CPU = torch.device("cpu")
BLOCK = layer_row("block", 2, 49, 96, 3, 2.0, 0)
HALF = {name: [0.5, 0.5] for name in ("tokens", "heads", "channels", "attention", "mlp")}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small profile of this machine."""
    out = tmp_path_factory.mktemp("profile")
    small = GridSize(kernels=24, layers=8, max_flops=3e7, repeats=5, seconds=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GRIDS, "tiny", small)
        patch.setattr(host_profile, "MAX_SPREAD", 100.0)
        patch.setattr(host_profile, "peak_flops", lambda setting, dtype, size: 1e10)
        patch.setattr(host_profile, "peak_bandwidth", lambda setting: 1e10)
        profile_host(out, grid="tiny", threads=1)
    return out


def test_a_profile_is_a_measured_table_of_one_device(profile: Path):
    layers = read_parquet(profile / "layers.parquet")
    devices = devices_from_frame(pd.read_csv(profile / "devices.csv"))
    assert set(layers["device"]) == set(devices.names) == {"host-cpu"}
    assert set(layers["source"]) == {"host"}
    assert {"linear", "sdpa", "layernorm", "embed", "attention", "mlp", "block"} <= set(layers["layer_type"])
    assert layers_from_frame(layers).num_layers == len(layers)
    assert (layers["latency_ms"] > 0).all()
    assert (layers["lat_min_ms"] <= layers["latency_ms"]).all()
    assert (layers["n_rep"] >= 5).all()
    described = read_json(profile / "profile.json")
    assert described["rows"] == len(layers)
    assert described["threads"] == 1
    assert "load_average_before" in described


def test_energy_is_empty_where_no_counter_can_be_read(profile: Path):
    described = read_json(profile / "profile.json")
    layers = read_parquet(profile / "layers.parquet")
    assert layers["energy_j"].notna().any() == (described["energy"] == "RAPL")


def test_a_row_whose_times_vary_is_dropped_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    noisy = Timing(1.0, 0.5, 0.5, 2.0, 20, None)
    monkeypatch.setattr(host_profile, "measure", lambda *arguments, **settings: noisy)
    profile_host(tmp_path, grid="tiny", threads=1)
    rejected = read_parquet(tmp_path / "rejected.parquet")
    assert read_parquet(tmp_path / "layers.parquet").empty
    assert set(rejected["reason"]) == {"spread 50% of the median in 2 tries"}


def test_activation_peaks_repeat_exactly_and_are_at_least_the_widest_tensor():
    operations = [layer_operation(BLOCK, CPU), kernel_operation(kernel_row("linear"), CPU)]
    with torch.inference_mode():
        first, again = (activation_peaks_bytes(operations, CPU) for _ in range(2))
    assert first == again
    stream = 2 * 49 * 96 * 4
    assert first[0] >= stream + 2 * stream
    row = kernel_row("linear")
    assert first[1] == row["M"] * row["N"] * 4


def kernel_row(kind: str) -> dict:
    shapes = kernel_shapes(40, max_flops=1e7, precisions=(0,))
    row = shapes[shapes.layer_type == kind].iloc[0].to_dict()
    return {name: value for name, value in row.items() if value is not pd.NA}


@pytest.mark.parametrize("kind", ["linear", "matmul_batched", "sdpa", "layernorm", "softmax", "elementwise"])
def test_an_operation_does_what_its_row_says(kind: str):
    row = kernel_row(kind)
    expected = {
        "linear": ("M", "N"),
        "matmul_batched": ("B", "M", "N"),
        "sdpa": ("B", "num_heads", "M", "K"),
    }.get(kind, ("B", "H"))
    assert kernel_operation(row, CPU)().shape == tuple(int(row[name]) for name in expected)


def test_layers_cost_what_torch_counts():
    for kind in ("embed", "attention", "mlp", "block"):
        row = layer_row(kind, 2, 49, 96, 3, 2.0, 0)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            layer_operation(row, CPU)()
        assert counter.get_total_flops() == row["flops"]


def test_the_grid_has_every_kind_of_layer_from_small_to_large():
    rows = layer_rows(GRIDS["small"], (0,))
    assert {row["layer_type"] for row in rows} == {"embed", "attention", "mlp", "block"}
    assert max(row["flops"] for row in rows) <= GRIDS["small"].max_flops


def test_emulated_16_bit_products_are_not_profiled():
    assert profiled_precisions(1e11, 5e9) == (0,)
    assert profiled_precisions(1e11, 2e11) == (0, 1)


def test_unknown_grids_and_absent_devices_are_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="grid=huge: choose from tiny"):
        profile_host(tmp_path, grid="huge")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="there is no CUDA device"):
            profile_host(tmp_path, grid="tiny", device="cuda")


def test_calibration_finds_the_factor_of_every_kind_of_kernel():
    device = devices_from_frame(
        pd.DataFrame([{"device": "host", "peak_flops_fp32": 1e11, "peak_bw": 1e10, "mem_gb": 8.0, "tdp_w": 30.0}])
    )
    shapes = kernel_shapes(80, precisions=(0,))
    factors = tuple(1.0 + position for position in range(len(COST_CLASSES)))
    slow = RooflineProxy(factors).predict_segments(layers_from_frame(shapes), device)["lat_ms"][:, 0]
    found = calibrated_roofline(shapes.assign(latency_ms=slow.numpy()), device)
    again = found.predict_segments(layers_from_frame(shapes), device)["lat_ms"][:, 0]
    np.testing.assert_allclose(again.numpy(), slow.numpy(), rtol=1e-3)
    with pytest.raises(DataError, match="no measured kernel"):
        calibrated_roofline(shapes.assign(layer_type="block", latency_ms=1.0), device)


def test_designs_are_measured_in_turns_and_priced(tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch):
    from pipeline.config.hardware import WorkloadConfig
    from pipeline.hw_proxy import predict_hardware as module

    small = WorkloadConfig(img=32, frames=2, dim=32, depth=2, heads=2, batch=1, precision="fp32")
    monkeypatch.setattr(module, "HOST_WORKLOAD", small)
    write_json(tmp_path / "a" / "design.json", {"keep": HALF})
    predict_hardware({"EXP-A/seed0": tmp_path / "a" / "design.json"}, tmp_path, profile=profile, repeats=3)
    host = read_parquet(tmp_path / "host.parquet")
    assert host["ratio_low"][0] <= host["ratio"][0] <= host["ratio_high"][0]
    assert host["predicted_ms"][0] > 0
    predictions = read_parquet(tmp_path / "predictions.parquet")
    assert set(predictions["setting"]) == {"latency", "throughput"}
    knobs = read_parquet(tmp_path / "knobs.parquet")
    order = knobs[(knobs["chip"] == "a100") & (knobs["setting"] == "throughput")].set_index("knob")["latency_ms"]
    assert list(order.index) == ["dense", *KNOBS]
    assert order.is_monotonic_decreasing
    last = predictions[(predictions["chip"] == "a100") & (predictions["setting"] == "throughput")]["latency_ms"]
    assert order["blocks"] == pytest.approx(last.iloc[0])


def test_equal_designs_take_equal_time():
    from pipeline.config.hardware import WorkloadConfig

    small = WorkloadConfig(img=64, frames=4, dim=96, depth=3, heads=3, batch=1, precision="fp32")
    table = measure_designs({"dense": keep_everything()}, small, repeats=25)
    assert table["ratio_low"][0] <= 1.1
    assert table["ratio_high"][0] >= 0.9
    low, middle, high = ratio_bounds(np.full(20, 2.0), np.full(20, 4.0))
    assert (low, middle, high) == (0.5, 0.5, 0.5)


def test_damaged_designs_are_told(tmp_path: Path):
    path = tmp_path / "design.json"
    for content, complaint in (({}, "needs the key keep"), ({"keep": {"tokens": [1.0]}}, "lack heads")):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=complaint):
            read_design(path)
    path.write_text(json.dumps({"keep": HALF}))
    assert read_design(path).heads.tolist() == ratios_from_shape(HALF).heads.tolist()
