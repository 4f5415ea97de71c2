"""The hardware loss on one chip: exact gradients, finite everywhere, complete statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.config.hardware import HwConfig, WorkloadConfig
from pipeline.config.proxy import ProxyFit
from pipeline.errors import ConfigError, DataError
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.hw_loss import compute_hw_loss_single_device, single_device_costs
from pipeline.hw_proxy.layer_hw_proxy import LayerHwProxy
from pipeline.hw_proxy.measured_table import read_measured
from pipeline.hw_proxy.modelled_table import make_modelled_table
from pipeline.hw_proxy.proxy_fit import fit_proxy
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.hw_proxy.workload import KeepRatios, keep_everything
from pipeline.mapping.segments import Segment
from pipeline.trainer.workload_segments import workload_segments

NAMES = ("tokens", "heads", "channels", "attention", "mlp")
HW = HwConfig(workload=WorkloadConfig(batch=2, depth=6), lambda_T=1.0, lambda_E=0.5, lambda_mem=0.25)
A100 = load_chip_library().select("a100")[0].specs()


def some_ratios() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 + 0.6 * torch.rand(3, generator=generator, dtype=torch.float64) for name in NAMES}


def loss_of(ratios: dict[str, torch.Tensor], chip: dict[str, Any] = A100, reference: Any = None) -> torch.Tensor:
    segments = workload_segments(HW, KeepRatios(**ratios))
    loss, _ = compute_hw_loss_single_device(segments, RooflineProxy(), HW, chip=chip, reference=reference)
    return loss


REFERENCE = {"latency_ms": 10.0, "energy_j": 1.0, "peak_mem_mb": 500.0}


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_central_differences(name: str):
    ratios = some_ratios()
    ratios[name].requires_grad_()
    loss_of(ratios, reference=REFERENCE).backward()
    gradient = ratios[name].grad
    assert gradient is not None
    with torch.no_grad():
        for block in range(3):
            shift = torch.zeros(3, dtype=torch.float64)
            shift[block] = 1e-5
            moved = [loss_of({**ratios, name: ratios[name] + sign * shift}, reference=REFERENCE) for sign in (1, -1)]
            assert gradient[block].item() == pytest.approx((moved[0] - moved[1]).item() / 2e-5, rel=0.01, abs=1e-9)
            assert gradient[block] > 0.0


@pytest.mark.parametrize("spec", ["peak_flops", "peak_bw", "tdp_w", "idle_w"])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 0.0])
def test_gradients_in_the_chips_specs_stay_finite_as_they_vanish(spec: str, scale: float):
    chip = {name: torch.tensor(float(value), dtype=torch.float64) for name, value in BIG.items()}
    chip[spec] = (chip[spec] * scale).requires_grad_()
    segments = workload_segments(HW, KeepRatios(**some_ratios()))
    costs = single_device_costs(segments, RooflineProxy(), chip)
    total = costs.latency_ms + costs.energy_j
    total.backward()
    assert torch.isfinite(total)
    assert chip[spec].grad is not None
    assert torch.isfinite(chip[spec].grad)
    if scale == 1.0:
        shift = 1e-4 * float(BIG[spec])
        with torch.no_grad():
            ends = [
                single_device_costs(segments, RooflineProxy(), {**chip, spec: chip[spec] + sign * shift})
                for sign in (1, -1)
            ]
        difference = sum(sign * (end.latency_ms + end.energy_j).item() for sign, end in zip((1, -1), ends, strict=True))
        assert chip[spec].grad.item() == pytest.approx(difference / (2 * shift), rel=0.01)


BIG = {"peak_flops": 1e14, "peak_bw": 1e12, "mem_gb": 24.0, "area_mm2": 600.0, "tdp_w": 350.0, "idle_w": 52.5}


def test_the_first_step_counts_as_one_per_term():
    segments = workload_segments(HW, keep_everything())
    loss, stats = compute_hw_loss_single_device(segments, RooflineProxy(), HW, chip=A100)
    assert loss.item() == pytest.approx(1.0 + 0.5 + 0.25)
    assert stats["chip"] == "a100"
    assert sum(stats["segment_latency_ms"]) == pytest.approx(stats["latency_ms"], rel=1e-5)
    assert sum(stats["segment_energy_j"]) == pytest.approx(stats["energy_j"], rel=1e-5)
    assert stats["reference"] == {name: stats[name] for name in ("latency_ms", "energy_j", "peak_mem_mb")}
    terms = ("term_latency", "term_energy", "term_memory")
    assert sum(stats[name] for name in terms) == pytest.approx(stats["L_hw"])


def test_pruning_lowers_every_total_and_the_chip_of_the_configuration_is_used():
    dense = compute_hw_loss_single_device(workload_segments(HW, keep_everything()), RooflineProxy(), HW)[1]
    ratios = {name: torch.full((3,), 0.5) for name in NAMES}
    pruned = compute_hw_loss_single_device(workload_segments(HW, KeepRatios(**ratios)), RooflineProxy(), HW)[1]
    assert dense["chip"] == HW.chip
    assert all(pruned[name] < dense[name] for name in ("latency_ms", "energy_j", "peak_mem_mb"))


def test_the_known_latencies_of_the_default_workload():
    """ViT-B, 16 frames, batch 20, on one chip: a table worked out independently of this code (docs/hardware.md)."""
    hw = HwConfig()
    tokens, half = torch.ones(12), torch.full((12,), 0.75)
    tokens[3:] = 0.5
    pruned = KeepRatios(tokens, half, half, torch.ones(12), torch.ones(12))
    expected = {"big_core": (353, 146), "a100": (122, 52), "l4": (359, 158), "wormhole": (534, 229)}
    for name, latencies in expected.items():
        chip = load_chip_library().select(name)[0].specs()
        for keep, latency_ms in zip((keep_everything(), pruned), latencies, strict=True):
            costs = single_device_costs(workload_segments(hw, keep), RooflineProxy(), chip)
            assert costs.latency_ms.item() == pytest.approx(latency_ms, rel=0.01)


def test_unknown_chips_and_segments_without_kernels_are_told():
    segments = workload_segments(HW, keep_everything())
    with pytest.raises(ConfigError, match="did you mean 'wormhole'"):
        compute_hw_loss_single_device(segments, RooflineProxy(), HW.model_copy(update={"chip": "wormole"}))
    bare = Segment(0, [0], 1.0, 1.0, 1, 1, 1, 1.0, 4, 1.0, 1.0)
    with pytest.raises(DataError, match="segment 0 does not tell its kernels"):
        compute_hw_loss_single_device([bare], RooflineProxy(), HW)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> LayerHwProxy:
    """A proxy fitted for a moment on a small modelled table."""
    out = tmp_path_factory.mktemp("modelled")
    make_modelled_table(load_chip_library().select("default"), out, count=60)
    measured = read_measured(out / "layers.parquet", out / "devices.csv")
    fit = ProxyFit(members=1, epochs=4)
    proxy = fit_proxy(measured, torch.ones(len(measured), dtype=torch.bool), fit, 0)
    return proxy.eval().requires_grad_(False).double()


def test_a_fitted_proxy_prices_the_same_gates(fitted: LayerHwProxy):
    ratios = {name: value.requires_grad_() for name, value in some_ratios().items()}
    segments = workload_segments(HW, KeepRatios(**ratios))
    loss, stats = compute_hw_loss_single_device(segments, fitted, HW, chip=A100, reference=REFERENCE)
    loss.backward()
    assert stats["latency_ms"] > 0.0
    with torch.no_grad():
        for name in NAMES:
            gradient = ratios[name].grad
            assert gradient is not None
            assert torch.isfinite(gradient).all()
            shift = torch.tensor([0.0, 1e-6, 0.0], dtype=torch.float64)
            ends = []
            for sign in (1, -1):
                moved = workload_segments(HW, KeepRatios(**{**ratios, name: ratios[name] + sign * shift}))
                ends.append(compute_hw_loss_single_device(moved, fitted, HW, chip=A100, reference=REFERENCE)[0])
            difference = (ends[0] - ends[1]).item() / 2e-6
            assert gradient[1].item() == pytest.approx(difference, rel=0.01, abs=1e-6)
