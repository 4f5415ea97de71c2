"""The trained nets as plain graphs: batch normalisation folded into its neighbour, linear layers as convolutions.

Folding comes before quantisation: what is quantised is what the hardware multiplies with (Jacob et al. 2018, §3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..cascade.cascade_models import CBAM, WINDOW_SAMPLES, ComplexModel, SeizureCascade, SimpleSingleChannelModel
from ..cascade.window_features import BandEnergies
from .integer_model import WINDOW
from .operations import AxisMaximum, AxisSum, Electrode, Gate, GateOpening, Join, OneElectrode

# Which entry of the table of bit widths a layer takes (`widths.py`).
Role = Literal["block_1", "cbam", "depthwise", "pointwise", "classifier", "c1", "c2", "c3", "features"]


@dataclass(frozen=True)
class Node:
    """One layer of a folded net.

    Attributes:
        role: which bit widths it takes.
        relu: its output is clipped at zero.
        exact: its output is its accumulator, nothing is rounded.
        same_scale: its output has the scale of its input, which a later layer counts on.
        before_gate: its output opens a gate, which large values only saturate.
    """

    name: str
    operation: nn.Module
    inputs: tuple[str, ...]
    role: Role
    relu: bool = False
    exact: bool = False
    same_scale: bool = False
    before_gate: bool = False


def fold_simple(cascade: SeizureCascade) -> list[Node]:
    """The simple path: electrode, simple model."""
    model = cascade.simple
    nodes = [Node("electrode", Electrode(cascade.selector.electrode), (WINDOW,), "c1", exact=True)]
    if model.variant in ("A", "A_lite"):
        return nodes + _convolutional(model)
    body: Any = model.body
    features = OneElectrode(model.features)
    nodes.append(Node("features", features, ("electrode",), "features"))
    classifier = _pointwise(model.classifier)
    if isinstance(model.features, BandEnergies):
        hidden = fold_before(body[0], _pointwise(body[1]))
        nodes.append(Node("hidden", hidden, ("features",), "c1", relu=True))
        return [*nodes, Node("classifier", classifier, ("hidden",), "classifier", exact=True)]
    return [*nodes, Node("classifier", fold_before(body, classifier), ("features",), "classifier", exact=True)]


def fold_complex(cascade: SeizureCascade) -> list[Node]:
    """The complex net on the patient's own electrodes; a silenced one has weight zero."""
    model: ComplexModel = cascade.complex
    first: Any = model.block_1
    mask = cascade.selector.mask
    own = nn.Conv1d(len(mask), 32, 15, stride=2, padding=7, bias=False)
    own.weight.data = first[0].weight.detach()[:, : len(mask)] * mask[:, None]
    steps = WINDOW_SAMPLES // 2
    nodes = [Node("block_1", fold_after(own, first[1]), (WINDOW,), "block_1", relu=True)]
    nodes += _attention(model.cbam, "block_1", 32, steps)
    values = "cbam.gated"
    for name in ("block_2", "block_3", "block_4"):
        block = getattr(model, name)
        depthwise, pointwise = f"{name}.depthwise", f"{name}.pointwise"
        nodes.append(Node(depthwise, fold_after(block[0], block[1]), (values,), "depthwise", relu=True))
        nodes.append(Node(pointwise, fold_after(block[3], block[4]), (depthwise,), "pointwise", relu=True))
        values = pointwise
    nodes.append(Node("pool", AxisSum("time", steps // 8, mean=True), (values,), "classifier"))
    return [*nodes, Node("classifier", _pointwise(model.classifier), ("pool",), "classifier", exact=True)]


def run_nodes(nodes: list[Node], window: Float[Tensor, "B C T"]) -> dict[str, Tensor]:
    """Every tensor of a folded net, by name, without any rounding."""
    values = {WINDOW: window}
    for node in nodes:
        result = node.operation(*(values[name] for name in node.inputs))
        values[node.name] = torch.relu(result) if node.relu else result
    return values


def _convolutional(model: SimpleSingleChannelModel) -> list[Node]:
    body: Any = model.body
    first, second, third = (fold_after(body[k], body[k + 1]) for k in (0, 4, 8))
    lengths = [model.window_samples]
    for convolution, pool in ((first, 4), (second, 4), (third, 1)):
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        lengths.append(((lengths[-1] - kernel) // stride + 1) // pool)
    return [
        Node("c1", first, ("electrode",), "c1", relu=True),
        Node("c1.pool", nn.AvgPool1d(4), ("c1",), "c1"),
        Node("c2", second, ("c1.pool",), "c2", relu=True),
        Node("c2.pool", nn.AvgPool1d(4), ("c2",), "c2"),
        Node("c3", third, ("c2.pool",), "c3", relu=True),
        Node("pool", AxisSum("time", lengths[-1], mean=True), ("c3",), "classifier"),
        Node("classifier", _pointwise(model.classifier), ("pool",), "classifier", exact=True),
    ]


def _attention(cbam: CBAM, values: str, channels: int, steps: int) -> list[Node]:
    """CBAM; both poolings pass through one shared net as two steps of one tensor."""
    squeeze, excite = _pointwise(cbam.squeeze), _pointwise(cbam.excite)
    over_time = _copied(cbam.over_time)
    return [
        Node("cbam.mean", AxisSum("time", steps, mean=True), (values,), "cbam", same_scale=True),
        Node("cbam.peak", AxisMaximum("time"), (values,), "cbam", exact=True),
        Node("cbam.pooled", Join("time"), ("cbam.mean", "cbam.peak"), "cbam", exact=True),
        Node("cbam.squeeze", squeeze, ("cbam.pooled",), "cbam", relu=True),
        Node("cbam.excite", excite, ("cbam.squeeze",), "cbam", before_gate=True),
        Node("cbam.both", AxisSum("time", 2, mean=False), ("cbam.excite",), "cbam", before_gate=True),
        Node("cbam.channel_gate", GateOpening(), ("cbam.both",), "cbam"),
        Node("cbam.by_channel", Gate(), (values, "cbam.channel_gate"), "cbam"),
        Node(
            "cbam.mean_channel", AxisSum("channels", channels, mean=True), ("cbam.by_channel",), "cbam", same_scale=True
        ),
        Node("cbam.peak_channel", AxisMaximum("channels"), ("cbam.by_channel",), "cbam", exact=True),
        Node("cbam.summary", Join("channels"), ("cbam.mean_channel", "cbam.peak_channel"), "cbam", exact=True),
        Node("cbam.over_time", over_time, ("cbam.summary",), "cbam", before_gate=True),
        Node("cbam.time_gate", GateOpening(), ("cbam.over_time",), "cbam"),
        Node("cbam.gated", Gate(), ("cbam.by_channel", "cbam.time_gate"), "cbam"),
    ]


@torch.no_grad()
def fold_after(convolution: nn.Conv1d, norm: nn.BatchNorm1d) -> nn.Conv1d:
    """norm(convolution(x)) as one convolution with a bias."""
    gain, shift = _affine(norm)
    folded = _copied(convolution)
    bias = convolution.bias.double() if convolution.bias is not None else torch.zeros_like(gain)
    folded.weight.data = (convolution.weight.double() * gain[:, None, None]).float()
    folded.bias = nn.Parameter((bias * gain + shift).float())
    return folded


@torch.no_grad()
def fold_before(norm: nn.BatchNorm1d, pointwise: nn.Conv1d) -> nn.Conv1d:
    """pointwise(norm(x)) as one convolution; without padding, so the shift is the same everywhere."""
    gain, shift = _affine(norm)
    weight, bias = pointwise.weight.double(), pointwise.bias
    if bias is None:
        raise ValueError("a layer to fold into needs a bias")
    folded = _copied(pointwise)
    folded.weight.data = (weight * gain[None, :, None]).float()
    folded.bias = nn.Parameter((bias.double() + weight[:, :, 0] @ shift).float())
    return folded


def _affine(norm: nn.BatchNorm1d) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("batch normalisation without statistics cannot be folded")
    gain = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return gain, norm.bias.double() - gain * mean.double()


def _copied(convolution: nn.Conv1d) -> nn.Conv1d:
    copy = nn.Conv1d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size[0],
        stride=convolution.stride[0],
        padding=int(convolution.padding[0]),
        groups=convolution.groups,
        bias=convolution.bias is not None,
    )
    copy.load_state_dict(convolution.state_dict())
    return copy


@torch.no_grad()
def _pointwise(linear: nn.Linear) -> nn.Conv1d:
    layer = nn.Conv1d(linear.in_features, linear.out_features, 1)
    layer.weight.data = linear.weight.detach().unsqueeze(-1).clone()
    layer.bias = nn.Parameter(linear.bias.detach().clone())
    return layer
