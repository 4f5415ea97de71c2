"""Scrambled labels carry nothing of the truth."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.scrambled_labels import scramble_labels


@given(st.integers(2, 6), st.integers(1, 30), st.integers(0, 99))
def test_every_class_holds_all_labels_alike(classes: int, per_class: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), per_class))
    scrambled = scramble_labels(labels, np.random.default_rng(seed + 1))
    for label in range(classes):
        counts = np.bincount(scrambled[labels == label], minlength=classes)
        assert counts.sum() == per_class
        assert counts.max() - counts.min() <= 1
    assert np.abs(np.bincount(scrambled, minlength=classes) - per_class).max() <= classes


def test_which_video_gets_which_label_depends_on_the_seed() -> None:
    labels = np.repeat(np.arange(3), 20)
    one, same, other = (scramble_labels(labels, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
