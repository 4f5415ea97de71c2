"""The features of models B and C as hardware computes them, in float64 that holds every integer involved exactly.

Nothing before them is trained, so they need no gradient.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..cascade.window_features import ENERGY_FLOOR, TABLE_BITS, BandEnergies
from ..errors import DataError
from .integer_model import Format

# Fourier sums are shifted to this many bits, so that their squares and the sum over a band fit an accumulator.
PRODUCT_BITS = 22
LOG2_INDEX_BITS = 8
LOG2_BITS = 10


class ExactBands(nn.Module):
    """`BandEnergies` in integers: Fourier sums, shift, squares, sum by band, logarithm by highest bit and table.

    Args:
        bands: the trained model's.
        window: format of the quantised window.
    """

    def __init__(self, bands: BandEnergies, window: Format) -> None:
        super().__init__()
        self.table: Tensor
        self.log2_table: Tensor
        self.register_buffer("table", bands.table.T.to(torch.int64), persistent=False)
        entries = torch.arange(2**LOG2_INDEX_BITS, dtype=torch.float64)
        # The middle of each cell: what is cut off below is on average half of it.
        logarithm = torch.log2(1.0 + (entries + 0.5) * 2.0**-LOG2_INDEX_BITS) * 2.0**LOG2_BITS
        self.register_buffer("log2_table", logarithm.round().to(torch.int64), persistent=False)
        self.bins_per_band = tuple(int(count) for count in bands.member.sum(0))
        self.window_exponent = window.exponent
        reach = max(-window.low, window.high) * int(self.table.abs().sum(1).max())
        self.product_shift = max(0, reach.bit_length() + 1 - PRODUCT_BITS)
        unit = window.exponent - TABLE_BITS + self.product_shift
        self.floor = max(1, round(ENERGY_FLOOR * window.time * 2.0 ** (-2 * unit)))
        self.offset = round((2 * unit - math.log2(window.time)) * 2**LOG2_BITS)
        self.least_exponent = -LOG2_BITS

    @torch.no_grad()
    def forward(self, signal: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B F 1"]:
        """log2 of the band energies, before rounding to the output's exponent."""
        integers = signal[:, 0].double() * 2.0**-self.window_exponent
        product = (integers @ self.table.double().T * 2.0**-self.product_shift).round()
        cosines, sines = product.square().chunk(2, dim=-1)
        energy = torch.stack([band.sum(-1) for band in (cosines + sines).split(self.bins_per_band, dim=-1)], dim=-1)
        mantissa, exponent = torch.frexp(energy + self.floor)
        entry = ((2.0 * mantissa - 1.0) * 2.0**LOG2_INDEX_BITS).floor().long()
        total = (exponent.double() - 1.0) * 2.0**LOG2_BITS + self.log2_table[entry].double() + self.offset
        return (total * 2.0**-LOG2_BITS).unsqueeze(-1).to(signal.dtype)


class ExactStatistics(nn.Module):
    """`WindowStatistics` in integers; the window's mean is rounded to an integer first.

    Raises:
        DataError: the window's length is not a power of two, so that its mean needs a division.
    """

    def __init__(self, window: Format) -> None:
        super().__init__()
        if window.time & (window.time - 1):
            raise DataError(
                f"data.window_samples={window.time}: the statistics of model C need a power of two; choose A"
            )
        self.window_exponent = window.exponent
        self.halvings = window.time.bit_length() - 1
        own = (2 * window.exponent - self.halvings, window.exponent, -self.halvings)
        self.feature_exponents = own
        self.least_exponent = max(own)

    @torch.no_grad()
    def forward(self, signal: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B F 1"]:
        """Variance, peak and zero crossings, before rounding to the output's exponent."""
        integers = signal[:, 0].double() * 2.0**-self.window_exponent
        centred = integers - (integers.sum(-1, keepdim=True) * 2.0**-self.halvings).round()
        positive = centred >= 0
        crossings = (positive[:, 1:] != positive[:, :-1]).sum(-1).double()
        features = (centred.square().sum(-1), centred.abs().amax(-1), crossings)
        scaled = [value * 2.0**exponent for value, exponent in zip(features, self.feature_exponents, strict=True)]
        return torch.stack(scaled, dim=-1).unsqueeze(-1).to(signal.dtype)
