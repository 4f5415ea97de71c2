"""Properties of the synthesised sound: pitch, rhythm and level."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.demo_sound import SAMPLE_RATE_HZ, Sound, draw_sound, synthesise

ONE_SECOND = np.zeros(SAMPLE_RATE_HZ)
ALWAYS = np.ones(SAMPLE_RATE_HZ, bool)


@given(seed=st.integers(0, 2**32 - 1), octave=st.integers(0, 2))
def test_class_enters_through_the_octave_only(seed: int, octave: int) -> None:
    low, high = draw_sound(np.random.default_rng(seed), 0), draw_sound(np.random.default_rng(seed), octave)
    assert high.pitch_hz == pytest.approx(low.pitch_hz * 2**octave)
    assert (high.tone_amplitude, high.noise_sd) == (low.tone_amplitude, low.noise_sd)


def test_pitch_and_harmonics_are_where_they_should_be() -> None:
    sound = synthesise(np.random.default_rng(0), Sound(500.0, 0.3, 0.0), ONE_SECOND, ALWAYS)
    spectrum = np.abs(np.fft.rfft(sound)) / (SAMPLE_RATE_HZ / 2)
    np.testing.assert_allclose(spectrum[[500, 1000, 1500]], [0.3, 0.15, 0.1], rtol=1e-3)
    assert np.delete(spectrum, [500, 1000, 1500]).max() < 1e-3


def test_tone_beats_twice_per_oscillation_and_only_while_moving() -> None:
    phase = np.linspace(0, 2 * np.pi, SAMPLE_RATE_HZ)
    moving = np.arange(SAMPLE_RATE_HZ) < SAMPLE_RATE_HZ * 3 // 4
    sound = synthesise(np.random.default_rng(0), Sound(1000.0, 0.3, 0.0), phase, moving)
    assert not sound[~moving].any()
    loudness = np.sqrt(np.mean(sound[: SAMPLE_RATE_HZ // 100 * 100].reshape(100, -1) ** 2, axis=1))
    assert loudness[[0, 49, 50]].min() > 10 * loudness[[24, 25, 74]].max()


def test_noise_level_holds_in_the_analysed_band() -> None:
    rng = np.random.default_rng(0)
    sounds = [draw_sound(rng, 0) for _ in range(200)]
    assert np.mean([sound.noise_sd for sound in sounds]) == pytest.approx(0.05 * (44.1 / 16) ** 0.5, rel=0.06)
    noise = synthesise(rng, Sound(400.0, 0.0, 0.05 * (44.1 / 16) ** 0.5), ONE_SECOND, ALWAYS)
    assert soxr.resample(noise, SAMPLE_RATE_HZ, 16000).std() == pytest.approx(0.05, rel=0.05)


@given(seed=st.integers(0, 1000))
def test_samples_stay_in_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sound = synthesise(rng, draw_sound(rng, seed % 3), np.zeros(4000), np.ones(4000, bool))
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1.0
