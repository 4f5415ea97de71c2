"""The quantised nets in float64 and the integer model say the same, bit for bit, whatever weights and windows hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.cascade_models import SIMPLE_VARIANTS
from pipeline.quantised.accumulators import accumulator_range
from pipeline.quantised.answers import float_route, quantised_logits
from pipeline.quantised.integer_arithmetic import signed_range
from pipeline.quantised.integer_model import WINDOW, Conv1d
from pipeline.quantised.integer_numpy import quantise_windows, run_integer_model, run_layers
from tests.quantised.made_up import (
    CHANNELS,
    ELECTRODE,
    made_up_cascade,
    made_up_quantised,
    made_up_signal,
    with_margin,
)

WIDTHS = ("mixed", "int8", "int16")


def extreme_windows(low: int, high: int) -> np.ndarray:
    """Constant, alternating, impulse and switching windows at both ends of the range."""
    steps = np.arange(512)
    shapes = [np.zeros(512), np.ones(512), steps % 2, steps % 3 == 0, steps < 256, steps == 7, (steps // 8) % 2]
    rows = np.stack(shapes).astype(bool)
    windows = np.concatenate([np.where(rows, high, low), np.where(rows, 0, low), np.where(rows, high, 0)])
    whole = np.repeat(windows[:, None], CHANNELS, axis=1)
    whole[::2, 1::2] = whole[::2, 1::2, ::-1]
    return whole.astype(np.int16)


def assert_same(cascade, model, signal: np.ndarray) -> None:
    simple, complex_ = quantised_logits(cascade, signal)
    integers = run_integer_model(model, quantise_windows(model.input, signal))
    assert np.array_equal(simple, integers.simple * 2.0**model.simple.logits.exponent)
    assert np.array_equal(complex_, integers.complex * 2.0**model.complex.logits.exponent)
    assert np.array_equal(float_route(simple, float(cascade.margin)), integers.routed)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("variant", SIMPLE_VARIANTS)
def test_every_model_and_width_on_ordinary_and_extreme_windows(variant, widths):
    cascade, model = made_up_quantised(variant, widths)
    window = model.input.window
    extreme = extreme_windows(window.low, window.high).astype(np.float64) * 2.0**window.exponent
    signal = np.concatenate([made_up_signal(4, 5).numpy().astype(np.float64), extreme])
    assert_same(cascade, model, signal)


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(SIMPLE_VARIANTS),
    st.sampled_from(WIDTHS),
    st.integers(0, 2**31),
    st.sampled_from([1e-3, 0.1, 1.0, 5.0]),
    st.sampled_from([1e-3, 1.0, 30.0, 1e6]),
    st.sampled_from([0.0, 0.125, 3.0, float("inf")]),
)
def test_small_and_large_weights_and_amplitudes(variant, widths, seed, weight_gain, gain, margin):
    cascade, model = made_up_quantised(variant, widths, seed, weight_gain=weight_gain, margin=margin)
    assert_same(cascade, model, made_up_signal(6, seed, gain=gain).numpy())


@settings(max_examples=4, deadline=None)
@given(st.sampled_from(SIMPLE_VARIANTS), st.integers(0, 2**31))
def test_no_tensor_leaves_its_format_and_no_sum_its_proved_width(variant, seed):
    _, model = made_up_quantised(variant, seed=seed)
    windows = extreme_windows(model.input.window.low, model.input.window.high)
    for network in model.networks:
        formats = {WINDOW: model.input.window}
        tensors = run_layers(network, windows)
        for layer in network.layers:
            inputs = tuple(formats[name] for name in layer.inputs)
            values, formats[layer.name] = tensors[layer.name], layer.output
            assert values.min() >= layer.output.low
            assert values.max() <= layer.output.high
            if isinstance(layer, Conv1d):
                assert_partial_sums_fit(layer, inputs, tensors[layer.inputs[0]])


def assert_partial_sums_fit(layer: Conv1d, inputs, values: np.ndarray) -> None:
    """Running sums of the first output step in two opposite orders, and the worst case that the format allows."""
    low, high = signed_range(layer.accumulator.bits)
    channels = layer.weight.shape[1]
    kernel = layer.weight.shape[2]
    padded = np.pad(values, ((0, 0), (0, 0), (layer.padding, layer.padding)))[:, :channels, :kernel]
    products = (padded * layer.weight[0].astype(np.int64)).reshape(len(values), -1)
    for order in (slice(None), slice(None, None, -1)):
        partial = np.cumsum(np.pad(products[:, order], ((0, 0), (1, 0)), constant_values=layer.bias[0]), axis=1)
        assert partial.min() >= low
        assert partial.max() <= high
    weight = layer.weight.reshape(len(layer.weight), -1).astype(object)
    worst = [
        int(sum(w * (inputs[0].high if w > 0 else inputs[0].low) for w in row)) + int(max(bias, 0))
        for row, bias in zip(weight, layer.bias, strict=True)
    ]
    assert max(worst) == accumulator_range(layer, inputs)[1] <= high


def test_the_simple_network_reads_one_electrode():
    _, model = made_up_quantised("A_lite")
    windows = quantise_windows(model.input, made_up_signal(6, 9).numpy())
    before = run_integer_model(model, windows).simple
    replaced = np.full_like(windows, model.input.window.low)
    replaced[:, ELECTRODE] = windows[:, ELECTRODE]
    assert np.array_equal(run_integer_model(model, replaced).simple, before)


def test_the_route_bit_is_a_comparison_of_integers():
    _, model = made_up_quantised("B")
    windows = quantise_windows(model.input, made_up_signal(12, 3).numpy())
    simple = run_integer_model(model, windows).simple
    distance = np.abs(simple[:, 1] - simple[:, 0])
    for margin in (0, int(distance[0]) - 1, int(distance[0]), int(distance.max())):
        assert np.array_equal(run_integer_model(with_margin(model, margin), windows).routed, distance <= margin)


@pytest.mark.parametrize("variant", SIMPLE_VARIANTS)
def test_every_weight_learns_through_the_rounding(variant):
    cascade, _ = made_up_quantised(variant)
    cascade = cascade.float().train()
    signal = made_up_signal(16, 4)
    (cascade.simple_logits(signal).square().sum() + cascade.complex_logits(signal).square().sum()).backward()
    without = [name for name, weight in cascade.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@torch.no_grad()
def test_sixteen_bits_stay_near_the_trained_logits():
    _, model = made_up_quantised("A", "int16")
    signal = made_up_signal(16, 6)
    trained = made_up_cascade("A").simple_logits(signal)
    integers = run_integer_model(model, quantise_windows(model.input, signal.numpy())).simple
    assert np.abs(integers * 2.0**model.simple.logits.exponent - trained.numpy()).max() < 0.01
