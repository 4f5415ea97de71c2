"""Sound of the demo clips: a tone with three harmonics that beats with the target's motion, and noise.

Pure synthesis; pitches are an octave apart with a third of an octave of spread, so sound alone splits six
classes into three pairs and tells the two classes of a motion apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

SAMPLE_RATE_HZ = 44100
LOWEST_PITCH_HZ = 400.0
PITCH_SPREAD_OCTAVES = 1 / 3
HARMONICS = 3
TONE_AMPLITUDE = 0.35
# The noise level is meant for the band below 8 kHz, which is what analysis at 16 kHz hears; white noise at
# 44.1 kHz spreads over a wider band and needs more power for the same level there.
NOISE_SD = 0.05 * (SAMPLE_RATE_HZ / 16000) ** 0.5


@dataclass(frozen=True)
class Sound:
    """What is drawn once per clip."""

    pitch_hz: float
    tone_amplitude: float
    noise_sd: float


def draw_sound(rng: np.random.Generator, octave: int) -> Sound:
    """Draw a sound around 400 Hz times 2^octave."""
    octaves = octave + PITCH_SPREAD_OCTAVES * rng.standard_normal()
    return Sound(
        float(LOWEST_PITCH_HZ * 2**octaves),
        TONE_AMPLITUDE * rng.uniform(0.3, 1.0),
        NOISE_SD * rng.uniform(0.5, 1.5),
    )


def synthesise(
    rng: np.random.Generator,
    sound: Sound,
    phase_rad: Float[np.ndarray, " S"],
    moving: Bool[np.ndarray, " S"],
) -> Float32[np.ndarray, " S"]:
    """One channel at 44.1 kHz in [-1, 1]; the tone swells twice per oscillation and only while the target moves.

    Args:
        rng: source of the noise.
        sound: pitch and levels.
        phase_rad: angle of the target's oscillation at every sample.
        moving: whether the target moves at every sample.
    """
    n_samples = len(phase_rad)
    noise = rng.standard_normal(n_samples, dtype=np.float32) * np.float32(sound.noise_sd)
    angle = (np.arange(n_samples) * (2 * np.pi * sound.pitch_hz / SAMPLE_RATE_HZ)).astype(np.float32)
    tone = sum(np.sin(angle * np.float32(k)) / np.float32(k) for k in range(1, HARMONICS + 1))
    swell = sound.tone_amplitude * (0.5 + 0.5 * np.cos(2 * phase_rad)) * moving
    return np.clip(swell.astype(np.float32) * tone + noise, -1.0, 1.0)
