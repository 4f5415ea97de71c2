"""The selector: exactly one live electrode when deployed, a gradient to every usable one before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.cascade_models import SIMPLE_VARIANTS, SeizureCascade
from pipeline.cascade.channel_selector import ChannelSelector
from pipeline.cascade.losses import sparsity_loss

CHANNELS = 12


def cascade_with(variant: str, electrode: int) -> SeizureCascade:
    torch.manual_seed(0)
    cascade = SeizureCascade(variant, torch.ones(CHANNELS, dtype=torch.bool))
    cascade.selector.logits.data[electrode] = 1.0
    return cascade.eval()


@pytest.mark.parametrize("variant", SIMPLE_VARIANTS)
@settings(max_examples=25, deadline=None)
@given(
    electrode=st.integers(0, CHANNELS - 1),
    other=st.integers(0, CHANNELS - 1),
    value=st.floats(allow_nan=True, allow_infinity=True, width=32),
    seed=st.integers(0, 2**31),
)
def test_other_electrodes_do_not_change_a_bit_of_the_simple_path(variant, electrode, other, value, seed):
    cascade = cascade_with(variant, electrode)
    signal = torch.randn(3, CHANNELS, 512, generator=torch.Generator().manual_seed(seed))
    before = cascade.simple_logits(signal)
    if other != electrode:
        signal[:, other] = value
        assert torch.equal(cascade.simple_logits(signal), before)
    signal[:, electrode] = signal[:, electrode] * 1.5 + 0.1
    assert not torch.equal(cascade.simple_logits(signal), before)


def test_all_other_electrodes_may_change_at_once():
    cascade = cascade_with("A_lite", 5)
    signal = torch.randn(4, CHANNELS, 512)
    before = cascade.simple_logits(signal)
    replaced = torch.randn_like(signal) * 100
    replaced[:, 5] = signal[:, 5]
    assert torch.equal(cascade.simple_logits(replaced), before)
    assert cascade.selector.live_channels == 1


def test_masked_electrodes_have_no_weight_and_are_never_chosen():
    mask = torch.tensor([False, True, False, True])
    selector = ChannelSelector(4, mask)
    selector.logits.data = torch.tensor([9.0, 0.0, 9.0, 1.0])
    assert selector.electrode == 3
    assert torch.equal(selector.weights() > 0, mask)


def test_no_usable_electrode_is_refused():
    with pytest.raises(ValueError, match="no usable electrode"):
        ChannelSelector(3, torch.zeros(3, dtype=torch.bool))


@pytest.mark.parametrize("hard", [False, True])
def test_training_reaches_every_usable_electrode_and_no_masked_one(hard):
    mask = torch.tensor([True, True, False, True])
    selector = ChannelSelector(4, mask).train()
    selector.hard = hard
    mixed = selector(torch.randn(6, 4, 32), generator=torch.Generator().manual_seed(1))
    (mixed.square().sum() + sparsity_loss(selector.weights())).backward()
    assert (selector.logits.grad[mask] != 0).all()
    assert selector.logits.grad[2] == 0


def test_hard_weights_pass_one_electrode_forward():
    selector = ChannelSelector(5).train()
    selector.hard = True
    signal = torch.randn(8, 5, 16)
    mixed = selector(signal, generator=torch.Generator().manual_seed(0))
    distance = (signal - mixed[:, None]).abs().amax(-1)
    assert (distance.amin(1) < 1e-5).all()


def test_a_cold_selector_is_nearly_hard_and_a_hot_one_even():
    selector = ChannelSelector(4)
    selector.logits.data = torch.tensor([0.0, 1.0, 0.5, -1.0])
    selector.temperature = 0.05
    assert selector.weights().max() > 0.999
    selector.temperature = 100.0
    assert selector.weights().max() < 0.26


def test_choosing_at_run_time_keeps_every_electrode_alive():
    selector = ChannelSelector(3, torch.tensor([True, True, False]), content="run_time").eval()
    selector.content_gain.data.fill_(1.0)
    assert selector.live_channels == 2
    signal = torch.zeros(2, 3, 64)
    signal[0, 0] = torch.randn(64)
    signal[1, 1] = torch.randn(64)
    picked = selector(signal)
    assert torch.equal(picked[0], signal[0, 0])
    assert torch.equal(picked[1], signal[1, 1])


def test_annealed_content_is_gone_when_deployed():
    selector = ChannelSelector(3)
    selector.content_gain.data.fill_(50.0)
    selector.content_scale = 0.0
    assert torch.equal(selector.weights(torch.randn(4, 3, 64)), selector.weights())
