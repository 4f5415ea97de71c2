"""C++ and ONNX say what the integer model says, bit for bit: every model, extreme windows, extreme weights."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.cascade_models import SIMPLE_VARIANTS
from pipeline.errors import DataError
from pipeline.quantised.accumulators import accumulator_range, bits_of, logit_difference_bits
from pipeline.quantised.cpp_backend import compile_cpp, compiler_installed, load_cpp
from pipeline.quantised.cpp_layers import terms_in_32_bits
from pipeline.quantised.export_cpp import SOURCE, write_cpp
from pipeline.quantised.export_onnx_integer import write_onnx
from pipeline.quantised.integer_arithmetic import signed_range
from pipeline.quantised.integer_check import check_model, output_shape
from pipeline.quantised.integer_model import (
    WINDOW,
    Accumulator,
    AveragePool,
    Conv1d,
    Format,
    InputQuantiser,
    IntegerModel,
    IntegerNetwork,
    Layer,
    Routing,
    Sum,
)
from pipeline.quantised.integer_numpy import IntegerOutput, quantise_windows, run_integer_model
from pipeline.quantised.onnx_backend import load_onnx
from tests.quantised.made_up import CHANNELS, made_up_quantised, made_up_signal
from tests.quantised.test_bit_exactness import WIDTHS, extreme_windows

needs_compiler = pytest.mark.skipif(not compiler_installed(), reason="g++ is not installed")
CHANNELS_OF_RANDOM, TIME_OF_RANDOM = 4, 32


def assert_equal(answer: IntegerOutput, expected: IntegerOutput) -> None:
    assert np.array_equal(answer.simple, expected.simple)
    assert np.array_equal(answer.complex, expected.complex)
    assert np.array_equal(answer.routed, expected.routed)


def compiled(model: IntegerModel, folder: Path):
    write_cpp(model, folder)
    return load_cpp(model, compile_cpp(folder, folder / "libcascade.so", optimisation="-O1"))


def exported(model: IntegerModel, folder: Path):
    write_onnx(model, folder)
    return load_onnx(model, folder)


def windows_of(model: IntegerModel) -> np.ndarray:
    window = model.input.window
    ordinary = quantise_windows(model.input, made_up_signal(4, 5).numpy())
    return np.concatenate([ordinary, extreme_windows(window.low, window.high)])


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("variant", SIMPLE_VARIANTS)
def test_onnx_is_the_integer_model(variant, widths, tmp_path):
    model = made_up_quantised(variant, widths)[1]
    windows = windows_of(model)
    assert_equal(exported(model, tmp_path)(windows), run_integer_model(model, windows))


@needs_compiler
@pytest.mark.parametrize(("variant", "widths"), [("A", "int16"), ("A_lite", "mixed"), ("B", "mixed"), ("C", "int8")])
def test_cpp_is_the_integer_model(variant, widths, tmp_path):
    model = made_up_quantised(variant, widths)[1]
    windows = windows_of(model)
    assert_equal(compiled(model, tmp_path)(windows), run_integer_model(model, windows))


@dataclass(frozen=True)
class Drawn:
    """What hypothesis chooses of a random network."""

    seed: int
    groups: int
    kernel: int
    stride: int
    padding: int
    bits: tuple[int, int]
    extreme: bool
    shift: int


drawn_networks = st.builds(
    Drawn,
    seed=st.integers(0, 2**31),
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    bits=st.tuples(st.sampled_from([8, 16]), st.sampled_from([8, 16])),
    extreme=st.booleans(),
    shift=st.integers(0, 40),
)


def random_model(drawn: Drawn) -> IntegerModel:
    """Two networks of random convolutions, pool and sum, outside of what any training gives."""
    rng = np.random.default_rng(drawn.seed)
    window = Format(CHANNELS_OF_RANDOM, TIME_OF_RANDOM, -8, 16, -(2**15), 2**15 - 1)
    networks = [random_network(name, drawn, window, rng) for name in ("simple", "complex")]
    bits = logit_difference_bits(networks[0].logits)
    routing = Routing(int(rng.integers(0, 2 ** (bits - 1))) >> int(rng.integers(0, bits)), bits, 0.5)
    model = IntegerModel("P1", InputQuantiser(window, 512.0), *networks, routing)
    check_model(model, "random model")
    return model


def random_network(name: str, drawn: Drawn, window: Format, rng: np.random.Generator) -> IntegerNetwork:
    first = random_conv("first", WINDOW, window, drawn, rng, filters=4 * int(rng.integers(1, 4)))
    pool = proved(
        AveragePool("pool", ("first",), Format(0, 0, 0, 16, -(2**15), 2**15 - 1), empty(), 2), first.output, 1
    )
    total = proved(Sum("total", ("pool",), Format(0, 0, 0, 16, -(2**15), 2**15 - 1), empty(), "time"), pool.output, 3)
    single = replace(drawn, groups=1, kernel=1, stride=1, padding=0, shift=0)
    last = random_conv("last", "total", total.output, single, rng, filters=2)
    low, high = accumulator_range(last, (total.output,))
    last = replace(last, output=replace(last.output, bits=last.accumulator.bits, low=low, high=high))
    return IntegerNetwork(name, (first, pool, total, last))


def empty() -> Accumulator:
    return Accumulator(0, 0)


def random_conv(
    name: str, source: str, values: Format, drawn: Drawn, rng: np.random.Generator, *, filters: int
) -> Conv1d:
    low, high = signed_range(drawn.bits[0])
    shape = (filters, values.channels // drawn.groups, drawn.kernel)
    weight = rng.choice([low, high], shape) if drawn.extreme else rng.integers(low, high + 1, shape)
    least, most = signed_range(drawn.bits[1])
    output = Format(0, 0, 0, drawn.bits[1], least if drawn.seed % 2 else 0, most)
    stored = np.int8 if drawn.bits[0] == 8 else np.int16
    bias = rng.integers(-(2**31), 2**31, filters)
    layer = Conv1d(
        name, (source,), output, empty(), weight.astype(stored), bias, -5, drawn.bits[0], drawn.stride, drawn.padding,
        drawn.groups,
    )  # fmt: skip
    return proved(layer, values, drawn.shift)


def proved(layer: Layer, values: Format, shift: int):
    """The layer with its shape, its proved accumulator and a shift."""
    channels, time = output_shape(layer, (values,))
    exponent = values.exponent
    if isinstance(layer, Conv1d):
        exponent += layer.weight_exponent
    if isinstance(layer, AveragePool):
        exponent -= 1
    accumulator = Accumulator(exponent, bits_of(accumulator_range(layer, (values,))))
    output = replace(layer.output, channels=channels, time=time, exponent=exponent + shift)
    return replace(layer, accumulator=accumulator, output=output)


def random_windows(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (3, CHANNELS_OF_RANDOM, TIME_OF_RANDOM)
    ends = rng.choice([-(2**15), 2**15 - 1, 0], shape)
    constant = np.full(shape, -(2**15))
    return np.concatenate([ends, constant, rng.integers(-(2**15), 2**15, shape)]).astype(np.int16)


@settings(max_examples=30, deadline=None)
@given(drawn_networks)
def test_random_networks_with_extreme_weights_in_onnx(tmp_path_factory, drawn):
    model = random_model(drawn)
    windows = random_windows(drawn.seed)
    folder = tmp_path_factory.mktemp("onnx")
    assert_equal(exported(model, folder)(windows), run_integer_model(model, windows))


@needs_compiler
@settings(max_examples=8, deadline=None)
@given(drawn_networks)
def test_random_networks_with_extreme_weights_in_cpp(tmp_path_factory, drawn):
    model = random_model(drawn)
    windows = random_windows(drawn.seed)
    folder = tmp_path_factory.mktemp("cpp")
    assert_equal(compiled(model, folder)(windows), run_integer_model(model, windows))


@given(st.integers(1, 40), st.integers(1, 2**15), st.integers(1, 2**15), st.integers(0, 2**31))
def test_the_terms_of_a_32_bit_sum_never_overflow(count, reach, peak, seed):
    weight = np.random.default_rng(seed).integers(-peak, peak + 1, (3, count))
    terms = terms_in_32_bits(weight, reach)
    assert terms >= 1
    worst = [np.abs(weight[:, start : start + terms]).sum(1).max() * reach for start in range(0, count, terms)]
    assert max(worst) < 2**31


def test_two_cascades_in_one_process_share_nothing(tmp_path):
    if not compiler_installed():
        pytest.skip("g++ is not installed")
    models = [random_model(Drawn(seed, 1, 3, 1, 1, (16, 16), False, 9)) for seed in (1, 2)]
    executors = [compiled(model, tmp_path / str(k)) for k, model in enumerate(models)]
    windows = random_windows(3)
    for model, executor in zip(models, executors, strict=True):
        assert_equal(executor(windows), run_integer_model(model, windows))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model of eight bits with both of its back ends."""
    model = made_up_quantised("C", "int8")[1]
    folder = tmp_path_factory.mktemp("narrow")
    return model, [exported(model, folder), *([compiled(model, folder)] if compiler_installed() else [])]


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (np.zeros((2, CHANNELS, 511), np.int16), r"shape \[2, 3, 511\]; the model reads \[N, 3, 512\]"),
        (np.zeros((CHANNELS, 512), np.int16), "the model reads"),
        (np.zeros((2, CHANNELS, 512), np.float32), "float32, not int16; quantise them"),
        (np.full((2, CHANNELS, 512), 200, np.int16), r"outside \[-128, 127\]"),
    ],
)
def test_windows_that_do_not_fit_are_refused(narrow, windows, message):
    for executor in narrow[1]:
        with pytest.raises(DataError, match=message):
            executor(windows)


