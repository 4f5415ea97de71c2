"""From window probabilities to alarms and event scores: sensitivity, precision, false alarms per hour, latency.

The rules are those of timescoring's `EventScoring` (Dan et al., SzCORE 2024): events closer than a gap are one, long
ones are split, a seizure counts as found if an alarm touches it within tolerances. Times are seconds from the start
of a recording, on a grid of 10 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Event = tuple[float, float]
GRID_HZ = 10


@dataclass(frozen=True)
class EventRules:
    """How events are merged, split and matched; seconds. The defaults are SzCORE's."""

    tolerance_before_s: float = 30.0
    tolerance_after_s: float = 60.0
    merge_gap_s: float = 90.0
    max_event_s: float = 300.0


@dataclass(frozen=True)
class EventCounts:
    """Counts over recordings; they add up. `latencies_s` has one entry per found seizure."""

    seizures: int
    found: int
    false_alarms: int
    duration_s: float
    latencies_s: tuple[float, ...]

    def __add__(self, other: EventCounts) -> EventCounts:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return EventCounts(*(mine + theirs for mine, theirs in pairs))

    @property
    def sensitivity(self) -> float:
        """Share of seizures found; NaN without a seizure."""
        return self.found / self.seizures if self.seizures else float("nan")

    @property
    def precision(self) -> float:
        """Found seizures over found seizures and false alarms; NaN without an alarm."""
        alarms = self.found + self.false_alarms
        return self.found / alarms if alarms else float("nan")

    @property
    def false_alarms_per_hour(self) -> float:
        """False alarms per hour of recording."""
        return self.false_alarms / (self.duration_s / 3600.0)

    @property
    def median_latency_s(self) -> float:
        """Seconds from a seizure's annotated onset to its alarm, median over found seizures; NaN without one."""
        return float(np.median(self.latencies_s)) if self.latencies_s else float("nan")


NO_EVENTS = EventCounts(0, 0, 0, 0.0, ())


def alarms(
    ictal: Bool[np.ndarray, " N"], start_s: Float[np.ndarray, " N"], window_s: float, votes: int, votes_among: int
) -> list[Event]:
    """Events that a causal vote raises: on while at least `votes` of the last `votes_among` windows are ictal.

    A window speaks at its end, so an alarm starts where the deciding window ends and lasts until the vote falls.
    Windows further apart than twice the usual step (gaps in the recording) start a new vote.

    Args:
        ictal: decision of each window, in order of time.
        start_s: start of each window, ascending.
        window_s: length of a window.
        votes: ictal windows needed.
        votes_among: windows that vote.
    """
    if not len(start_s):
        return []
    step = np.diff(start_s)
    usual = float(np.median(step)) if len(step) else window_s
    runs = np.split(np.arange(len(start_s)), np.flatnonzero(step > 2 * usual) + 1)
    events: list[Event] = []
    for run in runs:
        totals = np.convolve(ictal[run], np.ones(votes_among, dtype=int))[: len(run)]
        on = np.concatenate([[False], totals >= votes, [False]])
        edges = np.flatnonzero(np.diff(on.astype(int)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            last = float(start_s[run[end - 1]]) + window_s + usual
            events.append((float(start_s[run[begin]]) + window_s, last))
    return events


def score_events(
    reference: Sequence[Event], hypothesis: Sequence[Event], duration_s: float, rules: EventRules
) -> EventCounts:
    """Compare alarms with annotated seizures in one recording.

    Latency is measured from the onset of each found (merged) seizure to the first alarm at or after its tolerated
    start; an alarm before the onset counts as 0.
    """
    samples = round(duration_s * GRID_HZ)
    seizures = _split(_merge(reference, rules.merge_gap_s), rules.max_event_s)
    found_alarms = _split(_merge(hypothesis, rules.merge_gap_s), rules.max_event_s)
    alarm_mask = _mask(found_alarms, samples)
    matched = np.zeros(samples, dtype=bool)
    latencies = []
    for onset, offset in seizures:
        begin = max(0.0, onset - rules.tolerance_before_s)
        end = min(samples / GRID_HZ, offset + rules.tolerance_after_s)
        span = slice(round(begin * GRID_HZ), round(end * GRID_HZ))
        touched = np.flatnonzero(alarm_mask[span])
        if len(touched):
            matched[span] = True
            latencies.append(max(0.0, (span.start + int(touched[0])) / GRID_HZ - onset))
    false_alarms = sum(not matched[round(begin * GRID_HZ) : round(end * GRID_HZ)].any() for begin, end in found_alarms)
    return EventCounts(len(seizures), len(latencies), false_alarms, samples / GRID_HZ, tuple(latencies))


def _merge(events: Sequence[Event], gap_s: float) -> list[Event]:
    merged: list[Event] = []
    for onset, offset in events:
        if merged and onset - merged[-1][1] < gap_s:
            merged[-1] = (merged[-1][0], offset)
        else:
            merged.append((onset, offset))
    return merged


def _split(events: list[Event], longest_s: float) -> list[Event]:
    parts = []
    for onset, offset in events:
        while offset - onset > longest_s:
            parts.append((onset, onset + longest_s))
            onset = onset + longest_s
        parts.append((onset, offset))
    return parts


def _mask(events: list[Event], samples: int) -> Bool[np.ndarray, " S"]:
    mask = np.zeros(samples, dtype=bool)
    for onset, offset in events:
        mask[round(onset * GRID_HZ) : round(offset * GRID_HZ)] = True
    return mask
