"""Verilog of electrode selection, simple model and routing decision, generated from the integer model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from ..artifacts import write_text
from .integer_model import IntegerModel
from .integer_numpy import check_windows, routed_by, run_network
from .rtl_lowering import lower_network
from .rtl_program import pack_memories, window_cycles
from .rtl_resources import count_resources
from .rtl_simulation import simulate
from .rtl_sources import hex_image, layer_program, memory_images, parameters_header

__all__ = ["count_resources", "cycles_per_window", "simulate", "write_rtl", "write_test_vectors"]

FIXED_SOURCES = (
    "simple_path.v",
    "window_buffer.v",
    "layer_sequencer.v",
    "operand_select.v",
    "multiply_accumulate.v",
    "requantise.v",
    "binary_logarithm.v",
    "routing_decision.v",
)
TESTBENCH = "tb.v"


def write_rtl(model: IntegerModel, folder: Path | str) -> list[Path]:
    """Write synthesizable Verilog of the simple path, top module `simple_path`, and its memory images.

    Returns:
        The files: `*.v`, `parameters.vh` and `*.mem`, all of which synthesis and simulation read from their folder.

    Raises:
        DataError: a layer that the engine cannot do, by name.
    """
    passes = lower_network(model.simple)
    memories = pack_memories(passes)
    texts = {name: _fixed(name) for name in FIXED_SOURCES}
    texts["layer_program.v"] = layer_program(passes, memories)
    texts["parameters.vh"] = parameters_header(model, passes, memories)
    texts |= memory_images(model, memories)
    return _write(Path(folder), texts)


def write_test_vectors(model: IntegerModel, folder: Path | str, windows: np.ndarray) -> list[Path]:
    """Write a self-checking testbench beside the RTL: `tb.v`, windows, and what the integer model says of them.

    It ends with `PASS` and status 0 or, at the first window whose logits or route bit differ or whose cycles are not
    the stated ones, with a message and a failure.

    Raises:
        DataError: windows of another shape or type, or out of the input's range.
    """
    check_windows(model.input.window, windows)
    logits = run_network(model.simple, windows)
    routed = routed_by(logits, model.routing.margin)
    expected = [int(value) for row, route in zip(logits, routed, strict=True) for value in (*row, route)]
    count, channels, _ = windows.shape
    sizes = {
        "WINDOWS": count,
        "CHANNELS": channels,
        "WINDOW_WORDS": windows.size,
        "EXPECTED_CYCLES": cycles_per_window(model),
    }
    return _write(
        Path(folder),
        {
            TESTBENCH: _fixed(TESTBENCH),
            "vectors.vh": "".join(f"    localparam {name} = {value};\n" for name, value in sizes.items()),
            "test_windows.mem": hex_image(
                [int(v) for v in windows.transpose(0, 2, 1).ravel()], model.input.window.bits
            ),
            "test_expected.mem": hex_image(expected, model.simple.logits.bits),
        },
    )


def cycles_per_window(model: IntegerModel) -> int:
    """Clock cycles from the last sample of a window to its result; the same for every window.

    Raises:
        DataError: a layer that the engine cannot do, by name.
    """
    return window_cycles(lower_network(model.simple))


def _fixed(name: str) -> str:
    return (files(__package__) / "rtl" / name).read_text()


def _write(folder: Path, texts: dict[str, str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
