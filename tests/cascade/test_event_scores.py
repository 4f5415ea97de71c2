"""Event scores are timescoring's own, alarms are causal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.event_scores import NO_EVENTS, EventRules, alarms, score_events

annotations = pytest.importorskip("timescoring.annotations")
scoring = pytest.importorskip("timescoring.scoring")

DURATION_S = 900.0


@st.composite
def events(draw: st.DrawFn) -> list[tuple[float, float]]:
    edges = sorted(draw(st.sets(st.integers(0, 9000), max_size=12)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    return [(begin / 10, end / 10) for begin, end in pairs]


RULES = st.builds(
    EventRules,
    st.sampled_from([0.0, 5.0, 30.0]),
    st.sampled_from([0.0, 60.0]),
    st.sampled_from([1.0, 90.0]),
    st.sampled_from([20.0, 300.0]),
)


@settings(max_examples=300, deadline=None)
@given(events(), events(), RULES)
def test_counts_equal_timescorings(reference, hypothesis, rules):
    ours = score_events(reference, hypothesis, DURATION_S, rules)
    theirs = scoring.EventScoring(
        annotations.Annotation(reference, 10, 9000),
        annotations.Annotation(hypothesis, 10, 9000),
        scoring.EventScoring.Parameters(
            toleranceStart=rules.tolerance_before_s,
            toleranceEnd=rules.tolerance_after_s,
            maxEventDuration=rules.max_event_s,
            minDurationBetweenEvents=rules.merge_gap_s,
        ),
    )
    assert (ours.seizures, ours.found, ours.false_alarms) == (theirs.refTrue, theirs.tp, theirs.fp)
    assert ours.false_alarms_per_hour * 24 == pytest.approx(theirs.fpRate)
    assert ours.sensitivity == pytest.approx(theirs.sensitivity, nan_ok=True)
    assert ours.precision == pytest.approx(theirs.precision, nan_ok=True)


def test_latency_counts_from_the_onset():
    counts = score_events([(100.0, 130.0)], [(104.0, 140.0)], 300.0, EventRules())
    assert counts.latencies_s == (4.0,)
    early = score_events([(100.0, 130.0)], [(80.0, 140.0)], 300.0, EventRules())
    assert early.latencies_s == (0.0,)


def test_counts_add_up():
    one = score_events([(100.0, 130.0)], [(104.0, 140.0)], 300.0, EventRules())
    other = score_events([], [(10.0, 20.0)], 3600.0, EventRules())
    both = one + other + NO_EVENTS
    assert (both.seizures, both.found, both.false_alarms, both.duration_s) == (1, 1, 1, 3900.0)
    assert both.median_latency_s == 4.0


def test_an_alarm_starts_when_the_deciding_window_ends():
    ictal = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0], bool)
    raised = alarms(ictal, np.arange(10.0), 1.0, votes=3, votes_among=5)
    assert raised == [(5.0, 8.0)]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 39))
def test_the_future_changes_no_alarm_already_raised(decisions, cut):
    ictal = np.array(decisions)
    cut = min(cut, len(ictal) - 1)
    changed = ictal.copy()
    changed[cut + 1 :] = ~changed[cut + 1 :]
    now = cut + 1.0
    first, second = (
        [begin for begin, _ in alarms(values, np.arange(float(len(values))), 1.0, 2, 3) if begin <= now]
        for values in (ictal, changed)
    )
    assert first == second


def test_a_gap_in_the_recording_starts_a_new_vote():
    ictal = np.ones(4, bool)
    assert alarms(ictal, np.array([0.0, 1.0, 100.0, 101.0]), 1.0, 3, 5) == []
    assert len(alarms(ictal, np.arange(4.0), 1.0, 3, 5)) == 1
