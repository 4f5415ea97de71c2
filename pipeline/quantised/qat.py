"""The cascade under quantisation-aware training: the folded nets with Brevitas quantisers of fixed power-of-two scale.

Every tensor lies on the grid that the integer network computes on. In float64 nothing is rounded but where hardware
rounds, so the logits are those of the integer network, bit for bit; in float32, for training, nearly so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..cascade.cascade_models import SeizureCascade
from ..cascade.window_features import BandEnergies
from ..errors import DataError
from .exact_features import ExactBands, ExactStatistics
from .folding import Node, fold_complex, fold_simple
from .integer_arithmetic import signed_range
from .integer_model import WINDOW, Format
from .operations import AxisMaximum, AxisSum, Electrode, Gate, GateOpening, Join, OneElectrode
from .quantisers import activation_quantiser, best_exponent, quantised_convolution
from .widths import INPUT_BITS, Widths, bits_of_role

# Inputs of a gate beyond 8 saturate; a gate is open or shut from 2 on.
GATE_RANGE_BITS = 4
# Standardised samples finer than this carry noise of the converter only.
LEAST_INPUT_EXPONENT = -14


@dataclass(frozen=True)
class QuantisedNode:
    """How a layer reads and writes: formats of its inputs and output, and the unit of its accumulator."""

    node: Node
    inputs: tuple[Format, ...]
    output: Format
    accumulator_exponent: int
    bits: int


class QuantisedNetwork(nn.Module):
    """One folded net on integer grids: [B, C, T] on the window's grid -> logits [B, 2].

    Layer k is `operations[k]`, then `quantisers[k]`; `plan[k]` describes it.
    """

    def __init__(self, plan: list[QuantisedNode], operations: list[nn.Module], quantisers: list[nn.Module]) -> None:
        super().__init__()
        self.plan = plan
        self.operations = nn.ModuleList(operations)
        self.quantisers = nn.ModuleList(quantisers)

    def forward(self, window: Float[Tensor, "B C T"]) -> Float[Tensor, "B 2"]:
        """Logits of (interictal, ictal)."""
        return self.tensors(window)[self.plan[-1].node.name][:, :, 0]

    def tensors(self, window: Float[Tensor, "B C T"]) -> dict[str, Tensor]:
        """Every tensor, by the name of its layer."""
        values = {WINDOW: window}
        for layer, operation, quantiser in zip(self.plan, self.operations, self.quantisers, strict=True):
            values[layer.node.name] = quantiser(operation(*(values[name] for name in layer.node.inputs)))
        return values

    @property
    def classifier_bias(self) -> Tensor:
        """The bias of the last layer, one entry per class."""
        return cast(Tensor, self.operations[-1].bias)


class QuantisedCascade(nn.Module):
    """Both networks on one quantised window; the electrode is an index, the margin compares logits.

    Attributes:
        window: format of the quantised input.
        margin: in logits; infinite where every window goes to the complex network.
    """

    def __init__(self, window: Format, simple: QuantisedNetwork, complex_: QuantisedNetwork) -> None:
        super().__init__()
        self.window = window
        self.input = activation_quantiser(window.exponent, window.bits, relu=False)
        self.simple = simple
        self.complex = complex_
        self.margin: Tensor
        self.register_buffer("margin", torch.tensor(math.inf))

    def simple_logits(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B 2"]:
        """Logits of the simple network for standardised windows."""
        return self.simple(self.input(signal))

    def complex_logits(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B 2"]:
        """Logits of the complex network, whether a window needs it or not."""
        return self.complex(self.input(signal))


def quantise_cascade(cascade: SeizureCascade, widths: Widths, signal: Float[Tensor, "N C T"]) -> QuantisedCascade:
    """Fold the trained nets and put them on integer grids, scales being found on `signal`.

    Args:
        cascade: trained, in evaluation mode.
        widths: which table of bit widths.
        signal: standardised training windows.

    Raises:
        DataError: the electrode is chosen at run time, or a net cannot be computed with shifts alone.
    """
    if cascade.selector.content == "run_time":
        raise DataError("model.content=run_time keeps every electrode alive and has no integer form; use annealed")
    bits = INPUT_BITS[widths]
    exponent = best_exponent(signal, bits, LEAST_INPUT_EXPONENT)
    low, high = signed_range(bits)
    window = Format(signal.shape[1], signal.shape[2], exponent, bits, low, high)
    quantised = activation_quantiser(exponent, bits, relu=False)(signal.double())
    simple, complex_ = (
        quantise_network(nodes, widths, window, quantised) for nodes in (fold_simple(cascade), fold_complex(cascade))
    )
    return QuantisedCascade(window, simple, complex_)


@torch.no_grad()
def quantise_network(
    nodes: list[Node], widths: Widths, window: Format, quantised: Float[Tensor, "N C T"]
) -> QuantisedNetwork:
    """Put a folded net on integer grids, layer by layer: each layer's scale is found on what it really receives."""
    values, formats = {WINDOW: quantised}, {WINDOW: window}
    plan: list[QuantisedNode] = []
    operations: list[nn.Module] = []
    quantisers: list[nn.Module] = []
    for node in nodes:
        inputs = tuple(formats[name] for name in node.inputs)
        bits = bits_of_role(widths, node.role)
        operation, unit = _on_grid(node, inputs, bits)
        result = operation.double()(*(values[name] for name in node.inputs))
        output = _output_format(node, inputs, result, bits, unit)
        quantiser: nn.Module = nn.Identity()
        if not node.exact:
            quantiser = activation_quantiser(output.exponent, output.bits, relu=node.relu)
        values[node.name], formats[node.name] = quantiser(result), output
        plan.append(QuantisedNode(node, inputs, output, unit, bits))
        operations.append(operation.float())
        quantisers.append(quantiser)
    return QuantisedNetwork(plan, operations, quantisers)


