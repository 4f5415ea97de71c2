"""Rounding, widths and scales against definitions written another way."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.quantised.integer_arithmetic import exponent_of, shift_right, signed_bits, signed_range

WIDE = st.integers(-(2**52), 2**52)


@given(WIDE, st.integers(0, 40))
def test_a_shift_rounds_halves_to_even(value, shift):
    # Python rounds a fraction half to even, exactly.
    assert shift_right(np.array([value]), shift)[0] == round(Fraction(value, 2**shift))


@given(WIDE, WIDE)
def test_bits_hold_both_bounds_and_no_fewer_do(first, second):
    low, high = min(first, second), max(first, second)
    bits = signed_bits(low, high)
    least, largest = signed_range(bits)
    assert least <= low <= high <= largest
    if bits > 1:
        least, largest = signed_range(bits - 1)
        assert low < least or high > largest


@given(st.integers(-60, 60))
def test_a_power_of_two_gives_its_exponent(exponent):
    assert exponent_of(2.0**exponent, "here") == exponent


@pytest.mark.parametrize("scale", [0.0, -0.5, 0.3, 3.0, float("nan"), float("inf")])
def test_any_other_scale_is_refused_by_name(scale):
    with pytest.raises(DataError, match=r"conv_7: .* is not a power of two"):
        exponent_of(scale, "conv_7")
