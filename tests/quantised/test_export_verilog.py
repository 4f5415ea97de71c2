"""The Verilog says what the integer model says, bit for bit and in the stated time; what it cannot do it refuses."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.quantised.accumulators import accumulator_range, bits_of, logit_difference_bits
from pipeline.quantised.export_verilog import (
    count_resources,
    cycles_per_window,
    simulate,
    write_rtl,
    write_test_vectors,
)
from pipeline.quantised.integer_arithmetic import signed_range
from pipeline.quantised.integer_check import check_model
from pipeline.quantised.integer_model import (
    Accumulator,
    AveragePool,
    Conv1d,
    FourierBands,
    HardSigmoid,
    IntegerModel,
    SelectElectrode,
)
from pipeline.quantised.integer_numpy import quantise_windows, routed_by, run_network
from pipeline.quantised.rtl_lowering import lower_network
from pipeline.quantised.rtl_program import EnginePass, Operand, pack_memories, window_cycles
from pipeline.quantised.rtl_resources import missing_yosys
from pipeline.quantised.rtl_simulation import missing_verilator
from pipeline.quantised.rtl_sources import hex_image
from tests.quantised.made_up import made_up_quantised, made_up_signal, with_margin

needs_verilator = pytest.mark.skipif(bool(missing_verilator()), reason=missing_verilator() or "Verilator is there")
needs_yosys = pytest.mark.skipif(bool(missing_yosys()), reason=missing_yosys() or "yosys is there")


def hard_windows(model: IntegerModel, seed: int = 0) -> np.ndarray:
    """Ordinary windows, both ends of the range in constant, alternating and switching form, and noise of all sizes."""
    window = model.input.window
    ordinary = quantise_windows(model.input, made_up_signal(6, seed).numpy())
    steps = np.arange(window.time)
    shapes = np.stack([steps < 0, steps >= 0, steps % 2 == 0, steps % 3 == 0, steps < 256, steps == 7])
    extreme = np.concatenate([np.where(shapes, window.high, window.low), np.where(shapes, 0, window.low)])
    extreme = np.repeat(extreme[:, None], window.channels, axis=1)
    # The electrodes differ, so that reading another one than the model's shows.
    extreme[:, 0] = np.roll(extreme[:, 0], 1, axis=0)
    generator = np.random.default_rng(seed)
    noise = generator.integers(window.low, window.high + 1, (8, window.channels, window.time))
    noise >>= np.arange(8)[:, None, None] * window.bits // 8
    return np.concatenate([ordinary, extreme, noise]).astype(np.int16)


def with_extreme_weights(model: IntegerModel, seed: int = 0) -> IntegerModel:
    """Every weight at one end of its range and accumulators proved anew."""
    generator = np.random.default_rng(seed)
    layers, values = [], model.input.window
    for layer in model.simple.layers:
        if isinstance(layer, Conv1d):
            weight = generator.choice(signed_range(layer.weight_bits), layer.weight.shape).astype(layer.weight.dtype)
            layer = replace(layer, weight=weight)
            low, high = accumulator_range(layer, (values,))
            layer = replace(layer, accumulator=Accumulator(layer.accumulator.exponent, bits_of((low, high))))
            if layer.name == model.simple.layers[-1].name:
                layer = replace(layer, output=replace(layer.output, bits=bits_of((low, high)), low=low, high=high))
        layers.append(layer)
        values = layer.output
    simple = replace(model.simple, layers=tuple(layers))
    routing = replace(model.routing, difference_bits=logit_difference_bits(simple.logits))
    extreme = replace(model, simple=simple, routing=routing)
    check_model(extreme, "extreme weights")
    return extreme


def with_layers(model: IntegerModel, *layers) -> IntegerModel:
    return replace(model, simple=replace(model.simple, layers=layers))


def assert_same(folder: Path, model: IntegerModel, windows: np.ndarray) -> None:
    write_rtl(model, folder)
    simulated = simulate(folder, model, windows)
    assert simulated is not None
    logits, routed, cycles = simulated
    expected = run_network(model.simple, windows)
    assert np.array_equal(logits, expected)
    assert np.array_equal(routed, routed_by(expected, model.routing.margin))
    assert cycles == cycles_per_window(model)


def route_some(model: IntegerModel, windows: np.ndarray) -> IntegerModel:
    """A margin that is exactly the distance of one window's logits."""
    logits = run_network(model.simple, windows)
    return with_margin(model, int(np.sort(np.abs(logits[:, 1] - logits[:, 0]))[len(logits) // 2]))


@needs_verilator
@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "widths", "weight_gain"),
    [
        ("A", "mixed", 1.0),
        ("A_lite", "int16", 5.0),
        ("A_lite", "int8", 0.3),
        ("B", "mixed", 1.0),
        ("B", "int8", 5.0),
        ("C", "mixed", 1.0),
        ("C", "int8", 5.0),
    ],
)
def test_every_kind_and_width_says_what_the_integer_model_says(tmp_path, variant, widths, weight_gain):
    _, model = made_up_quantised(variant, widths, seed=3, weight_gain=weight_gain)
    windows = hard_windows(model)
    model = route_some(model, windows)
    routed = routed_by(run_network(model.simple, windows), model.routing.margin)
    assert routed.any()
    assert not routed.all()
    assert_same(tmp_path, model, windows)


@needs_verilator
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["A_lite", "B", "C"])
def test_weights_at_the_ends_of_their_range_overflow_nowhere(tmp_path, variant):
    _, model = made_up_quantised(variant, seed=5)
    extreme = with_extreme_weights(model)
    widest = extreme.simple.logits.high - extreme.simple.logits.low
    assert_same(tmp_path, with_margin(extreme, widest), hard_windows(extreme, 2))


