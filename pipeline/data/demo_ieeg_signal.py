"""The signals of generated patients: background, seizures on a few electrodes, and what only looks like one.

A patient has one `focus` electrode, where seizures are loudest but fade for some seconds, and a few `spread`
electrodes, where they are weaker and steady. Outside seizures each of them shows bursts of the seizure's own
rhythm, alone. So one electrode answers most windows, and the faded or bursting rest is told apart by several
together. Decoys look informative and are not: `rhythmic` ones burst whatever the label, `loud` ones are large.
Every electrode has slow waves and muscle noise as large as a seizure, so amplitude alone is not enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from ..config.cascade import RecordingsDemoConfig
from .ieeg_layout import LONG_TERM, demo_format, demo_patient_names

RATE_HZ = 512
SPREAD, RHYTHMIC, LOUD = 4, 2, 2

RAMP_S, FADE_S = 0.5, 2.0
BURST_S = 2.5
FOCUS_LEVEL, FADED_LEVEL = (2.4, 3.4), (0.9, 1.3)
SPREAD_LEVEL = 0.9
FOCUS_BURST_SHARE, FOCUS_BURST_LEVEL = 0.04, (0.7, 1.2)
SPREAD_BURST_SHARE, RHYTHMIC_BURST_SHARE = 0.15, 0.4
ARTEFACT_SHARE, SLOW_LEVEL, MUSCLE_LEVEL = 0.1, (2.0, 4.0), (1.0, 2.0)


@dataclass(frozen=True)
class DemoPatient:
    """One generated patient: the format of its files, and the role of each electrode (in file order)."""

    name: str
    file_format: str
    rate_hz: int
    roles: tuple[str, ...]
    gain_uv: tuple[float, ...]
    identity: tuple[int, int]

    def channels_of(self, role: str) -> list[int]:
        """The electrodes with a role."""
        return [channel for channel, own in enumerate(self.roles) if own == role]


@dataclass(frozen=True)
class DemoRecording:
    """One stretch of signal: electrodes x samples in microvolts, and its seizures as (onset, offset) in seconds."""

    signal_uv: Float[np.ndarray, "C N"]
    seizures_s: list[tuple[float, float]] = field(default_factory=list)


def demo_patients(config: RecordingsDemoConfig) -> list[DemoPatient]:
    """The patients of a demo; formats take turns, the patient in long-term files is recorded at 1024 Hz."""
    return [_patient(config, number) for number in range(config.patients)]


def _patient(config: RecordingsDemoConfig, number: int) -> DemoPatient:
    rng = np.random.default_rng([config.seed, number])
    channels = min(128, config.channels + 4 * (number % 3))
    special = ["focus", *["spread"] * SPREAD, *["rhythmic"] * RHYTHMIC, *["loud"] * LOUD]
    roles = ["background"] * channels
    for channel, role in zip(rng.permutation(channels)[: len(special)].tolist(), special, strict=False):
        roles[channel] = role
    gain_uv = rng.uniform(20.0, 60.0, channels) * np.where(np.array(roles) == "loud", 6.0, 1.0)
    return DemoPatient(
        name=demo_patient_names(config.patients)[number],
        file_format=demo_format(number),
        rate_hz=2 * RATE_HZ if demo_format(number) == LONG_TERM else RATE_HZ,
        roles=tuple(roles),
        gain_uv=tuple(gain_uv.tolist()),
        identity=(config.seed, number),
    )


def demo_recording(
    patient: DemoPatient, index: int, config: RecordingsDemoConfig, *, seizures: int = 1
) -> DemoRecording:
    """The signal of recording `index`: margin, seizure, margin; with several seizures a margin between each two."""
    rng = np.random.default_rng([*patient.identity, 1, index])
    lengths_s = np.round(config.seizure_s * rng.uniform(0.75, 1.25, seizures), 2)
    onsets_s = (
        config.margin_s + np.arange(seizures) * config.margin_s + np.concatenate([[0], np.cumsum(lengths_s)])[:-1]
    )
    spans_s = [(float(onset), float(onset + length)) for onset, length in zip(onsets_s, lengths_s, strict=True)]
    duration_s = (seizures + 1) * config.margin_s + float(lengths_s.sum())
    signal = _background(len(patient.roles), round(duration_s * RATE_HZ), rng)
    for role, share, low, high in (
        ("focus", FOCUS_BURST_SHARE, *FOCUS_BURST_LEVEL),
        ("spread", SPREAD_BURST_SHARE, SPREAD_LEVEL, SPREAD_LEVEL),
        ("rhythmic", RHYTHMIC_BURST_SHARE, *FOCUS_LEVEL),
    ):
        for channel in patient.channels_of(role):
            quiet = spans_s if role != "rhythmic" else []
            _add_bursts(signal[channel], share, (low, high), quiet, rng)
    for channel in range(len(signal)):
        _add_artefacts(signal[channel], spans_s, rng)
    for span_s in spans_s:
        _add_seizure(signal, patient, span_s, rng)
    return DemoRecording(signal * np.array(patient.gain_uv, np.float32)[:, None], spans_s)


def _background(channels: int, samples: int, rng: np.random.Generator) -> Float[np.ndarray, "C N"]:
    """Noise that falls with frequency, one part of it common to all electrodes; each has unit variance."""
    white = rng.standard_normal((channels + 1, samples), dtype=np.float32)
    slow = lfilter(np.array([0.2], np.float32), np.array([1.0, -0.98], np.float32), white, axis=1)
    mixed = 0.8 * slow + 0.6 * np.roll(white, 7, axis=1)
    return np.float32(0.9) * mixed[:-1] + np.float32(0.436) * mixed[-1]


def _rhythm(samples: int, first_hz: float, last_hz: float, rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """A slowing, sharp-cornered oscillation of unit RMS."""
    frequency_hz = np.linspace(first_hz, last_hz, samples)
    phase = 2 * np.pi * (np.cumsum(frequency_hz) / RATE_HZ + rng.uniform())
    wave = np.sin(phase) + 0.5 * np.sin(2 * phase + 0.7) + 0.25 * np.sin(3 * phase + 1.1)
    return (wave / np.sqrt(0.5 * (1 + 0.25 + 0.0625))).astype(np.float32)


def _ramped(samples: int, ramp_s: float) -> Float[np.ndarray, " N"]:
    position = np.arange(samples, dtype=np.float32)
    edge = np.minimum(position + 1, samples - position) / (ramp_s * RATE_HZ)
    return np.minimum(edge, 1.0).astype(np.float32)


def _add_bursts(
    signal: Float[np.ndarray, " N"],
    share: float,
    level: tuple[float, float],
    quiet_s: list[tuple[float, float]],
    rng: np.random.Generator,
) -> None:
    """Add bursts of the seizure's rhythm over `share` of the time, none that touches a quiet span."""
    for start, length in _places(len(signal), share, quiet_s, rng):
        first_hz = rng.uniform(5.0, 11.0)
        wave = _rhythm(length, first_hz, first_hz - 1.0, rng) * _ramped(length, 0.2)
        signal[start : start + length] += np.float32(rng.uniform(*level)) * wave


