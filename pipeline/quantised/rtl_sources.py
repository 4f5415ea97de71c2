"""The generated half of the RTL: sizes, the table of layers, memory images. The other half is fixed (`rtl/`)."""

from __future__ import annotations

from collections.abc import Sequence

from .integer_arithmetic import signed_bits
from .integer_model import FourierBands, IntegerModel
from .rtl_lowering import electrode_of
from .rtl_program import CENTRED, WEIGHTS, EnginePass, Memories, Operand, drain_cycles, engine_sum_bits

WEIGHT_BITS = 16
LARGEST_PLAIN = 2**31


def parameters_header(model: IntegerModel, passes: Sequence[EnginePass], memories: Memories) -> str:
    """The parameter list of `simple_path`: every width that follows from the model."""
    values = {**_window_sizes(model), **_engine_sizes(model, passes, memories), **_logarithm(model)}
    return ",\n".join(_parameter(name, value) for name, value in values.items()) + "\n"


def layer_program(passes: Sequence[EnginePass], memories: Memories) -> str:
    """The module `layer_program`: what the sequencer and the datapath do, a case a pass."""
    fields = _fields(passes, memories)
    ports = ",\n".join(f"    output reg {_WIDTHS.get(name, '')}{name}" for name in fields)
    cases = "\n".join(
        f"            {index}: begin  // {each.name}\n"
        + "\n".join(f"                {name} = {values[index]};" for name, values in fields.items())
        + "\n            end"
        for index, each in enumerate(passes)
    )
    zeros = "\n".join(f"        {name} = 0;" for name in fields)
    return (
        "// Generated from the integer model: the passes of the engine, in order.\n"
        'module layer_program #(\n`include "parameters.vh"\n) (\n'
        f"    input wire [LAYER_BITS-1:0] layer,\n{ports}\n);\n"
        f"    always @* begin\n{zeros}\n        case (layer)\n{cases}\n            default: ;\n        endcase\n"
        "    end\nendmodule\n"
    )


def memory_images(model: IntegerModel, memories: Memories) -> dict[str, str]:
    """What `$readmemh` reads, by file name."""
    images = {
        "weights.mem": hex_image(memories.weight_words, WEIGHT_BITS),
        "biases.mem": hex_image(memories.biases, _bias_bits(memories)),
    }
    for layer in model.simple.layers:
        if isinstance(layer, FourierBands):
            images["log2.mem"] = hex_image([int(entry) for entry in layer.log2_table], WEIGHT_BITS)
    return images