@needs_verilator
@pytest.mark.slow
def test_the_testbench_passes_and_fails_on_a_changed_bit(tmp_path):
    _, model = made_up_quantised("C")
    write_rtl(model, tmp_path)
    write_test_vectors(model, tmp_path, hard_windows(model))
    build = ["verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-WIDTH", "-I.", "--top-module", "tb"]
    sources = [path.name for path in sorted(tmp_path.glob("*.v"))]
    subprocess.run([*build, "--Mdir", "build", *sources], cwd=tmp_path, check=True, capture_output=True)

    def bench() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["build/Vtb"], cwd=tmp_path, check=False, capture_output=True, text=True)

    passed = bench()
    assert passed.returncode == 0
    assert "PASS 26 windows" in passed.stdout
    expected = tmp_path / "test_expected.mem"
    words = expected.read_text().split()
    words[30] = f"{int(words[30], 16) ^ 1:x}"
    expected.write_text("\n".join(words))
    failed = bench()
    assert failed.returncode != 0
    assert "FAIL window 10" in failed.stdout


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["A", "B"])
def test_every_kind_fits_a_small_device(tmp_path, variant):
    _, model = made_up_quantised(variant)
    write_rtl(model, tmp_path)
    counts = count_resources(tmp_path)
    assert counts is not None
    assert 1 <= counts["DSP48E1"] <= 2
    assert 100 < counts["LUT"] <= 1500
    assert counts["RAMB18E1"] + counts["RAMB36E1"] > 0
    assert "no timing and no power" in counts["note"]
    assert cycles_per_window(model) <= 300_000


def execute(each: EnginePass, window: np.ndarray, memory: np.ndarray) -> None:
    """One pass of weights, as the sequencer walks it, on one window; what takes no weights is simulated only."""
    source = window if each.reads_window else memory
    weights = np.ones((each.outputs, each.channels * each.taps), int) if each.weights is None else each.weights
    for out in range(each.outputs):
        for position in range(each.positions):
            start = each.x_base + out * each.output_step + position * each.position_step
            addresses = start + np.arange(each.channels)[:, None] * each.channel_step + np.arange(each.taps)
            total = int(source[addresses].ravel() @ weights[out].astype(np.int64)) + (each.biases or [0] * 99)[out]
            floor, rest = total >> each.shift, total & ((1 << each.shift) - 1)
            up = 2 * rest > 1 << each.shift or (2 * rest == 1 << each.shift and floor & 1)
            value = total if each.to_logits else min(max(floor + int(up), each.low), each.high)
            memory[each.y_base + out * each.positions + position] = value


def test_addresses_of_the_passes_compute_the_network():
    _, model = made_up_quantised("A_lite")
    windows = quantise_windows(model.input, made_up_signal(2, 8).numpy())
    passes = lower_network(model.simple)
    expected = run_network(model.simple, windows)
    select = model.simple.layers[0]
    assert isinstance(select, SelectElectrode)
    for window, logits in zip(windows, expected, strict=True):
        memory = np.full(max(each.y_base + each.outputs * each.positions for each in passes), 1 << 40)
        for each in passes:
            execute(each, window[select.electrode].astype(np.int64), memory)
        assert np.array_equal(memory[passes[-1].y_base :][:2], logits)


def test_no_pass_writes_what_it_reads():
    for variant in ("A", "A_lite", "B", "C"):
        for each in lower_network(made_up_quantised(variant)[1].simple):
            reads = set() if each.reads_window else read_addresses(each)
            writes = {each.y_base + place for place in range(each.outputs * each.positions)}
            assert not reads & writes, each


def read_addresses(each: EnginePass) -> set[int]:
    loops = np.ix_(*(np.arange(n) for n in (each.outputs, each.positions, each.channels, each.taps)))
    steps = (each.output_step, each.position_step, each.channel_step, 1)
    return set((each.x_base + sum(place * step for place, step in zip(loops, steps, strict=True))).ravel().tolist())


def test_cycles_are_products_and_a_little():
    _, model = made_up_quantised("A")
    passes = lower_network(model.simple)
    products = sum(each.products for each in passes)
    convolutions = 16 * 249 * 15 + 32 * 28 * 16 * 7 + 64 * 5 * 32 * 3 + 2 * 64
    pools = 16 * 62 * 4 + 32 * 7 * 4 + 64 * 5
    assert products == convolutions + pools
    assert window_cycles(passes) - products == 2 + 9 * len(passes)


