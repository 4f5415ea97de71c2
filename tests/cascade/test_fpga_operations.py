"""The hardware's operations against those they stand in for."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.cascade.fpga_operations import count_nonzero, hard_sigmoid, max_abs, power_of_two_mean, shift_of

VALUES = arrays(np.float64, st.integers(1, 70), elements=st.floats(-1e6, 1e6, width=32))


@given(VALUES)
def test_largest_magnitude_is_the_infinity_norm(values):
    tensor = torch.from_numpy(values)
    assert max_abs(tensor) == torch.linalg.vector_norm(tensor, ord=float("inf"))


@given(arrays(np.int64, st.integers(1, 70), elements=st.integers(-3, 3)))
def test_counting_sees_negative_entries(values):
    assert count_nonzero(torch.from_numpy(values)) == np.count_nonzero(values)


@given(st.integers(1, 4096))
def test_the_shift_is_the_next_power_of_two(length):
    assert 2 ** shift_of(length) >= length > 2 ** (shift_of(length) - 1) or length == 1


@given(VALUES)
def test_the_mean_differs_from_the_true_one_by_a_known_factor(values):
    mean = power_of_two_mean(torch.from_numpy(values))
    assert np.isclose(mean.item(), values.mean() * len(values) / 2 ** shift_of(len(values)), rtol=1e-9, atol=1e-6)


def test_a_power_of_two_mean_is_exact():
    values = torch.randint(-1000, 1000, (5, 32)).double()
    assert torch.equal(power_of_two_mean(values), values.mean(-1))


@given(st.floats(-100, 100))
def test_the_hard_sigmoid_saturates_at_two(value):
    gate = hard_sigmoid(torch.tensor(value)).item()
    assert 0.0 <= gate <= 1.0
    assert gate == 0.0 if value <= -2 else gate == 1.0 if value >= 2 else abs(gate - (value / 4 + 0.5)) < 1e-6
