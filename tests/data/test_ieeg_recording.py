"""Short stretches come from whole blocks, each read once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.ieeg_recording import one_ahead, read_in_blocks

SIGNAL = np.arange(2 * 1000).reshape(2, 1000)


@given(st.integers(1, 1200), st.lists(st.tuples(st.integers(0, 999), st.integers(1, 400)), min_size=1, max_size=8))
def test_any_stretch_is_what_the_recording_holds(block, stretches):
    read = read_in_blocks(lambda start, stop: SIGNAL[:, start:stop], 1000, block)
    for start, length in stretches:
        stop = min(1000, start + length)
        np.testing.assert_array_equal(read(start, stop), SIGNAL[:, start:stop])


def test_stretches_that_follow_each_other_read_every_block_once():
    asked = []

    def fetch(start, stop):
        asked.append((start, stop))
        return SIGNAL[:, start:stop]

    read = read_in_blocks(fetch, 1000, 300)
    # Each stretch begins before the last one ended, as windows under a filter do.
    for start in range(0, 1000, 50):
        read(max(0, start - 20), min(1000, start + 70))
    assert asked == [(0, 300), (300, 600), (600, 900), (900, 1000)]


@given(st.lists(st.integers()))
def test_items_made_ahead_are_the_same_items(items):
    assert list(one_ahead(iter(items))) == items


def test_one_item_is_made_ahead_and_no_more_and_its_error_arrives_in_its_place():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            if number == 3:
                raise OSError("cut short")
            yield number

    ahead = one_ahead(items())
    assert next(ahead) == 0
    assert next(ahead) == 1
    assert made in ([0, 1], [0, 1, 2])
    assert next(ahead) == 2
    with pytest.raises(OSError, match="cut short"):
        next(ahead)
