"""The two nets of the cascade and the rule that hands a window from one to the other.

Every operation has an exact integer form: pooling divides by powers of two, gates are hard sigmoids of slope 1/4,
normalisation is batch normalisation and folds into its neighbour. Counts of parameters and multiplications are
those of the built nets, not of the plan's estimates (`macs.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .channel_selector import ChannelSelector
from .fpga_operations import PowerOfTwoMean, hard_sigmoid, power_of_two_mean
from .window_features import BandEnergies, WindowStatistics

SimpleVariant = Literal["A", "A_lite", "B", "C"]
SIMPLE_VARIANTS: tuple[SimpleVariant, ...] = get_args(SimpleVariant)
WINDOW_SAMPLES = 512
ARRAY_CHANNELS = 128
WIDTHS = {"A": (16, 32, 64), "A_lite": (8, 16, 32)}


class SimpleSingleChannelModel(nn.Module):
    """A classifier of one electrode's window: [B, T] -> logits [B, 2] (cascade plan, part 2).

    - `A`: three convolutions of 16, 32, 64 channels as the plan lists them (10,434 parameters, not about 2,500).
    - `A_lite`: the same layers at half the width.
    - `B`: log energies of five bands by an integer Fourier table, then 5 -> 16 -> 2.
    - `C`: variance, peak and zero crossings, then 3 -> 2.

    Raises:
        ValueError: the sample rate is too low for B's bands, or the window too short.
    """

    def __init__(
        self,
        variant: SimpleVariant,
        *,
        window_samples: int = WINDOW_SAMPLES,
        sample_rate_hz: float = 512.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.variant: SimpleVariant = variant
        self.window_samples = window_samples
        if variant == "B":
            self.features: nn.Module = BandEnergies(window_samples, sample_rate_hz)
            self.body: nn.Module = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 16), nn.ReLU())
            self.classifier = nn.Linear(16, 2)
        elif variant == "C":
            self.features = WindowStatistics()
            self.body = nn.BatchNorm1d(3)
            self.classifier = nn.Linear(3, 2)
        else:
            self.features = nn.Unflatten(-1, (1, window_samples))
            self.body = _convolutions(WIDTHS[variant], dropout)
            self.classifier = nn.Linear(WIDTHS[variant][-1], 2)

    def forward(self, signal: Float[Tensor, "B T"]) -> Float[Tensor, "B 2"]:
        """Logits of (interictal, ictal)."""
        return self.classifier(self.body(self.features(signal)))


def _convolutions(widths: tuple[int, int, int], dropout: float) -> nn.Sequential:
    first, second, third = widths
    return nn.Sequential(
        *(nn.Conv1d(1, first, 15, stride=2), nn.BatchNorm1d(first), nn.ReLU(), nn.AvgPool1d(4)),
        *(nn.Conv1d(first, second, 7, stride=2), nn.BatchNorm1d(second), nn.ReLU(), nn.AvgPool1d(4)),
        *(nn.Conv1d(second, third, 3), nn.BatchNorm1d(third), nn.ReLU(), PowerOfTwoMean()),
        nn.Dropout(dropout),
    )


class ArrayConvolution(nn.Conv1d):
    """The first convolution of the complex model, built for the whole array.

    A patient with fewer electrodes fills the leading ones; the rest are zero and are not computed.
    """

    def forward(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B F U"]:
        """Convolve with the weights of the electrodes that `signal` has."""
        weight = self.weight[:, : signal.shape[1]]
        return nn.functional.conv1d(signal, weight, self.bias, self.stride, self.padding)


class CBAM(nn.Module):
    """Convolutional block attention (Woo et al. 2018) in shifts: channel gate, then gate over time.

    The channel gate shares one MLP between the mean and the maximum over time; the gate over time reads mean and
    maximum over channels. Gates are hard sigmoids of slope 1/4; both means are over powers of two.
    """

    def __init__(self, channels: int, reduction: int = 8, kernel: int = 7) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)
        self.over_time = nn.Conv1d(2, 1, kernel, padding=kernel // 2)

    def forward(self, values: Float[Tensor, "B F T"]) -> Float[Tensor, "B F T"]:
        """Gated values."""
        mean, peak = power_of_two_mean(values), values.amax(-1)
        gate = hard_sigmoid(self._shared(mean) + self._shared(peak))
        values = values * gate.unsqueeze(-1)
        summary = torch.stack([power_of_two_mean(values.transpose(1, 2)), values.amax(1)], dim=1)
        return values * hard_sigmoid(self.over_time(summary))

    def _shared(self, pooled: Float[Tensor, "B F"]) -> Float[Tensor, "B F"]:
        return self.excite(torch.relu(self.squeeze(pooled)))


class ComplexModel(nn.Module):
    """The CNN that sees all electrodes: [B, C, T] with C <= `channels` -> logits [B, 2].

    block_1 Conv1d(128 -> 32, k 15, s 2), CBAM, depthwise-separable blocks 2-4 (64, 64, 128 channels, k 7, 7, 5, s 2),
    mean over time, classifier. A reconstruction: the plan names these parts and refers to code that it does not
    contain. 78,229 parameters and 16.59 M multiplications at 128 electrodes.
    """

    def __init__(self, channels: int = ARRAY_CHANNELS) -> None:
        super().__init__()
        convolution = ArrayConvolution(channels, 32, 15, stride=2, padding=7, bias=False)
        self.block_1 = nn.Sequential(convolution, nn.BatchNorm1d(32), nn.ReLU())
        self.cbam = CBAM(32)
        self.block_2 = _depthwise_block(32, 64, 7)
        self.block_3 = _depthwise_block(64, 64, 7)
        self.block_4 = _depthwise_block(64, 128, 5)
        self.pool = PowerOfTwoMean()
        self.classifier = nn.Linear(128, 2)

    def forward(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B 2"]:
        """Logits of (interictal, ictal)."""
        values = self.cbam(self.block_1(signal))
        return self.classifier(self.pool(self.block_4(self.block_3(self.block_2(values)))))


def _depthwise_block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    depthwise = nn.Conv1d(inputs, inputs, kernel, stride=2, padding=kernel // 2, groups=inputs, bias=False)
    pointwise = nn.Conv1d(inputs, outputs, 1, bias=False)
    return nn.Sequential(
        *(depthwise, nn.BatchNorm1d(inputs), nn.ReLU()),
        *(pointwise, nn.BatchNorm1d(outputs), nn.ReLU()),
    )


def margin_of(threshold: float) -> float:
    """The logit margin that a difference of probabilities stands for.

    For two classes |p1 - p0| = tanh(|l1 - l0| / 2), so |p1 - p0| > tau exactly where |l1 - l0| > 2 artanh(tau): the
    hardware compares logits and needs no softmax. A threshold of 1 asks the complex model about every window.
    """
    return 2.0 * math.atanh(threshold) if threshold < 1.0 else math.inf


def threshold_of(margin: float) -> float:
    """The tau of a logit margin; inverse of `margin_of`."""
    return math.tanh(margin / 2.0)


def logit_margin(logits: Float[Tensor, "B 2"]) -> Float[Tensor, " B"]:
    """|l1 - l0|."""
    return (logits[:, 1] - logits[:, 0]).abs()


@dataclass(frozen=True)
class CascadeOutput:
    """What the cascade says about a batch; `complex_logits` are NaN where the complex model was not asked."""

    logits: Float[Tensor, "B 2"]
    simple_logits: Float[Tensor, "B 2"]
    complex_logits: Float[Tensor, "B 2"]
    routed: Bool[Tensor, " B"]


class SeizureCascade(nn.Module):
    """Electrode, simple model, threshold, complex model (cascade plan, architecture).

    Args:
        variant: the simple model.
        mask: usable electrodes of the patient, at most `ARRAY_CHANNELS`.
        content: see `ChannelSelector`.
        sample_rate_hz: of the windows.
        dropout: of the simple model.
    """

    def __init__(
        self,
        variant: SimpleVariant,
        mask: Bool[Tensor, " C"],
        *,
        content: Literal["annealed", "run_time", "none"] = "annealed",
        sample_rate_hz: float = 512.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        # First, so that under one seed it starts from the same weights as the baseline it is compared with.
        self.complex = ComplexModel()
        self.selector = ChannelSelector(len(mask), mask, content)
        self.simple = SimpleSingleChannelModel(variant, sample_rate_hz=sample_rate_hz, dropout=dropout)
        self.margin: Tensor
        self.register_buffer("margin", torch.tensor(math.inf))

    def simple_logits(
        self, signal: Float[Tensor, "B C T"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 2"]:
        """Logits of the simple path."""
        return self.simple(self.selector(signal, generator=generator))

    def complex_logits(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B 2"]:
        """Logits of the complex model, whether a window needs it or not; masked electrodes are silenced."""
        return self.complex(signal * self.selector.mask[:, None])

    @torch.no_grad()
    def forward(self, signal: Float[Tensor, "B C T"]) -> CascadeOutput:
        """Classify; the complex model runs on the routed windows alone."""
        simple = self.simple_logits(signal)
        routed = ~(logit_margin(simple) > self.margin)
        complex_logits = torch.full_like(simple, float("nan"))
        if routed.any():
            complex_logits[routed] = self.complex_logits(signal[routed])
        return CascadeOutput(torch.where(routed[:, None], complex_logits, simple), simple, complex_logits, routed)
