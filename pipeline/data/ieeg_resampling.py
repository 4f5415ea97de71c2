"""Blocks of a recording at another sampling rate, equal to resampling the whole of it at once."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from ..errors import DataError
from .ieeg_recording import ReadSamples

RATE_TOLERANCE = 1e-4


def ratio(rate_hz: float, target_hz: float, name: str) -> Fraction:
    """Target over own rate as a fraction with a denominator of at most 1000 (it is off by less than 1e-6).

    Raises:
        DataError: the own rate is below the target.
    """
    if rate_hz < target_hz * (1 - RATE_TOLERANCE):
        raise DataError(
            f"{name}: recorded at {rate_hz:g} Hz, below data.sample_rate_hz={target_hz:g}; resampling cannot add what "
            "was not recorded: lower data.sample_rate_hz"
        )
    return Fraction(target_hz / rate_hz).limit_denominator(1000)


def resampled_length(samples: int, change: Fraction) -> int:
    """Samples of a whole recording after resampling."""
    return math.ceil(samples * change.numerator / change.denominator)


def resampled(read: ReadSamples, samples: int, change: Fraction) -> ReadSamples:
    """A reader of samples [start, stop) at the new rate: float32, or as they are if the rate stays.

    Polyphase low-pass at the lower Nyquist frequency (Kaiser window, beta 5); beyond the recording's ends there is
    silence, as in `scipy.signal.resample_poly`, and the result is the same, in a tenth of the time.

    Args:
        read: samples [start, stop) at the own rate.
        samples: length of the recording at its own rate.
        change: new rate over own rate, at most 1.
    """
    if change == 1:
        return read
    from .ieeg_polyphase import polyphase

    up, down = change.numerator, change.denominator
    taps = _low_pass(up, down)
    margin = math.ceil(len(taps) // 2 / up)

    def read_stretch(start: int, stop: int) -> np.ndarray:
        # A stretch is computed from an own sample that falls on a new one; the margin covers the filter.
        first = start // up * up
        own_first = first // up * down
        own_start, own_stop = own_first - margin, math.ceil(stop * down / up) + margin
        inside = read(max(0, own_start), min(samples, own_stop))
        missing = (max(0, -own_start), max(0, own_stop - samples))
        padded = np.pad(inside, ((0, 0), missing)) if any(missing) else inside
        made = polyphase(np.ascontiguousarray(padded.T), taps, up, down, margin, stop - first)
        return made[start - first :].T

    return read_stretch


def _low_pass(up: int, down: int) -> Float[np.ndarray, " K"]:
    """A symmetric filter at `up` times the own rate; taps that only rounding keeps from zero are zero."""
    from scipy.signal import firwin

    half = 10 * max(up, down)
    taps = firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0)) * up
    return np.where(np.abs(taps) > 1e-9, taps, 0.0).astype(np.float32)


def rounded(read: ReadSamples) -> ReadSamples:
    """A reader of the same samples as 16-bit integers: off by at most half a step of the recorder that gave integers.

    A filter's overshoot is cut at the largest integers.
    """
    limits = np.iinfo(np.int16)

    def read_stretch(start: int, stop: int) -> np.ndarray:
        values = np.rint(read(start, stop))
        return np.clip(values, limits.min, limits.max, out=values).astype(np.int16)

    return read_stretch
