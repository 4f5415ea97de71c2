"""Part 5.4 of the cascade plan: what does a seizure look like in frequency and time on the most separable channel?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from .analysis_separability import SMALLEST, power_spectrum

HIGHEST_HZ = 100.0
STEP_S = 2.0


def spectra(signals: Float[np.ndarray, "N T"], labels: Int[np.ndarray, " N"], rate_hz: float) -> pd.DataFrame:
    """Median power and its quartiles per frequency and class.

    Returns:
        `label`, `frequency_hz`, `power_db`, `low_db`, `high_db` (decibels of unit² / Hz), up to 100 Hz.
    """
    frequency_hz, power = power_spectrum(signals, rate_hz)
    shown = (frequency_hz > 0) & (frequency_hz <= HIGHEST_HZ)
    parts = []
    for label in (0, 1):
        low, middle, high = np.percentile(_decibel(power[labels == label][:, shown]), (25, 50, 75), axis=0)
        columns = {"label": label, "frequency_hz": frequency_hz[shown], "power_db": middle}
        parts.append(pd.DataFrame({**columns, "low_db": low, "high_db": high}))
    return pd.concat(parts, ignore_index=True)


def band_powers(
    signals: Float[np.ndarray, "N T"],
    labels: Int[np.ndarray, " N"],
    rate_hz: float,
    bands_hz: Sequence[tuple[float, float]],
) -> pd.DataFrame:
    """`low_hz`, `high_hz`, median power per class in dB, and `gain_db`: ictal minus interictal."""
    frequency_hz, power = power_spectrum(signals, rate_hz)
    rows = []
    for low, high in bands_hz:
        inside = (frequency_hz >= low) & (frequency_hz < high)
        band_db = _decibel(power[:, inside].sum(-1))
        rest, ictal = (float(np.median(band_db[labels == label])) for label in (0, 1))
        rows.append((low, high, rest, ictal, ictal - rest))
    return pd.DataFrame(rows, columns=["low_hz", "high_hz", "interictal_db", "ictal_db", "gain_db"])


def evolution(
    signals: Float[np.ndarray, "N T"],
    since_onset_s: Float[np.ndarray, " N"],
    baseline: Float[np.ndarray, "M T"],
    rate_hz: float,
    bands_hz: Sequence[tuple[float, float]],
) -> pd.DataFrame:
    """Power of ictal windows against the interictal median, by time since onset and band.

    Args:
        signals: ictal windows.
        since_onset_s: seconds from the onset of their seizure to the window's middle.
        baseline: interictal windows.
        rate_hz: samples per second.
        bands_hz: lower and upper edges.

    Returns:
        `since_onset_s` (start of a step of 2 s), `low_hz`, `high_hz`, `gain_db` (median), `windows`.
    """
    frequency_hz, power = power_spectrum(signals, rate_hz)
    _, rest = power_spectrum(baseline, rate_hz)
    step = np.floor(np.maximum(since_onset_s, 0.0) / STEP_S).astype(int)
    rows = []
    for low, high in bands_hz:
        inside = (frequency_hz >= low) & (frequency_hz < high)
        gain = _decibel(power[:, inside].sum(-1)) - np.median(_decibel(rest[:, inside].sum(-1)))
        for number in np.unique(step).tolist():
            chosen = step == number
            rows.append((number * STEP_S, low, high, float(np.median(gain[chosen])), int(chosen.sum())))
    return pd.DataFrame(rows, columns=["since_onset_s", "low_hz", "high_hz", "gain_db", "windows"])


def _decibel(power: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    return 10.0 * np.log10(np.maximum(power, SMALLEST**2))
