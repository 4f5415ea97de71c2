"""What the layers of an integer network compute, on real values: the pieces of the folded nets as torch modules.

Tensors are [B, channels, time] throughout; a reduced axis keeps length 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..cascade.fpga_operations import hard_sigmoid, shift_of
from .integer_model import Axis

AXES: dict[Axis, int] = {"channels": 1, "time": 2}


class Electrode(nn.Module):
    """One channel of the array."""

    def __init__(self, electrode: int) -> None:
        super().__init__()
        self.electrode = electrode

    def forward(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B 1 T"]:
        """Index; no other channel is read."""
        return signal[:, self.electrode : self.electrode + 1]


class AxisSum(nn.Module):
    """Sum over an axis of `length`; as a `mean` it is divided by the next power of two (`power_of_two_mean`)."""

    def __init__(self, axis: Axis, length: int, *, mean: bool) -> None:
        super().__init__()
        self.axis = axis
        self.halvings = shift_of(length) if mean else 0

    def forward(self, values: Float[Tensor, "B C T"]) -> Float[Tensor, "B ..."]:
        """[B, 1, T] or [B, C, 1]."""
        return values.sum(AXES[self.axis], keepdim=True) * 2.0**-self.halvings


class AxisMaximum(nn.Module):
    """Largest value over an axis."""

    def __init__(self, axis: Axis) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, values: Float[Tensor, "B C T"]) -> Float[Tensor, "B ..."]:
        """[B, 1, T] or [B, C, 1]."""
        return values.amax(AXES[self.axis], keepdim=True)


class Join(nn.Module):
    """Two tensors behind each other along an axis."""

    def __init__(self, axis: Axis) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, first: Float[Tensor, "B ..."], second: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """Concatenate."""
        return torch.cat([first, second], dim=AXES[self.axis])


class Gate(nn.Module):
    """Values times a gate that is repeated along channels or time."""

    def forward(self, values: Float[Tensor, "B C T"], gate: Float[Tensor, "B ..."]) -> Float[Tensor, "B C T"]:
        """Multiply."""
        return values * gate


class GateOpening(nn.Module):
    """The hard sigmoid of slope 1/4."""

    def forward(self, values: Float[Tensor, "B C T"]) -> Float[Tensor, "B C T"]:
        """How far the gate is open, 0 to 1."""
        return hard_sigmoid(values)


class OneElectrode(nn.Module):
    """A feature extractor of one electrode's window as a layer: [B, 1, T] -> [B, features, 1]."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, signal: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B F 1"]:
        """Features of the window."""
        return self.features(signal[:, 0]).unsqueeze(-1)