def hex_image(values: Sequence[int], bits: int) -> str:
    """A memory image as `$readmemh` reads it: one two's complement word a line."""
    digits = -(-bits // 4)
    return "".join(f"{value & ((1 << bits) - 1):0{digits}x}\n" for value in values)


def unsigned_bits(largest: int) -> int:
    """Bits of an unsigned number up to `largest`, at least 1."""
    return max(1, largest.bit_length())


def _window_sizes(model: IntegerModel) -> dict[str, int]:
    window = model.input.window
    return {
        "CHANNEL_BITS": unsigned_bits(window.channels - 1),
        "ELECTRODE": electrode_of(model.simple),
        "SAMPLES": window.time,
        "SAMPLE_BITS": window.bits,
        "SAMPLE_ADDRESS_BITS": unsigned_bits(window.time - 1),
        "LOGIT_BITS": model.simple.logits.bits,
        "MARGIN": model.routing.margin,
    }


def _engine_sizes(model: IntegerModel, passes: Sequence[EnginePass], memories: Memories) -> dict[str, int]:
    window = model.input.window
    x_bits = max([window.bits, *(signed_bits(each.low, each.high) for each in passes)])
    centred_bits = signed_bits(window.low - window.high, window.high - window.low)
    operands = {each.operand for each in passes}
    a_bits = max(x_bits, centred_bits if operands & {*CENTRED} else 0)
    squares = operands & {Operand.SQUARE, Operand.CENTRED_SQUARE}
    activations = max(each.y_base + each.outputs * each.positions for each in passes)
    return {
        "X_BITS": x_bits,
        "A_BITS": a_bits,
        "B_BITS": max(WEIGHT_BITS, a_bits if squares else 0),
        "SUM_BITS": engine_sum_bits(passes),
        "SHIFT_BITS": unsigned_bits(max(each.shift for each in passes)),
        "DRAIN_BITS": unsigned_bits(max(drain_cycles(passes))),
        "BIAS_BITS": _bias_bits(memories),
        "LAYER_BITS": unsigned_bits(len(passes)),
        "COUNT_BITS": unsigned_bits(max(max(x.outputs, x.positions, x.channels, x.taps) for x in passes)),
        # Past the end: steps that are added after the last operand must not wrap before it.
        "X_ADDRESS_BITS": unsigned_bits(2 * max(activations, window.time)),
        "W_ADDRESS_BITS": unsigned_bits(2 * len(memories.weight_words) + 1),
        "B_ADDRESS_BITS": unsigned_bits(len(memories.biases)),
        "WEIGHT_WORDS": len(memories.weight_words),
        "WEIGHT_WORD_BITS": unsigned_bits(len(memories.weight_words) - 1),
        "BIASES": len(memories.biases),
        "ACTIVATIONS": activations,
        "ACTIVATION_BITS": unsigned_bits(activations - 1),
    }


def _logarithm(model: IntegerModel) -> dict[str, int]:
    for layer in model.simple.layers:
        if isinstance(layer, FourierBands):
            return {
                "HAS_LOGARITHM": 1,
                "LOG2_INDEX_BITS": len(layer.log2_table).bit_length() - 1,
                "LOG2_BITS": layer.log2_bits,
                "LOG2_OFFSET": layer.offset,
            }
    return {"HAS_LOGARITHM": 0, "LOG2_INDEX_BITS": 8, "LOG2_BITS": 10, "LOG2_OFFSET": 0}


def _bias_bits(memories: Memories) -> int:
    return signed_bits(min(memories.biases), max(memories.biases))


def _fields(passes: Sequence[EnginePass], memories: Memories) -> dict[str, list[int]]:
    plain = ("reads_window", "wave", "maximum", "to_mean", "to_logits", "operand", "x_base", "y_base")
    loops = ("channel_step", "position_step", "output_step", "taps", "channels", "positions", "outputs")
    rounding = ("first_frequency", "shift", "low", "high")
    fields = {name: [int(getattr(each, name)) for each in passes] for name in (*plain, *loops, *rounding)}
    return fields | {
        "drain": drain_cycles(passes),
        "last_layer": [int(each is passes[-1]) for each in passes],
        "to_logarithm": [int(each.logarithm) for each in passes],
        "has_bias": [int(each.biases is not None) for each in passes],
        "w_base": [
            start if each.operand in WEIGHTS else 0 for start, each in zip(memories.weight_starts, passes, strict=True)
        ],
        "b_base": memories.bias_starts,
    }


_WIDTHS = {
    "operand": "[2:0] ",
    **dict.fromkeys(["x_base", "y_base", "channel_step", "position_step", "output_step"], "[X_ADDRESS_BITS-1:0] "),
    **dict.fromkeys(["taps", "channels", "positions", "outputs", "first_frequency"], "[COUNT_BITS-1:0] "),
    **dict.fromkeys(["low", "high"], "signed [X_BITS-1:0] "),
    "w_base": "[W_ADDRESS_BITS-1:0] ",
    "b_base": "[B_ADDRESS_BITS-1:0] ",
    "shift": "[SHIFT_BITS-1:0] ",
    "drain": "[DRAIN_BITS-1:0] ",
}


def _parameter(name: str, value: int) -> str:
    if name == "MARGIN" or name == "LOG2_OFFSET" or not -LARGEST_PLAIN <= value < LARGEST_PLAIN:
        # A plain number is read as 32 bits.
        sign = "-" if value < 0 else ""
        return f"    parameter signed [63:0] {name} = {sign}64'sd{abs(value)}"
    return f"    parameter {name} = {value}"
