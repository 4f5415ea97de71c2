"""What the layers of an integer model take: bit widths, scales, parameters, multiplications, bytes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from jaxtyping import Int

from .integer_model import Conv1d, Format, FourierBands, IntegerModel, IntegerNetwork, Layer, Multiply, WindowStatistics

COLUMNS = [
    "network",
    "layer",
    "kind",
    "channels",
    "time",
    "weight_bits",
    "weight_scale",
    "scale_spread_bits",
    "output_bits",
    "output_scale",
    "accumulator_bits",
    "shift",
    "parameters",
    "macs",
]


def layer_table(model: IntegerModel) -> pd.DataFrame:
    """One row per layer of both networks; weight columns are NaN where a layer has none.

    `scale_spread_bits` is log2 of the largest over the smallest output channel's largest weight: how many bits the
    smallest channel lacks for sharing one scale with the others.
    """
    rows = [_row(network.name, layer) for network in model.networks for layer in network.layers]
    return pd.DataFrame(rows, columns=COLUMNS)


def parameters_of(network: IntegerNetwork) -> int:
    """Weights and biases of a network; tables that follow from the settings are not counted."""
    return sum(_parameters(layer) for layer in network.layers)


def macs_of(network: IntegerNetwork) -> int:
    """Multiplications of one window."""
    return sum(_macs(layer) for layer in network.layers)


def weight_bytes_of(network: IntegerNetwork) -> int:
    """Bytes of weights at their widths, and of biases in as few whole bytes as each layer's need."""
    return sum(_weight_bytes(layer) for layer in network.layers if isinstance(layer, Conv1d))


def _row(network: str, layer: Layer) -> tuple[object, ...]:
    convolution = layer if isinstance(layer, Conv1d) else None
    output: Format = layer.output
    accumulator = getattr(layer, "accumulator", None)
    bits = (
        layer.accumulator_bits if isinstance(layer, WindowStatistics) else accumulator.bits if accumulator else np.nan
    )
    return (
        network,
        layer.name,
        type(layer).__name__,
        output.channels,
        output.time,
        float(convolution.weight_bits) if convolution else np.nan,
        2.0**convolution.weight_exponent if convolution else np.nan,
        _spread(convolution.weight) if convolution else np.nan,
        output.bits,
        2.0**output.exponent,
        bits,
        float(output.exponent - accumulator.exponent) if accumulator else np.nan,
        _parameters(layer),
        _macs(layer),
    )


def _spread(weight: Int[np.ndarray, "F C K"]) -> float:
    peaks = np.abs(weight.astype(np.int64)).max(axis=(1, 2))
    alive = peaks[peaks > 0]
    return math.log2(alive.max() / alive.min()) if len(alive) else 0.0


def _parameters(layer: Layer) -> int:
    return layer.weight.size + layer.bias.size if isinstance(layer, Conv1d) else 0


def _macs(layer: Layer) -> int:
    if isinstance(layer, Conv1d):
        return layer.weight.size * layer.output.time
    if isinstance(layer, Multiply):
        return layer.output.channels * layer.output.time
    if isinstance(layer, FourierBands):
        return layer.table.size + len(layer.table)
    if isinstance(layer, WindowStatistics):
        # One square per sample; the exponent of the zero crossings is minus log2 of the samples.
        return 2 ** (layer.shifts[2] - layer.output.exponent)
    return 0


def _weight_bytes(layer: Conv1d) -> int:
    reach = int(np.abs(layer.bias).max(initial=0)).bit_length() + 1
    return layer.weight.size * layer.weight_bits // 8 + layer.bias.size * -(-reach // 8)
