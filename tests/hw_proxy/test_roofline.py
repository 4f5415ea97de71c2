"""What bounds a kernel before anything is fitted: peaks, issue rate and the power limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.hw_proxy.device_table import DeviceTable, devices_from_chips
from pipeline.hw_proxy.kernel_lists import at_clock
from pipeline.hw_proxy.latency_model import LatencyModel
from pipeline.hw_proxy.layer_table import table_from_kernels
from pipeline.hw_proxy.roofline import nominal_peak, power_limited_flops, usable_bandwidth, usable_peak

BOARD = {"peak_flops_fp32": 8e12, "peak_flops_fp16": 64e12, "peak_bw": 3e11, "mem_gb": 16.0, "tdp_w": 70.0}


def board(**changes: Any) -> DeviceTable:
    return devices_from_chips([{**BOARD, "year": 2018, "num_sm": 40, "boost_mhz": 1500, **changes}])


def sustained(device: DeviceTable, kind: str = "linear", precision: int = 0, **sizes: float) -> float:
    kernel = {"layer": 0, "kind": kind, "flops": 1e12, "bytes_moved": 1e9, "precision": precision, **sizes}
    return power_limited_flops(table_from_kernels([kernel], 1), device).item()


def test_a_power_limit_sustains_what_its_generation_needs_per_operation() -> None:
    base = sustained(board())
    assert base == pytest.approx(70 / 17 * 1e12, rel=1e-3)
    assert sustained(board(year=2012)) == pytest.approx(base)
    assert sustained(board(year=2022)) == pytest.approx(2 * base, rel=1e-3)
    assert sustained(board(tdp_w=140.0)) == pytest.approx(2 * base, rel=1e-3)
    assert sustained(board(), precision=1) == pytest.approx(11 * base, rel=1e-3)
    assert sustained(board(peak_flops_fp32_vector=2e12)) == pytest.approx(4 * base, rel=2e-3)


def test_winograd_convolutions_need_less_and_other_windows_and_precisions_do_not() -> None:
    base = sustained(board())
    assert sustained(board(), "conv2d", window=3.0) == pytest.approx(2.25 * base, rel=1e-3)
    assert sustained(board(), "conv2d", window=7.0) == pytest.approx(base)
    assert sustained(board(), "conv2d", 1, window=3.0) == pytest.approx(11 * base, rel=1e-3)


def test_a_device_held_below_boost_sustains_more_for_its_power() -> None:
    held = at_clock(board(), torch.tensor([0.5]))
    assert sustained(held) == pytest.approx(2 * sustained(board()), rel=1e-3)


def test_bandwidth_is_the_data_sheets_at_boost_and_falls_with_the_clock_where_units_cannot_ask_for_it() -> None:
    fast, slow_memory = board(peak_bw=1e12), board(peak_bw=1e10)
    shares = [usable_bandwidth(at_clock(fast, torch.tensor([share]))).item() for share in (1.0, 0.5, 0.25, 0.125)]
    assert shares[0] == pytest.approx(1e12)
    assert shares == sorted(shares, reverse=True)
    # Far below, units bound it alone: half the clock, half the bandwidth.
    assert shares[3] / shares[2] == pytest.approx(0.5, rel=0.05)
    assert usable_bandwidth(at_clock(slow_memory, torch.tensor([0.25]))).item() == pytest.approx(1e10, rel=1e-3)


@pytest.mark.parametrize("kind", ["layernorm", "softmax", "elementwise"])
def test_what_is_no_product_is_bounded_by_issue_and_not_by_power(kind: str) -> None:
    table = table_from_kernels([{"layer": 0, "kind": kind, "flops": 1e9, "bytes_moved": 1e9, "precision": 1}], 1)
    assert power_limited_flops(table, board()).isinf().all()
    assert usable_peak(table, board()).item() == pytest.approx(40 * 1500 * 1e6 * 128, rel=1e-3)


def test_a_kernel_that_leaves_units_idle_is_not_throttled_and_one_that_fills_them_is() -> None:
    kernel = {"layer": 0, "kind": "linear", "flops": 1e12, "bytes_moved": 1.0, "precision": 0}
    table, model = table_from_kernels([kernel], 1), LatencyModel([], [])
    rich = replace(board(), tdp_w=torch.tensor([7e3]))
    slowed = {
        share: (
            model.log_compute(torch.tensor([share]).log(), table, board())
            - model.log_compute(torch.tensor([share]).log(), table, rich)
        ).exp()
        for share in (0.2, 0.95)
    }
    assert slowed[0.2].item() < 1.01
    # Limit over rate without it: 4.1 of 7.6 TFLOP/s.
    assert slowed[0.95].item() == pytest.approx(0.95 * nominal_peak(table, rich).item() / sustained(board()), rel=0.02)