@needs_compiler
def test_the_c_interface_refuses_and_asks_by_itself(narrow):
    model, (_, executor) = narrow
    library = executor.library
    windows = quantise_windows(model.input, made_up_signal(6, 2).numpy())
    expected = run_integer_model(model, windows)
    logits, routed = np.zeros(2, np.int64), np.zeros(1, np.uint8)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (logits, routed)]
    for window, route, answer in zip(windows, expected.routed, expected.logits, strict=True):
        assert library.cascade_classify(ctypes.c_void_p(np.ascontiguousarray(window).ctypes.data), *pointers) == 0
        assert bool(routed[0]) == route
        assert np.array_equal(logits, answer)
    beyond = np.full((CHANNELS, 512), 128, np.int16)
    logits[:] = 7
    assert library.cascade_classify(ctypes.c_void_p(beyond.ctypes.data), *pointers) == -1
    assert logits.tolist() == [7, 7]


@dataclass(frozen=True)
class Unheard:
    """A layer that no back end knows."""

    name: str
    inputs: tuple[str]
    output: Format


@pytest.mark.parametrize("write", [write_cpp, write_onnx])
def test_an_unknown_layer_is_refused_by_name(write, tmp_path):
    model = random_model(Drawn(1, 1, 3, 1, 1, (8, 8), False, 4))
    layers = (*model.simple.layers[:-1], Unheard("odd", ("total",), model.simple.logits))
    # Past the check of types that runs under these tests only.
    object.__setattr__(odd := replace(model.simple), "layers", layers)
    odd = replace(model, simple=odd)
    with pytest.raises(DataError, match=r"simple\.odd: unknown layer 'Unheard'; known: SelectElectrode"):
        write(odd, tmp_path)
    assert not list(tmp_path.iterdir())


def test_layers_of_one_name_in_cpp_are_refused(tmp_path):
    model = random_model(Drawn(1, 1, 3, 1, 1, (8, 8), False, 4))
    first, pool, total, last = model.simple.layers
    layers = (
        replace(first, name="a.b"),
        replace(pool, name="a_b", inputs=("a.b",)),
        replace(total, inputs=("a_b",)),
        last,
    )
    with pytest.raises(DataError, match=r"simple\.a_b: is 'a_b' in C\+\+ as a\.b is; rename"):
        write_cpp(replace(model, simple=IntegerNetwork("simple", layers)), tmp_path)


@needs_compiler
def test_a_source_that_does_not_compile_is_named(tmp_path):
    (tmp_path / SOURCE).write_text("int main( {")
    with pytest.raises(DataError, match=r"cascade_model\.cpp: g\+\+ refuses it"):
        compile_cpp(tmp_path, tmp_path / "library.so")
