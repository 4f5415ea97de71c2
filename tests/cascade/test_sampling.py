"""Draws of an epoch: all ictal windows, a share of the rest, the same again for the same key."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.sampling import epoch_batches


@given(st.integers(1, 20), st.integers(1, 300), st.integers(2, 40), st.floats(0.5, 8), st.integers(0, 99))
def test_every_ictal_window_is_seen_once(ictal, interictal, batch_size, ratio, seed):
    labels = np.random.default_rng(seed).permutation(np.r_[np.ones(ictal, int), np.zeros(interictal, int)])
    batches = epoch_batches(labels, batch_size, ratio, (seed, 0, 0))
    drawn = np.concatenate([*batches, np.empty(0, int)])
    assert len(np.unique(drawn)) == len(drawn)
    assert all(1 < len(batch) <= batch_size for batch in batches)
    expected = ictal + min(interictal, round(ictal * ratio))
    assert expected - 1 <= len(drawn) <= expected
    assert labels[drawn].sum() >= ictal - 1


def test_an_epoch_is_a_function_of_its_key():
    labels = np.r_[np.ones(10, int), np.zeros(200, int)]
    first, again, other = (np.concatenate(epoch_batches(labels, 16, 4.0, (0, 1, epoch))) for epoch in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(np.sort(first), np.sort(other))