def test_the_fourier_table_is_stored_as_one_period_of_each_wave():
    _, model = made_up_quantised("B")
    layer = model.simple.layers[1]
    assert isinstance(layer, FourierBands)
    cosine, sine = (each for each in lower_network(model.simple) if each.wave)
    bins, samples = len(layer.table) // 2, layer.table.shape[1]
    for each, rows in ((cosine, layer.table[:bins]), (sine, layer.table[bins:])):
        places = (each.first_frequency + np.arange(bins))[:, None] * np.arange(samples) % samples
        assert each.weights is not None
        assert np.array_equal(each.weights[0][places], rows)


def test_memory_images_hold_every_weight_and_bias():
    _, model = made_up_quantised("A_lite")
    passes = lower_network(model.simple)
    memories = pack_memories(passes)
    for each, start, bias in zip(passes, memories.weight_starts, memories.bias_starts, strict=True):
        if each.weights is None:
            continue
        flat = each.weights.astype(np.int64).ravel()
        if each.operand is Operand.NARROW:
            places = start + np.arange(flat.size)
            words = np.array(memories.weight_words)[places // 2] >> 8 * (places % 2) & 0xFF
            assert np.array_equal(words.astype(np.uint8).view(np.int8), flat)
        else:
            words = np.array(memories.weight_words[start : start + flat.size], np.uint16)
            assert np.array_equal(words.view(np.int16), flat)
        assert tuple(memories.biases[bias : bias + each.outputs]) == each.biases


def test_images_are_twos_complement():
    assert hex_image([-1, 5, -8], 4) == "f\n5\n8\n"
    assert hex_image([-1, -(2**33)], 34) == "3ffffffff\n200000000\n"


def test_the_files_name_the_model_and_nothing_else(tmp_path):
    _, model = made_up_quantised("A_lite")
    paths = write_rtl(model, tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    header = (tmp_path / "parameters.vh").read_text()
    assert f"MARGIN = 64'sd{model.routing.margin}" in header
    assert "ELECTRODE = 2" in header


@pytest.mark.parametrize("kind", ["padding", "gate", "order", "electrode", "table", "logits"])
def test_what_has_no_hardware_is_refused_by_name(tmp_path, kind):
    _, model = made_up_quantised("B" if kind == "table" else "A_lite")
    select, first, *rest = model.simple.layers
    if kind == "padding":
        assert isinstance(first, Conv1d)
        broken, name = with_layers(model, select, replace(first, padding=1), *rest), "c1: padding=1"
    elif kind == "gate":
        gate = HardSigmoid("opening", (first.name,), first.output, Accumulator(0, 8), 1)
        broken, name = with_layers(model, select, first, gate, *rest), "simple.opening: HardSigmoid has no RTL"
    elif kind == "order":
        pool = replace(rest[0], inputs=(select.name,))
        assert isinstance(pool, AveragePool)
        broken, name = with_layers(model, select, first, pool, *rest[1:]), "simple.c1.pool: reads"
    elif kind == "electrode":
        broken, name = with_layers(model, first, *rest), "RTL begins with SelectElectrode"
    elif kind == "table":
        assert isinstance(first, FourierBands)
        table = first.table.copy()
        table[3, 5] += 1
        broken, name = with_layers(model, select, replace(first, table=table), *rest), "features: the table's rows"
    else:
        last = replace(rest[-1], output=replace(rest[-1].output, high=7))
        broken, name = with_layers(model, select, first, *rest[:-1], last), "simple.classifier: logits"
    with pytest.raises(DataError, match=name):
        write_rtl(broken, tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()


def test_windows_of_another_shape_or_type_are_refused(tmp_path):
    _, model = made_up_quantised("C")
    windows = hard_windows(model)
    for wrong, said in ((windows[:, :2], r"\[N, 3, 512\]"), (windows.astype(np.int32), "int32, not int16")):
        with pytest.raises(DataError, match=said):
            simulate(tmp_path, model, wrong)
        with pytest.raises(DataError, match=said):
            write_test_vectors(model, tmp_path, wrong)


def test_a_folder_without_rtl_is_refused(tmp_path):
    _, model = made_up_quantised("C")
    if not missing_verilator():
        with pytest.raises(DataError, match=r"holds no simple_path\.v"):
            simulate(tmp_path, model, hard_windows(model))
    if not missing_yosys():
        with pytest.raises(DataError, match=r"holds no simple_path\.v"):
            count_resources(tmp_path)


def test_missing_programs_are_named(tmp_path, monkeypatch):
    _, model = made_up_quantised("C")
    write_rtl(model, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "verilator is not installed" in missing_verilator()
    assert "yosys is not installed" in missing_yosys()
    assert simulate(tmp_path, model, hard_windows(model)) is None
    assert count_resources(tmp_path) is None
