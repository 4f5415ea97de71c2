"""The inner loop of resampling, compiled: only what must be multiplied, electrodes side by side."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
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
    owns, weights = np.empty(len(taps) + 3, np.int64), np.empty(len(taps) + 3, np.float32)
    for new in range(count):
        place = first * up + new * down
        reached = 0
        for own in range((place - half + up - 1) // up, (place + half) // up + 1):
            weight = taps[half + place - own * up]
            if weight != 0.0:
                owns[reached], weights[reached] = own, weight
                reached += 1
        # Four at a time, so that a sum is loaded and stored once for four; spare ones repeat the last with weight 0.
        for spare in range(reached, reached + 3):
            owns[spare], weights[spare] = owns[reached - 1], np.float32(0.0)
        row = made[new]
        for k in range(0, reached, 4):
            one, two, three, four = samples[owns[k]], samples[owns[k + 1]], samples[owns[k + 2]], samples[owns[k + 3]]
            w_one, w_two, w_three, w_four = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            for electrode in range(electrodes):
                row[electrode] += (
                    w_one * one[electrode]
                    + w_two * two[electrode]
                    + w_three * three[electrode]
                    + w_four * four[electrode]
                )
    return made
