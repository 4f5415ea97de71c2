"""The nets: true counts, absent electrodes cost nothing, routing is a comparison of logits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.cascade_models import (
    CBAM,
    SIMPLE_VARIANTS,
    ComplexModel,
    SeizureCascade,
    SimpleSingleChannelModel,
    logit_margin,
    margin_of,
    threshold_of,
)
from pipeline.cascade.macs import cascade_macs, complex_macs, parameter_count, simple_macs
from pipeline.cascade.window_features import BANDS_HZ, BandEnergies, WindowStatistics, band_bins


@pytest.mark.parametrize(
    ("variant", "parameters", "macs"),
    [("A", 10_434, 190_960), ("A_lite", 2_786, 62_712), ("B", 130 + 10, 82_192), ("C", 8 + 6, 518)],
)
def test_simple_models_count_what_they_are(variant, parameters, macs):
    model = SimpleSingleChannelModel(variant)
    assert parameter_count(model) == parameters
    assert simple_macs(model) == macs
    assert model(torch.randn(3, 512)).shape == (3, 2)


def test_complex_model_counts_what_it_is():
    assert parameter_count(ComplexModel()) == 78_229
    # 256 steps of 15 taps over 128 electrodes to 32 channels, then everything behind it.
    assert complex_macs() - 256 * 15 * 128 * 32 == complex_macs(1) - 256 * 15 * 32
    assert 16.5e6 < complex_macs() < 16.7e6


def test_the_cascade_costs_the_simple_model_and_its_calls():
    assert cascade_macs(100, 1000, 0.0) == 100
    assert cascade_macs(100, 1000, 1.0) == 1100


def test_absent_electrodes_equal_silent_ones():
    torch.manual_seed(0)
    model = ComplexModel().double().eval()
    signal = torch.randn(4, 20, 512, dtype=torch.float64)
    padded = torch.cat([signal, torch.zeros(4, 108, 512, dtype=torch.float64)], dim=1)
    assert torch.allclose(model(signal), model(padded), atol=1e-12)


def test_bands_the_signal_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="gamma"):
        SimpleSingleChannelModel("B", sample_rate_hz=128.0)
    with pytest.raises(ValueError, match="no bin"):
        band_bins(64, 512.0)


@given(st.floats(0.0, 1 - 1e-9))
def test_threshold_and_margin_are_the_same_rule(threshold):
    assert threshold_of(margin_of(threshold)) == pytest.approx(threshold, abs=1e-9)


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 0.999))
def test_comparing_logits_is_comparing_probabilities(first, second, threshold):
    logits = torch.tensor([[first, second]], dtype=torch.float64)
    difference = (torch.softmax(logits, 1)[0, 1] - torch.softmax(logits, 1)[0, 0]).abs().item()
    if abs(difference - threshold) > 1e-9:
        assert (difference > threshold) == (logit_margin(logits).item() > margin_of(threshold))


def test_a_threshold_of_one_routes_everything():
    assert margin_of(1.0) == math.inf


def test_only_doubtful_windows_reach_the_complex_model():
    torch.manual_seed(1)
    cascade = SeizureCascade("A_lite", torch.ones(6, dtype=torch.bool)).eval()
    signal = torch.randn(16, 6, 512)
    simple = cascade.simple_logits(signal)
    cascade.margin.fill_(logit_margin(simple).median())
    asked = []
    cascade.complex.register_forward_hook(lambda module, inputs, output: asked.append(len(inputs[0])))
    answer = cascade(signal)
    assert asked == [int(answer.routed.sum())]
    assert 0 < asked[0] < 16
    assert torch.equal(answer.logits[~answer.routed], simple[~answer.routed])
    assert answer.complex_logits[~answer.routed].isnan().all()
    assert torch.allclose(answer.logits[answer.routed], cascade.complex_logits(signal)[answer.routed], atol=1e-5)


def test_a_fresh_cascade_asks_about_every_window():
    cascade = SeizureCascade("B", torch.ones(3, dtype=torch.bool)).eval()
    assert cascade(torch.randn(5, 3, 512)).routed.all()


def test_a_masked_electrode_is_silent_in_the_complex_model():
    cascade = SeizureCascade("C", torch.tensor([True, False, True])).eval()
    signal = torch.randn(4, 3, 512)
    before = cascade.complex_logits(signal)
    signal[:, 1] = 1e3
    assert torch.equal(cascade.complex_logits(signal), before)


@pytest.mark.parametrize(
    ("frequency_hz", "band"), [(2, "delta"), (6, "theta"), (10, "alpha"), (20, "beta"), (50, "gamma")]
)
def test_a_sine_has_its_energy_in_its_band(frequency_hz, band):
    time = torch.arange(512) / 512
    energy = BandEnergies(512, 512.0)(torch.sin(2 * torch.pi * frequency_hz * time)[None])[0]
    assert list(BANDS_HZ)[int(energy.argmax())] == band
    assert energy.max().item() == pytest.approx(math.log2(512 / 4), abs=0.01)
    assert energy.sort().values[-2] < 0


def test_bands_are_disjoint_and_within_their_edges():
    bins = band_bins(512, 512.0)
    joined = [k for chosen in bins.values() for k in chosen]
    assert joined == list(range(1, 81))


def test_window_statistics_ignore_the_offset():
    signal = torch.randn(5, 512)
    features = WindowStatistics()
    assert torch.allclose(features(signal), features(signal + 3.0), atol=1e-3)
    assert features(signal)[:, 0] == pytest.approx(signal.var(1, unbiased=False).numpy(), rel=1e-3)


@pytest.mark.parametrize("variant", SIMPLE_VARIANTS)
def test_gradient_reaches_the_signal(variant):
    signal = torch.randn(8, 512, requires_grad=True)
    SimpleSingleChannelModel(variant)(signal)[:, 1].square().sum().backward()
    assert (signal.grad != 0).any()


def test_the_gates_of_cbam_only_weaken():
    values = torch.randn(2, 32, 256)
    gated = CBAM(32)(values)
    assert (gated.abs() <= values.abs()).all()
