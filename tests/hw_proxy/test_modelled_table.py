"""The modelled table: its formulas, its format, and the proxy that says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.artifacts import read_parquet
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.device_table import devices_from_chips, devices_from_frame
from pipeline.hw_proxy.kernel_shapes import kernel_shapes
from pipeline.hw_proxy.layer_frame import layers_from_frame
from pipeline.hw_proxy.modelled_table import LAUNCH_MS, make_modelled_table, modelled_layers
from pipeline.hw_proxy.roofline_proxy import RooflineProxy


def test_the_table_is_one_that_the_proxies_read(tmp_path: Path):
    chips = load_chip_library().select("default")
    make_modelled_table(chips, tmp_path, count=60)
    layers = read_parquet(tmp_path / "layers.parquet")
    devices = devices_from_frame(pd.read_csv(tmp_path / "devices.csv"))
    assert devices.names == tuple(chip.name for chip in chips)
    assert set(layers["source"]) == {"modelled"}
    assert len(layers_from_frame(layers)) == len(layers)
    assert layers.groupby("device").size().nunique() == 1
    again = tmp_path / "again"
    make_modelled_table(chips, again, count=60)
    pd.testing.assert_frame_equal(layers, read_parquet(again / "layers.parquet"))


def test_shapes_and_costs_agree_with_the_proxies_own_count():
    shapes = kernel_shapes(120, seed=3)
    table = layers_from_frame(shapes.drop(columns=["flops", "bytes"]))
    table = table.select(torch.argsort(table.layer))
    np.testing.assert_allclose(table.flops.numpy(), shapes.flops, rtol=1e-5)
    np.testing.assert_allclose(table.bytes_moved.numpy(), shapes.bytes, rtol=1e-5)


def test_limits_on_size_hold():
    shapes = kernel_shapes(80, max_flops=1e7, max_bytes=1e6, precisions=(0,))
    assert shapes.flops.max() <= 1e7
    assert shapes.bytes.max() <= 1e6
    assert set(shapes.precision) == {0}


def test_every_row_respects_roofline_idle_and_tdp():
    shapes = kernel_shapes(200)
    for chip in load_chip_library().select("default"):
        rows = modelled_layers(shapes, chip)
        peak = np.where(rows.precision == 0, chip.peak_flops_fp32 or chip.peak_flops, chip.peak_flops)
        products = rows.layer_type.isin(["linear", "matmul_batched", "sdpa"])
        bound_ms = 1e3 * np.maximum(np.where(products, rows.flops / peak, 0.0), rows.bytes / chip.peak_bw)
        assert (rows.latency_ms >= bound_ms + LAUNCH_MS).all()
        assert rows.power_w.between(chip.idle_w, chip.tdp_w).all()
        assert (rows.mem_mb > 0).all()


def test_the_roofline_proxy_says_what_the_table_says():
    chips = load_chip_library().select("default")
    shapes = kernel_shapes(60)
    table = layers_from_frame(shapes, dtype=torch.float64)
    devices = devices_from_chips([chip.specs() for chip in chips], dtype=torch.float64)
    predicted = RooflineProxy().predict_segments(table, devices)
    for column, chip in enumerate(chips):
        rows = modelled_layers(shapes, chip)
        np.testing.assert_allclose(predicted["lat_ms"][:, column], rows.latency_ms, rtol=1e-3)
        np.testing.assert_allclose(predicted["power_w"][:, column], rows.power_w, rtol=1e-3)
