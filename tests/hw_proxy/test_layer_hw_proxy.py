"""The fitted proxy: physics that must hold, one batched call, gradients, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.proxy import ProxyFit
from pipeline.errors import DataError
from pipeline.hw_proxy.device_table import DeviceTable, devices_from_specs
from pipeline.hw_proxy.intervals import Intervals
from pipeline.hw_proxy.latency_model import LatencyModel
from pipeline.hw_proxy.layer_hw_proxy import LayerHwProxy
from pipeline.hw_proxy.layer_table import LayerTable, table_from_kernels
from pipeline.hw_proxy.measured_table import MeasuredTable
from pipeline.hw_proxy.proxy_files import load_intervals, load_proxy, save_proxy
from pipeline.hw_proxy.proxy_fit import fit_proxy, predict_rows
from pipeline.hw_proxy.roofline import roofline_ms

CHIP = {"peak_flops": 1e14, "peak_bw": 1e12, "mem_gb": 24.0, "area_mm2": 600.0, "tdp_w": 350.0, "idle_w": 50.0}
MLP = {"flops": 3e9, "bytes": 6e7, "layer_type": "mlp", "embed_dim": 256, "num_heads": 4, "mlp_ratio": 4.0}
LAYER = {**MLP, "seq_len": 1000, "precision": 1}


@pytest.fixture(scope="module")
def wild() -> LayerHwProxy:
    """A proxy with random weights far from any fit: what holds for it holds by construction."""
    torch.manual_seed(0)
    members = [LatencyModel(["a", "b"], ["s"], [32]) for _ in range(2)]
    for member in members:
        for parameter in member.network.parameters():
            torch.nn.init.normal_(parameter, std=1.0)
    return LayerHwProxy(members).eval()


def _kernels(rows: int = 300, dtype: torch.dtype = torch.float32) -> LayerTable:
    rng = np.random.default_rng(1)
    kernels = []
    for layer in range(rows):
        kind = str(rng.choice(["linear", "matmul_batched", "layernorm", "softmax"]))
        sizes = {name: float(2 ** rng.integers(0, 13)) for name in ("rows", "columns", "depth")}
        flops = (
            2 * np.prod([*sizes.values()])
            if kind in ("linear", "matmul_batched")
            else 5 * sizes["rows"] * sizes["columns"]
        )
        moved = 4 * (sizes["rows"] + sizes["columns"]) * sizes["depth"] + 4 * sizes["rows"] * sizes["columns"]
        kernels.append(
            {
                **sizes,
                "layer": layer,
                "kind": kind,
                "flops": float(flops),
                "bytes_moved": moved,
                "weight_bytes": moved / 4,
                "activation_bytes": moved,
                "precision": int(rng.integers(0, 2)),
            }
        )
    return table_from_kernels(kernels, rows, dtype)


@pytest.mark.parametrize("which", ["proxy", "wild"])
def test_latency_is_never_below_the_roofline_and_power_never_outside_idle_and_limit(
    which: str, devices: DeviceTable, request: pytest.FixtureRequest
) -> None:
    model, table = request.getfixturevalue(which), _kernels()
    predicted = model(table, devices)
    for place in range(len(devices)):
        bound = roofline_ms(table, devices.select([place] * len(table)))
        assert (predicted["lat_ms"][:, place] >= bound / 1.05 * (1 - 1e-4)).all()
        assert (predicted["power_w"][:, place] >= devices.idle_w[place] * (1 - 1e-4)).all()
        assert (predicted["power_w"][:, place] <= devices.tdp_w[place] * (1 + 1e-4)).all()
    assert (predicted["mem_mb"] >= predicted["mem_weights_mb"]).all()


@pytest.mark.parametrize("spec", ["peak_flops_fp32", "peak_flops_fp16", "peak_bw", "tdp_w"])
@pytest.mark.parametrize("which", ["proxy", "wild"])
def test_a_faster_device_is_never_slower(
    which: str, spec: str, devices: DeviceTable, request: pytest.FixtureRequest
) -> None:
    model, table = request.getfixturevalue(which), _kernels()
    before = model(table, devices)["lat_ms"]
    for factor in (1.1, 3.0, 100.0):
        after = model(table, replace(devices, **{spec: factor * getattr(devices, spec)}))["lat_ms"]
        assert (after <= before * (1 + 1e-4)).all()


@pytest.mark.parametrize("cost", ["flops", "bytes_moved"])
@pytest.mark.parametrize("which", ["proxy", "wild"])
def test_more_work_of_the_same_shape_is_never_faster(
    which: str, cost: str, devices: DeviceTable, request: pytest.FixtureRequest
) -> None:
    model, table = request.getfixturevalue(which), _kernels()
    before = model(table, devices)["lat_ms"]
    after = model(replace(table, **{cost: 1.5 * getattr(table, cost)}), devices)["lat_ms"]
    assert (after >= before * (1 - 1e-4)).all()
    assert (after > before * 1.01).any()


def test_one_call_for_all_pairs_equals_one_call_each(proxy: LayerHwProxy, devices: DeviceTable) -> None:
    table = _kernels(12)
    segments = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 4])
    together = proxy.predict_segments(table, devices, segment_of_layer=segments)
    for segment in range(5):
        part = table.select(segments == segment)
        for place in range(len(devices)):
            alone = proxy(part, devices.select([place]))
            latency, power = alone["lat_ms"][:, 0], alone["power_w"][:, 0]
            assert together["lat_ms"][segment, place].item() == pytest.approx(latency.sum().item(), rel=1e-4)
            assert together["mem_mb"][segment, place].item() == pytest.approx(alone["mem_mb"].max().item(), rel=1e-4)
            mean = (power * latency).sum() / latency.sum()
            assert together["power_w"][segment, place].item() == pytest.approx(mean.item(), rel=1e-4)


def test_the_spec_interface_merges_layers_by_its_rules(wild: LayerHwProxy) -> None:
    layers = [LAYER, {**LAYER, "layer_type": "attention", "flops": 2e9}]
    single = [wild.predict_layer(layer, CHIP) for layer in layers]
    merged = wild.predict_segment({"layers": layers, "device": CHIP})
    assert set(merged) == {"lat_ms", "mem_mb", "power_w"}
    latency = [one["lat_ms"].item() for one in single]
    assert merged["lat_ms"].item() == pytest.approx(sum(latency), rel=1e-4)
    assert merged["mem_mb"].item() == pytest.approx(max(one["mem_mb"].item() for one in single), rel=1e-5)
    weighted = sum(one["power_w"].item() * time for one, time in zip(single, latency, strict=True)) / sum(latency)
    assert merged["power_w"].item() == pytest.approx(weighted, rel=1e-4)
    longest = LayerHwProxy([*wild.members], "max").predict_segment({"layers": layers, "device": CHIP})
    assert longest["lat_ms"].item() == pytest.approx(max(latency), rel=1e-4)


@pytest.mark.parametrize("key", ["peak_flops", "peak_bw", "tdp_w", "idle_w"])
def test_gradients_equal_central_differences(key: str, wild: LayerHwProxy) -> None:
    exact = LayerHwProxy([*wild.members]).double()
    table = _kernels(40, torch.float64)

    def total(value: torch.Tensor, name: str) -> torch.Tensor:
        specs = {one: torch.tensor([number], dtype=torch.float64) for one, number in CHIP.items()}
        return exact.predict_segments(table, devices_from_specs({**specs, key: value}))[name].sum()

    for name in ("lat_ms", "power_w"):
        value = torch.tensor([CHIP[key]], dtype=torch.float64, requires_grad=True)
        gradient = torch.autograd.grad(total(value, name), value, allow_unused=True)[0]
        step = 1e-5 * CHIP[key]
        above, below = (total(torch.tensor([CHIP[key] + side * step], dtype=torch.float64), name) for side in (1, -1))
        difference = ((above - below) / (2 * step)).item()
        found = 0.0 if gradient is None else gradient.item()
        assert found == pytest.approx(difference, rel=0.01, abs=1e-9 * abs(above.item()) / CHIP[key])
    wild.float()


@pytest.mark.parametrize("share", [0.0, 1e-12, 1e-3])
def test_vanishing_specs_are_slow_not_infinite(share: float, wild: LayerHwProxy) -> None:
    specs = {name: torch.tensor([share * value], requires_grad=True) for name, value in CHIP.items()}
    predicted = wild.predict_segments(_kernels(40), devices_from_specs(specs))
    whole = wild.predict_segments(_kernels(40), devices_from_specs({k: torch.tensor([v]) for k, v in CHIP.items()}))
    assert torch.isfinite(predicted["lat_ms"]).all()
    assert (predicted["lat_ms"] > whole["lat_ms"]).all()
    (predicted["lat_ms"].sum() + predicted["power_w"].sum()).backward()
    for name in ("peak_flops", "peak_bw", "tdp_w", "area_mm2"):
        gradient = specs[name].grad
        assert gradient is None or torch.isfinite(gradient).all()


def test_a_closed_layer_costs_nothing_and_leaves_finite_gradients(wild: LayerHwProxy, devices: DeviceTable) -> None:
    table = _kernels(3)
    gates = torch.zeros(3, requires_grad=True)
    predicted = wild.predict_segments(replace(table, count=gates), devices)
    assert (predicted["lat_ms"] == 0.0).all()
    predicted["lat_ms"].sum().backward()
    assert gates.grad is not None
    assert (gates.grad > 0.0).all()
    assert torch.isfinite(predicted["power_w"]).all()


def test_a_device_never_measured_is_predicted(measured: MeasuredTable, quick_fit: ProxyFit) -> None:
    names = np.array(measured.frame.device.tolist())
    here = torch.tensor(names == "middle")
    fitted = fit_proxy(measured, ~here, quick_fit, seed=0)
    rows = torch.nonzero(here)[:, 0]
    error = (predict_rows(fitted, measured, rows) - measured.latency_ms[rows].log()).abs()
    assert error.median() < 0.1


def test_the_same_seed_gives_the_same_proxy(measured: MeasuredTable, quick_fit: ProxyFit) -> None:
    rows = torch.arange(50)
    short = quick_fit.model_copy(update={"epochs": 2})
    allowed = torch.ones(len(measured), dtype=torch.bool)
    first, second = (predict_rows(fit_proxy(measured, allowed, short, seed), measured, rows) for seed in (3, 3))
    assert torch.equal(first, second)


@pytest.mark.parametrize("mode", ["efficiency", "direct"])
def test_a_proxy_comes_back_from_its_files(
    mode: str, measured: MeasuredTable, devices: DeviceTable, quick_fit: ProxyFit, tmp_path: Path
) -> None:
    short = quick_fit.model_copy(update={"epochs": 1, "mode": mode})
    fitted = fit_proxy(measured, torch.ones(len(measured), dtype=torch.bool), short, seed=0)
    intervals = {"unseen": Intervals({"other": (-0.2, 0.3)})}
    save_proxy(tmp_path, fitted, intervals, {})
    loaded, table = load_proxy(tmp_path), _kernels(20)
    assert torch.equal(loaded(table, devices)["lat_ms"], fitted(table, devices)["lat_ms"])
    assert load_intervals(tmp_path) == intervals
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="fit it again"):
        load_proxy(tmp_path)
    with pytest.raises(DataError, match=r"proxy\.json"):
        load_proxy(tmp_path / "nowhere")


def test_a_layer_without_device_or_with_an_unknown_type_is_refused(wild: LayerHwProxy) -> None:
    with pytest.raises(DataError, match="no device"):
        wild.predict_layer(LAYER)
    with pytest.raises(DataError, match="unknown layer_type 'lstm'"):
        wild.predict_layer({**LAYER, "layer_type": "lstm"}, CHIP)
    with pytest.raises(DataError, match="precision=3"):
        wild.predict_layer({**LAYER, "precision": 3}, CHIP)
