"""The program of the serial engine in hardware: the passes that its sequencer walks through, and their memory images.

Every pass is a set of nested loops over (output, position, input channel, tap); what differs between convolution,
pooling, Fourier sum and statistics are counts, address steps and operands, so that one multiplier does them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Int
from numpy import ndarray

# From the last operand to the output in memory, and the cycles that a layer and a window cost beside it.
DRAIN_CYCLES = 8
LOAD_CYCLES = 1
RESULT_CYCLES = 2
LOGARITHM_CYCLES = 4


class Operand(IntEnum):
    """What the multiplier reads beside a value (`rtl/operand_select.v`)."""

    WIDE = 0
    NARROW = 1
    ONE = 2
    SQUARE = 3
    CENTRED_SQUARE = 4
    CENTRED_MAGNITUDE = 5
    CENTRED_SIGN_CHANGE = 6


WEIGHTS = (Operand.WIDE, Operand.NARROW)
CENTRED = (Operand.CENTRED_SQUARE, Operand.CENTRED_MAGNITUDE, Operand.CENTRED_SIGN_CHANGE)


@dataclass(frozen=True)
class EnginePass:
    """y[o, p] = requantise(bias[o] + sum over (c, k) of operand[o, c, k] * x[address(o, p, c, k)]).

    address = x_base + o * output_step + p * position_step + c * channel_step + k. Weights lie in the order of the
    loops and are read again for every position.

    Attributes:
        name: of the integer model's layer.
        x_base, y_base: addresses; in the window or, of `region` 1 - region and region, in the activations.
        region: half of the activation memory that is written; the next pass reads it.
        weights: [outputs, channels * taps]; of a `wave` [period] of the waveform, read in steps of the frequency,
            which is `first_frequency` for the first output and one more for each that follows.
        biases: [outputs] on the accumulator's grid, or None.
        sum_bits: proved two's complement bits of every partial sum.
        shift, low, high: of the requantisation; logits have none.
        maximum: the largest product instead of their sum.
        logarithm: binary logarithm of the sum before requantisation.
        to_mean: the output is what centred operands are centred by.
    """

    name: str
    outputs: int
    positions: int
    channels: int
    taps: int
    operand: Operand
    sum_bits: int
    x_base: int = 0
    y_base: int = 0
    region: int = 0
    output_step: int = 0
    position_step: int = 0
    channel_step: int = 0
    weights: Int[ndarray, "O K"] | None = None
    biases: tuple[int, ...] | None = None
    shift: int = 0
    low: int = 0
    high: int = 0
    reads_window: bool = False
    wave: bool = False
    first_frequency: int = 0
    maximum: bool = False
    logarithm: bool = False
    to_mean: bool = False
    to_logits: bool = False

    @property
    def products(self) -> int:
        """Operand pairs, one a cycle."""
        return self.outputs * self.positions * self.channels * self.taps


@dataclass(frozen=True)
class Memories:
    """Images of the weight and bias memories, and where each pass's part starts.

    `weight_starts` count weights, not words: a narrow pass's is twice its first word.
    """

    weight_words: list[int]
    weight_starts: list[int]
    biases: list[int]
    bias_starts: list[int]


def engine_sum_bits(passes: Sequence[EnginePass]) -> int:
    """Bits of the one accumulator; rounding looks at the bit above the ones that are cut off."""
    return max(max(each.sum_bits, each.shift + 1) for each in passes)


def drain_cycles(passes: Sequence[EnginePass]) -> list[int]:
    """Cycles of each pass from its last operand until the next may begin; a logarithm takes one a bit of the sum."""
    logarithm = engine_sum_bits(passes) + LOGARITHM_CYCLES
    return [DRAIN_CYCLES + (logarithm if each.logarithm else 0) for each in passes]


def window_cycles(passes: Sequence[EnginePass]) -> int:
    """Cycles from the one after a window is complete to its result, both counted; no value of a window changes it."""
    products = sum(LOAD_CYCLES + each.products for each in passes)
    return RESULT_CYCLES + products + sum(drain_cycles(passes))


def pack_memories(passes: Sequence[EnginePass]) -> Memories:
    """Lay the passes' weights and biases one after the other; narrow weights two in a word, the first one low."""
    words: list[int] = []
    biases: list[int] = []
    weight_starts, bias_starts = [], []
    for each in passes:
        narrow = each.operand is Operand.NARROW
        weight_starts.append(2 * len(words) if narrow else len(words))
        bias_starts.append(len(biases))
        if each.weights is not None:
            words += _narrow_words(each.weights) if narrow else [int(w) & 0xFFFF for w in each.weights.ravel()]
        biases += each.biases or ()
    return Memories(words or [0], weight_starts, biases or [0], bias_starts)


def _narrow_words(weights: Int[ndarray, "O K"]) -> list[int]:
    flat = [int(w) & 0xFF for w in weights.ravel()]
    flat += [0] * (len(flat) % 2)
    return [low | high << 8 for low, high in zip(flat[::2], flat[1::2], strict=True)]
