"""The few scalar rules of integer arithmetic that every back end follows."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int

from ..errors import DataError


def exponent_of(scale: float, name: str) -> int:
    """The k of a scale 2**k.

    Raises:
        DataError: the scale is not a power of two; `name` says whose it is.
    """
    mantissa, exponent = math.frexp(scale) if math.isfinite(scale) else (0.0, 0)
    if mantissa != 0.5:
        raise DataError(f"{name}: scale {scale!r} is not a power of two; quantise with power-of-two scales")
    return exponent - 1


def shift_right(values: Int[np.ndarray, "*shape"], shift: int) -> Int[np.ndarray, "*shape"]:
    """values / 2**shift rounded to the nearest integer, halves to the even one; int64 in and out."""
    if shift == 0:
        return values
    floor = values >> shift
    remainder = values - (floor << shift)
    half = 1 << (shift - 1)
    return floor + ((remainder > half) | ((remainder == half) & ((floor & 1) == 1)))


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement number that holds both."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1


def signed_range(bits: int) -> tuple[int, int]:
    """Least and largest two's complement number of `bits`."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
