"""An integer model as C++17: one header with a C interface and one source, no dependency but the standard library.

The kernels (`templates/kernels.hpp`) are the same for every model; what is generated are the constants of each layer,
the narrowest types that its proved widths allow, and the order of calls.
"""

from __future__ import annotations

from pathlib import Path

from ..artifacts import write_text
from ..errors import DataError
from .cpp_layers import identifier, layer_call, layer_struct, storage
from .integer_check import check_model
from .integer_model import WINDOW, Format, IntegerModel, IntegerNetwork, SelectElectrode

HEADER, SOURCE = "cascade_model.h", "cascade_model.cpp"
TEMPLATES = Path(__file__).parent / "templates"

_HEADER = """\
/* Seizure cascade of patient {patient}: integers only, bit for bit what the integer model says.
 *
 * A window is int16_t [CASCADE_CHANNELS][CASCADE_SAMPLES], the standardised signal x as
 * clamp(round_half_even(x / 2^CASCADE_INPUT_EXPONENT), CASCADE_INPUT_LOW, CASCADE_INPUT_HIGH).
 * Logits are those of (interictal, ictal), in units of 2^CASCADE_SIMPLE_EXPONENT and 2^CASCADE_COMPLEX_EXPONENT.
 * Functions return 0, or -1 if a sample lies outside the input's range; then nothing is written.
 */
#ifndef CASCADE_MODEL_H
#define CASCADE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define CASCADE_CHANNELS {channels}
#define CASCADE_SAMPLES {samples}
#define CASCADE_INPUT_EXPONENT ({input_exponent})
#define CASCADE_INPUT_LOW ({input_low})
#define CASCADE_INPUT_HIGH {input_high}
#define CASCADE_SIMPLE_EXPONENT ({simple_exponent})
#define CASCADE_COMPLEX_EXPONENT ({complex_exponent})
#define CASCADE_MARGIN INT64_C({margin})

#ifdef __cplusplus
extern "C" {{
#endif

int cascade_simple(const int16_t *window, int64_t logits[2]);
int cascade_complex(const int16_t *window, int64_t logits[2]);

/* 1: the complex network must be asked, |l1 - l0| <= CASCADE_MARGIN; 0: the simple one is believed. */
int cascade_route(const int64_t simple_logits[2]);

/* Logits of the network that answers, and in *routed whether that is the complex one; it runs only then. */
int cascade_classify(const int16_t *window, int64_t logits[2], uint8_t *routed);

/* Both networks on `count` windows; logits [count][2], routed [count]. */
int cascade_run(const int16_t *windows, size_t count, int64_t *simple, int64_t *complex_, uint8_t *routed);

#ifdef __cplusplus
}}
#endif
#endif
"""

_INTERFACE = """\
bool in_range(const int16_t *window) {
    int16_t low = window[0], high = window[0];
    for (int i = 1; i < CASCADE_CHANNELS * CASCADE_SAMPLES; ++i) {
        low = window[i] < low ? window[i] : low;
        high = window[i] > high ? window[i] : high;
    }
    return low >= CASCADE_INPUT_LOW && high <= CASCADE_INPUT_HIGH;
}

}  // namespace

int cascade_simple(const int16_t *window, int64_t logits[2]) {
    if (!in_range(window)) return -1;
    simple::run(window, logits);
    return 0;
}

int cascade_complex(const int16_t *window, int64_t logits[2]) {
    if (!in_range(window)) return -1;
    complex::run(window, logits);
    return 0;
}

int cascade_route(const int64_t simple_logits[2]) {
    const int64_t difference = simple_logits[1] - simple_logits[0];
    return (difference < 0 ? -difference : difference) <= CASCADE_MARGIN;
}

int cascade_classify(const int16_t *window, int64_t logits[2], uint8_t *routed) {
    if (cascade_simple(window, logits)) return -1;
    *routed = static_cast<uint8_t>(cascade_route(logits));
    if (*routed) complex::run(window, logits);
    return 0;
}

int cascade_run(const int16_t *windows, size_t count, int64_t *simple, int64_t *complex_, uint8_t *routed) {
    const size_t samples = size_t(CASCADE_CHANNELS) * CASCADE_SAMPLES;
    for (size_t n = 0; n < count; ++n)
        if (!in_range(windows + n * samples)) return -1;
    for (size_t n = 0; n < count; ++n) {
        simple::run(windows + n * samples, simple + 2 * n);
        complex::run(windows + n * samples, complex_ + 2 * n);
        routed[n] = static_cast<uint8_t>(cascade_route(simple + 2 * n));
    }
    return 0;
}
"""

