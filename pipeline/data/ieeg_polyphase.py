"""The inner loop of resampling, compiled: only what must be multiplied, electrodes side by side."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True)
@no_type_check
def polyphase(samples, taps, up, down, first, count):
    """`count` new samples [F, C] from own samples [N, C] of one stretch.

    New sample k lies at own sample `first` + k down / up; the symmetric low-pass `taps` is sampled at `up` times the
    own rate. Taps that are zero are skipped, as half of them are where the rate is halved. What is not finite spoils
    what the filter reaches from it.
    """
    half = (len(taps) - 1) // 2
    electrodes = samples.shape[1]
    made = np.zeros((count, electrodes), np.float32)
    for new in range(count):
        row = made[new]
        place = first * up + new * down
        for own in range((place - half + up - 1) // up, (place + half) // up + 1):
            weight = taps[half + place - own * up]
            if weight != 0.0:
                given = samples[own]
                for electrode in range(electrodes):
                    row[electrode] += weight * given[electrode]
    return made