def _on_grid(node: Node, inputs: tuple[Format, ...], bits: int) -> tuple[nn.Module, int]:
    """The layer's operation on integer grids, and the exponent of its accumulator."""
    operation, first = node.operation, inputs[0].exponent
    if isinstance(operation, nn.Conv1d):
        exponent = best_exponent(operation.weight, bits)
        return quantised_convolution(operation, exponent, bits, first + exponent), first + exponent
    if isinstance(operation, OneElectrode):
        features = operation.features
        exact: Any = (
            ExactBands(features, inputs[0]) if isinstance(features, BandEnergies) else ExactStatistics(inputs[0])
        )
        return exact, exact.least_exponent
    if isinstance(operation, nn.AvgPool1d):
        return operation, first - 2
    if isinstance(operation, AxisSum):
        return operation, first - operation.halvings
    if isinstance(operation, GateOpening):
        return operation, first - 2
    if isinstance(operation, Gate):
        return operation, first + inputs[1].exponent
    if isinstance(operation, Electrode | AxisMaximum | Join):
        return operation, first
    raise DataError(f"layer {node.name}: {type(operation).__name__} has no integer form")


def _output_format(node: Node, inputs: tuple[Format, ...], result: Tensor, bits: int, unit: int) -> Format:
    channels, time = result.shape[1:]
    if isinstance(node.operation, nn.Conv1d) and node.exact:
        # Logits are the accumulator itself; its proved range is found when the integer network is built.
        return Format(channels, time, unit, 0, 0, 0)
    if node.exact:
        low, high = min(v.low for v in inputs), max(v.high for v in inputs)
        return Format(channels, time, inputs[0].exponent, max(v.bits for v in inputs), low, high)
    low, high = signed_range(bits)
    if isinstance(node.operation, GateOpening):
        exponent = max(2 - bits, unit)
        if exponent > 0:
            raise DataError(f"layer {node.name}: its input's scale 2**{unit + 2} leaves a gate nothing between 0 and 1")
        return Format(channels, time, exponent, bits, 0, 2**-exponent)
    if node.same_scale:
        exponent = inputs[0].exponent
    else:
        exponent = best_exponent(torch.relu(result) if node.relu else result, bits, unit)
    if node.before_gate:
        exponent = max(unit, min(exponent, GATE_RANGE_BITS - bits))
    convolution = isinstance(node.operation, nn.Conv1d | OneElectrode)
    never_negative = node.relu or (not convolution and all(values.low >= 0 for values in inputs))
    return Format(channels, time, exponent, bits, 0 if never_negative else low, high)