_TRANSPOSE = """\
for (int t = 0; t < CASCADE_SAMPLES; ++t)
        for (int c = 0; c < CASCADE_CHANNELS; ++c) tensors::by_time[t * CASCADE_CHANNELS + c] = {value};"""


def write_cpp(model: IntegerModel, folder: Path | str) -> list[Path]:
    """Write `cascade_model.h` and `cascade_model.cpp`.

    Raises:
        DataError: the model is inconsistent, or two layers have the same name in C++.
    """
    check_model(model, f"patient {model.patient}")
    folder = Path(folder)
    write_text(folder / HEADER, cpp_header(model))
    write_text(folder / SOURCE, cpp_source(model))
    return [folder / HEADER, folder / SOURCE]


def cpp_header(model: IntegerModel) -> str:
    """The C interface and the constants that a caller needs."""
    window = model.input.window
    return _HEADER.format(
        patient=model.patient,
        channels=window.channels,
        samples=window.time,
        input_exponent=window.exponent,
        input_low=window.low,
        input_high=window.high,
        simple_exponent=model.simple.logits.exponent,
        complex_exponent=model.complex.logits.exponent,
        margin=model.routing.margin,
    )


def cpp_source(model: IntegerModel) -> str:
    """Kernels, both networks and the interface."""
    kernels = (TEMPLATES / "kernels.hpp").read_text()
    networks = "\n".join(_network(network, model.input.window) for network in model.networks)
    # Without a name, so that two cascades in one program share nothing.
    return f'#include "{HEADER}"\n\nnamespace {{\n\n{kernels}\n{networks}\n{_INTERFACE}'


def _network(network: IntegerNetwork, window: Format) -> str:
    formats = {WINDOW: window}
    structs, buffers, calls = [], [], []
    names: dict[str, str] = {}
    for layer in network.layers:
        name = identifier(layer.name, network.name)
        if name in names:
            raise DataError(f"{network.name}.{layer.name}: is '{name}' in C++ as {names[name]} is; rename one of them")
        names[name] = layer.name
        inputs = tuple(formats[source] for source in layer.inputs)
        structs.append(layer_struct(layer, inputs, network.name))
        output = formats[layer.name] = layer.output
        buffers.append(f"thread_local {storage(output.bits)} {name}[{output.time * output.channels}];")
        calls.append(layer_call(layer, network.name))
    if any(WINDOW in layer.inputs and not isinstance(layer, SelectElectrode) for layer in network.layers):
        buffers.insert(0, f"thread_local {storage(window.bits)} by_time[{window.time * window.channels}];")
        value = f"static_cast<{storage(window.bits)}>(window[c * CASCADE_SAMPLES + t])"
        calls.insert(0, _TRANSPOSE.format(value=value))
    last = identifier(network.layers[-1].name, network.name)
    calls += [f"logits[0] = tensors::{last}[0];", f"logits[1] = tensors::{last}[1];"]
    body = "\n    ".join(calls)
    return (
        f"namespace {network.name} {{\n\nnamespace layers {{\n{''.join(structs)}}}  // namespace layers\n\n"
        f"namespace tensors {{\n" + "\n".join(buffers) + "\n}  // namespace tensors\n\n"
        f"void run(const int16_t *window, int64_t *logits) {{\n    {body}\n}}\n\n"
        f"}}  // namespace {network.name}\n"
    )
