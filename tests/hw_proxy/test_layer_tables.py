"""Layers and devices as tables: shapes counted once, kernels of whole layers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.hw_proxy.device_table import devices_from_chips, devices_from_frame
from pipeline.hw_proxy.flops_estimator import LayerCost, attention_flops, mlp_flops
from pipeline.hw_proxy.layer_features import SPEC_FEATURES, build_layer_features
from pipeline.hw_proxy.layer_frame import layers_from_frame
from pipeline.hw_proxy.layer_kernels import layers_from_costs
from pipeline.hw_proxy.layer_table import KERNEL_KINDS, LAYER_TYPES
from pipeline.hw_proxy.measured_table import measured_from_frame
from tests.hw_proxy.made_up import device_frame, measured_frame

CHIP = {"name": "chip", "peak_flops": 1e14, "peak_bw": 1e12, "mem_gb": 24, "area_mm2": 600, "tdp_w": 350}


def _cost(kind: str, tokens: Any, heads: Any, hidden: Any, batch: int = 2, width: int = 64) -> LayerCost:
    flops = attention_flops(tokens, width, heads, 16) if kind == "attention" else mlp_flops(tokens, width, hidden)
    return LayerCost(0, kind, batch * flops, 0, 0, tokens, width, heads, hidden / width)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 300), st.integers(1, 4), st.integers(1, 300))
def test_kernels_of_a_layer_have_its_flops_and_its_kept_sizes(tokens: int, heads: int, hidden: int) -> None:
    table = layers_from_costs([_cost("attention", tokens, heads, 128), _cost("mlp", tokens, 4, hidden)], batch_size=2)
    product = torch.isin(table.kind, torch.tensor([KERNEL_KINDS.index("linear"), KERNEL_KINDS.index("sdpa")]))
    counted = torch.zeros(2).index_add(0, table.layer[product], table.flops[product])
    expected = [2 * attention_flops(tokens, 64, heads, 16), 2 * mlp_flops(tokens, 64, hidden)]
    assert counted.numpy() == pytest.approx(expected, rel=1e-5)
    fused = table.kind == KERNEL_KINDS.index("sdpa")
    assert table.depth[fused].item() == pytest.approx(16, rel=1e-4)
    assert hidden in [pytest.approx(value, rel=1e-4) for value in table.columns.tolist()]


def test_gradients_reach_the_gates_through_costs() -> None:
    tokens, heads, hidden, gate = (torch.tensor(value, requires_grad=True) for value in (50.0, 3.0, 100.0, 1.0))
    costs = [_cost("attention", tokens, heads, torch.tensor(100.0)), _cost("mlp", tokens, heads, hidden)]
    table = layers_from_costs(costs, batch_size=2, keep=[gate, 1.0])
    (table.flops * table.count + table.bytes_moved).sum().backward()
    for leaf in (tokens, heads, hidden, gate):
        assert leaf.grad is not None
        assert leaf.grad.item() > 0.0


def test_flops_and_bytes_missing_from_a_table_are_counted_from_the_shape() -> None:
    frame = measured_frame(("small",), 60)
    given_costs, counted = layers_from_frame(frame), layers_from_frame(frame.drop(columns=["flops", "bytes"]))
    product = given_costs.kind == KERNEL_KINDS.index("linear")
    assert torch.allclose(given_costs.flops[product], counted.flops[product], rtol=1e-6)
    assert torch.allclose(given_costs.bytes_moved[product], counted.bytes_moved[product], rtol=1e-6)


def test_rows_keep_their_order_whatever_their_kind() -> None:
    frame = measured_frame(("small",), 100)
    table = layers_from_frame(frame)
    kinds = [KERNEL_KINDS[number] for number in table.kind.tolist()]
    assert kinds == frame.layer_type.tolist()
    assert table.layer.tolist() == list(range(100))


def test_the_spec_vector_is_the_prefix_of_the_features() -> None:
    layer = {"flops": 999.0, "bytes": 99.0, "layer_type": "mlp", "embed_dim": 512, "num_heads": 8, "mlp_ratio": 2.0}
    features = build_layer_features({**layer, "seq_len": 256, "precision": 1}, CHIP)
    prefix = features[: len(SPEC_FEATURES)]
    assert prefix[:2].tolist() == pytest.approx([np.log10(1000.0), np.log10(100.0)], rel=0.02)
    assert prefix[2:4].tolist() == pytest.approx([14.0, 12.0], rel=1e-6)
    hot = prefix[4 : 4 + len(LAYER_TYPES)]
    assert hot.sum() == 1.0
    assert hot[LAYER_TYPES.index("mlp")] == 1.0
    assert prefix[4 + len(LAYER_TYPES) :].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.25, 1.0])


def test_missing_specs_have_their_stated_fallbacks() -> None:
    table = devices_from_chips([CHIP])
    assert table.num_sm.item() == pytest.approx(80.0)
    assert table.idle_w.item() == pytest.approx(52.5)
    assert table.peak_flops_fp16.item() == table.peak_flops_fp32.item() == pytest.approx(1e14)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer_type": "lstm"}, "unknown layer_type 'lstm'"),
        ({"precision": 7}, "precision=7"),
        ({"latency_ms": float("nan")}, "latency_ms=nan"),
        ({"latency_ms": -1.0}, "latency_ms=-1"),
        ({"device": "unheard"}, "device unheard has no row"),
        ({"B": 0}, "B=0"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    frame = measured_frame(("small",), 20).astype({"latency_ms": float})
    for column, value in change.items():
        frame[column] = [value, *frame[column].tolist()[1:]]
    with pytest.raises(DataError, match=words):
        measured_from_frame(frame, devices_from_frame(device_frame()), "table.parquet")


@pytest.mark.parametrize("column", ["B", "layer_type", "precision"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(DataError, match=column):
        layers_from_frame(measured_frame(("small",), 20).drop(columns=column), table="table.parquet")


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        measured_from_frame(measured_frame(("small",), 20).iloc[:0], devices_from_frame(device_frame()), "t")
    with pytest.raises(DataError, match="no device"):
        devices_from_frame(device_frame().iloc[:0])


@pytest.mark.parametrize("key", ["peak_flops", "peak_bw", "mem_gb", "tdp_w"])
def test_a_chip_without_or_with_zero_specs_is_refused(key: str) -> None:
    with pytest.raises(DataError, match=key):
        devices_from_chips([{name: value for name, value in CHIP.items() if name != key}])
    with pytest.raises(DataError, match=f"{key}=0"):
        devices_from_chips([{**CHIP, key: 0}])


def test_one_device_twice_is_refused() -> None:
    with pytest.raises(DataError, match="two rows"):
        devices_from_frame(pd.concat([device_frame(), device_frame()]))