def _add_artefacts(
    signal: Float[np.ndarray, " N"], quiet_s: list[tuple[float, float]], rng: np.random.Generator
) -> None:
    """Add slow waves and muscle noise: large, and nothing to do with seizures."""
    for start, length in _places(len(signal), ARTEFACT_SHARE, quiet_s, rng):
        if rng.uniform() < 0.5:
            wave = np.float32(rng.uniform(*SLOW_LEVEL)) * _rhythm(length, rng.uniform(0.8, 2.0), 1.0, rng)
        else:
            white = rng.standard_normal(length + 1, dtype=np.float32)
            wave = np.float32(rng.uniform(*MUSCLE_LEVEL)) * np.diff(white)
        signal[start : start + length] += wave * _ramped(length, 0.2)


def _places(
    samples: int, share: float, quiet_s: list[tuple[float, float]], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Starts and lengths, in samples, of bursts over `share` of the time that touch no quiet span."""
    length = min(samples, round(BURST_S * RATE_HZ))
    starts = rng.integers(0, samples - length + 1, rng.poisson(share * samples / length)).tolist()
    return [
        (start, length)
        for start in starts
        if all((start + length) <= onset * RATE_HZ or start >= offset * RATE_HZ for onset, offset in quiet_s)
    ]


def _add_seizure(
    signal: Float[np.ndarray, "C N"], patient: DemoPatient, span_s: tuple[float, float], rng: np.random.Generator
) -> None:
    start, stop = round(span_s[0] * RATE_HZ), round(span_s[1] * RATE_HZ)
    samples = stop - start
    wave = _rhythm(samples, rng.uniform(9.0, 11.0), rng.uniform(4.0, 6.0), rng)
    envelope = _ramped(samples, RAMP_S)
    level = np.full(samples, rng.uniform(*FOCUS_LEVEL), np.float32)
    fade_length = round(FADE_S * RATE_HZ)
    begin = int(rng.integers(samples // 4, max(samples // 4 + 1, samples - fade_length - RATE_HZ)))
    level[begin : begin + fade_length] = rng.uniform(*FADED_LEVEL)
    for channel in patient.channels_of("focus"):
        signal[channel, start:stop] += level * wave * envelope
    for channel in patient.channels_of("spread"):
        lag = int(rng.integers(1, 40))
        signal[channel, start:stop] += SPREAD_LEVEL * np.roll(wave, lag) * envelope
