"""Features of one electrode's window for the simple models B and C, in forms that integers reproduce.

The plan's FFT becomes the few rows of the discrete Fourier transform that the bands need: at most 80 frequencies
from a table of 16-bit integers, which costs fewer multiplications than model A and no FFT core.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .fpga_operations import count_nonzero, max_abs, power_of_two_mean

BANDS_HZ = {
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 80.0),
}
TABLE_BITS = 15
# Added before the logarithm: far below one least significant bit of an active electrode, and a flat one stays finite.
ENERGY_FLOOR = 2.0**-10


def band_bins(window_samples: int, sample_rate_hz: float) -> dict[str, list[int]]:
    """Bins of the discrete Fourier transform in each band [low, high), the last band including its upper edge.

    Raises:
        ValueError: a band reaches above half of the sample rate, or the window is too short to resolve it.
    """
    resolution_hz = sample_rate_hz / window_samples
    bins = {}
    for name, (low, high) in BANDS_HZ.items():
        last = name == "gamma"
        if high > sample_rate_hz / 2:
            raise ValueError(f"band {name} up to {high} Hz needs more than {2 * high} samples/s, not {sample_rate_hz}")
        chosen = [
            k
            for k in range(1, window_samples // 2)
            if low <= k * resolution_hz < high or (last and k * resolution_hz == high)
        ]
        if not chosen:
            raise ValueError(f"band {name}: {window_samples} samples at {sample_rate_hz} Hz hold no bin of it")
        bins[name] = chosen
    return bins


def fourier_table(window_samples: int, bins: list[int]) -> Int[Tensor, "T F2"]:
    """Cosines, then sines, of the bins as integers of `TABLE_BITS` fractional bits."""
    largest = 2**TABLE_BITS - 1
    phase = [[2 * math.pi * (k * t % window_samples) / window_samples for k in bins] for t in range(window_samples)]
    rows = [[math.cos(p) for p in row] + [math.sin(p) for p in row] for row in phase]
    return (torch.tensor(rows, dtype=torch.float64) * largest).round().to(torch.int32)


class BandEnergies(nn.Module):
    """log2 energy of one electrode in five bands by an integer Fourier table: [B, T] -> [B, 5]."""

    def __init__(self, window_samples: int, sample_rate_hz: float) -> None:
        super().__init__()
        by_band = band_bins(window_samples, sample_rate_hz)
        bins = [k for chosen in by_band.values() for k in chosen]
        member = torch.zeros(len(bins), len(by_band))
        start = 0
        for column, chosen in enumerate(by_band.values()):
            member[start : start + len(chosen), column] = 1.0
            start += len(chosen)
        self.table: Tensor
        self.member: Tensor
        # Both follow from the settings; stored weights would only be a second truth.
        self.register_buffer("table", fourier_table(window_samples, bins).float(), persistent=False)
        self.register_buffer("member", member, persistent=False)

    def forward(self, signal: Float[Tensor, "B T"]) -> Float[Tensor, "B 5"]:
        """log2(energy + floor), the energy of a unit sine at one bin being about T / 4."""
        product = signal @ self.table * 2.0**-TABLE_BITS
        real, imaginary = product.chunk(2, dim=-1)
        energy = (real.square() + imaginary.square()) @ self.member / signal.shape[-1]
        return torch.log2(energy + ENERGY_FLOOR)

    @property
    def macs(self) -> int:
        """Multiplications of one window: the table's, and two squares per bin."""
        return self.table.numel() + self.table.shape[1]


class WindowStatistics(nn.Module):
    """Variance, peak and rate of zero crossings about the window's mean: [B, T] -> [B, 3]."""

    def forward(self, signal: Float[Tensor, "B T"]) -> Float[Tensor, "B 3"]:
        """Features in the signal's units; only variance and peak carry a gradient."""
        samples = signal.shape[-1]
        centred = signal - signal.mean(-1, keepdim=True)
        positive = (centred >= 0).to(signal.dtype)
        crossings = count_nonzero(positive[:, 1:] - positive[:, :-1]).to(signal.dtype) / samples
        return torch.stack([power_of_two_mean(centred.square()), max_abs(centred), crossings], dim=-1)

    @staticmethod
    def macs(window_samples: int) -> int:
        """Multiplications of one window: its squares."""
        return window_samples
