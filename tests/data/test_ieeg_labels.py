"""Labels of windows: ictal by overlap, guard bands, clusters, thinning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.ieeg_labels import WindowLabel, cluster_spans, followers, label_windows, thin_interictal

STARTS = np.arange(0.0, 60.0)
RULES = {"ictal_overlap": 0.5, "guard_s": 5.0}


def labels(seizures, **changes):
    return label_windows(STARTS, 1.0, seizures, **(RULES | changes))


@given(onset=st.floats(8, 40), length=st.floats(1.5, 12))
def test_a_window_is_ictal_exactly_when_half_of_it_is_covered(onset, length):
    covered = np.clip(np.minimum(STARTS + 1, onset + length) - np.maximum(STARTS, onset), 0, None)
    found = labels([(onset, onset + length)]) == WindowLabel.ICTAL
    assert (found == (covered >= 0.5 - 1e-9)).all()


@given(onset=st.floats(8, 40), length=st.floats(1, 12), guard=st.floats(0.5, 8))
def test_no_interictal_window_lies_within_the_guard(onset, length, guard):
    interictal = STARTS[labels([(onset, onset + length)], guard_s=guard) == WindowLabel.INTERICTAL]
    assert not ((interictal + 1 > onset - guard + 1e-9) & (interictal < onset + length + guard - 1e-9)).any()


def test_windows_far_from_seizures_are_interictal():
    assert (labels([(30.0, 35.0)])[:24] == WindowLabel.INTERICTAL).all()


def test_without_a_guard_every_window_has_a_class():
    assert set(labels([(30.3, 35.7)], guard_s=0.0).tolist()) == {0, 1}


def test_an_onset_on_the_grid_of_samples_counts_its_half_covered_window():
    starts = np.arange(100) * 0.1
    found = label_windows(starts, 1.0, [(3.3, 5.0)], **RULES)
    assert found[28] == WindowLabel.ICTAL  # 2.8 s to 3.8 s: half of it, but not in binary fractions


def test_lead_seizures_count_and_followers_do_not():
    seizures = [(10.0, 12.0), (20.0, 22.0), (100.0, 110.0), (141.0, 150.0)]
    assert followers(seizures, 30.0) == [False, True, False, False]
    assert followers(seizures, 32.0) == [False, True, False, True]


def test_a_cluster_takes_the_time_between_its_seizures_and_the_guard_after_it():
    seizures = [(10.0, 12.0), (20.0, 22.0)]
    spans = cluster_spans(seizures, 30.0, 5.0)
    assert spans == [(12.0, 27.0)]
    found = labels(seizures[:1], left_out_s=spans)
    assert (found[10:12] == WindowLabel.ICTAL).all()
    assert (found[12:27] == WindowLabel.CLUSTER).all()
    assert found[27] == WindowLabel.INTERICTAL


@given(share=st.floats(0.01, 1.0), count=st.integers(1, 400))
def test_thinning_keeps_the_share_evenly_and_no_seizure_is_lost(share, count):
    labels_ = np.tile([0, 1, 0, -1], count)
    thinned = thin_interictal(labels_, share)
    assert (thinned == WindowLabel.ICTAL).sum() == count
    kept = np.flatnonzero(thinned[labels_ == 0] == 0)
    assert len(kept) == pytest.approx(2 * count * share, abs=1)
    if len(kept) > 1:
        assert np.diff(kept).max() <= np.ceil(1 / share)
