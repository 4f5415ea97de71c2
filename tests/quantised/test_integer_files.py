"""The model's folder comes back as it was written, and whatever does not fit is refused by name."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import write_json, write_npy
from pipeline.errors import DataError
from pipeline.quantised.integer_check import check_model
from pipeline.quantised.integer_files import DOCUMENT, document_hash, read_integer_model, write_integer_model
from pipeline.quantised.integer_model import Conv1d, IntegerModel, IntegerNetwork
from pipeline.quantised.integer_numpy import quantise_windows, run_integer_model
from tests.quantised.made_up import CHANNELS, made_up_quantised, made_up_signal


@pytest.fixture(scope="module")
def model() -> IntegerModel:
    return made_up_quantised("A_lite")[1]


@pytest.fixture
def folder(model: IntegerModel, tmp_path: Path) -> Path:
    write_integer_model(tmp_path / "model", model)
    return tmp_path / "model"


def edit(folder: Path, change, *, with_hash: bool = True) -> None:
    document = json.loads((folder / DOCUMENT).read_text())
    change(document)
    if with_hash:
        document["sha256"] = document_hash(document)
    write_json(folder / DOCUMENT, document)


def layer_called(document: dict, name: str, network: str = "simple") -> dict:
    return next(layer for layer in document["networks"][network] if layer["name"] == name)


@pytest.mark.parametrize("variant", ["A_lite", "B", "C"])
def test_a_model_comes_back_equal(variant, tmp_path):
    model = made_up_quantised(variant)[1]
    write_integer_model(tmp_path / "model", model)
    again = read_integer_model(tmp_path / "model")
    for own, read in zip(model.networks, again.networks, strict=True):
        for first, second in zip(own.layers, read.layers, strict=True):
            assert type(first) is type(second)
            for field in fields(first):
                one, two = getattr(first, field.name), getattr(second, field.name)
                assert np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two
                assert getattr(one, "dtype", None) == getattr(two, "dtype", None)
    assert again.routing == model.routing
    assert again.input == model.input


def test_an_edited_document_is_refused(folder):
    edit(folder, lambda document: document["routing"].update(margin=1), with_hash=False)
    with pytest.raises(DataError, match="sha256 does not match"):
        read_integer_model(folder)


def test_an_edited_array_is_refused_by_its_name(folder):
    write_npy(folder / "arrays" / "simple.c2.bias.npy", np.zeros(16, np.int64))
    with pytest.raises(DataError, match=r"simple\.c2\.bias\.npy: its sha256"):
        read_integer_model(folder)


def test_a_missing_array_is_named(folder):
    (folder / "arrays" / "complex.block_1.weight.npy").unlink()
    with pytest.raises(DataError, match=r"complex\.block_1\.weight\.npy: no such file"):
        read_integer_model(folder)


def test_a_scale_that_is_no_power_of_two_is_refused_by_layer(folder):
    edit(folder, lambda document: layer_called(document, "c2").update(weight_scale=0.003))
    with pytest.raises(DataError, match=r"simple\.c2\.weight_scale: scale 0\.003 is not a power of two"):
        read_integer_model(folder)


def test_an_unknown_layer_is_refused_with_a_suggestion(folder):
    edit(folder, lambda document: layer_called(document, "c2").update(kind="Conv2d"))
    with pytest.raises(DataError, match=r"simple\.c2: unknown layer 'Conv2d'; did you mean 'Conv1d'"):
        read_integer_model(folder)


@pytest.mark.parametrize(
    ("network", "name", "change", "message"),
    [
        ("simple", "c1", {"stride": 3}, r"simple\.c1: output \[8, 249\], its inputs make"),
        ("simple", "c2", {"inputs": ["nothing"]}, r"simple\.c2: reads 'nothing'"),
        ("simple", "electrode", {"electrode": 9}, r"simple\.electrode: electrode=9"),
        ("simple", "c1", {"weight_scale": 0.5}, r"simple\.c1: accumulator exponent"),
        ("simple", "c1", {"weight_bits": 8}, r"simple\.c1: weights outside 8 bits"),
        ("complex", "cbam.channel_gate", {"half": 3}, r"complex\.cbam\.channel_gate: half=3"),
        ("complex", "cbam.pooled", {"name": "cbam.peak"}, r"two layers of that name"),
    ],
)
def test_contradictions_between_layers_are_named(folder, network, name, change, message):
    edit(folder, lambda document: layer_called(document, name, network).update(change))
    with pytest.raises(DataError, match=message):
        read_integer_model(folder)


def test_an_accumulator_narrower_than_its_worst_case_is_refused(model):
    layers = list(model.simple.layers)
    place = next(k for k, layer in enumerate(layers) if isinstance(layer, Conv1d))
    narrow = replace(layers[place].accumulator, bits=layers[place].accumulator.bits - 1)
    layers[place] = replace(layers[place], accumulator=narrow)
    with pytest.raises(DataError, match="its worst case takes"):
        check_model(replace(model, simple=IntegerNetwork("simple", tuple(layers))), "here")


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (np.zeros((2, CHANNELS, 511), np.int16), r"shape \[2, 3, 511\]; the model reads \[N, 3, 512\]"),
        (np.zeros((2, CHANNELS + 1, 512), np.int16), "the model reads"),
        (np.zeros((CHANNELS, 512), np.int16), "the model reads"),
        (np.zeros((2, CHANNELS, 512), np.float32), "float32, not int16"),
        (np.zeros((2, CHANNELS, 512), np.int64), "int64, not int16"),
    ],
)
def test_windows_of_another_shape_or_type_are_refused(model, windows, message):
    with pytest.raises(DataError, match=message):
        run_integer_model(model, windows)


def test_windows_beyond_eight_bits_are_refused():
    narrow = made_up_quantised("C", "int8")[1]
    with pytest.raises(DataError, match=r"outside \[-128, 127\]"):
        run_integer_model(narrow, np.full((1, CHANNELS, 512), 200, np.int16))


def test_samples_that_are_not_finite_are_refused(model):
    signal = made_up_signal(2).numpy()
    signal[1, 0, 5] = np.nan
    with pytest.raises(DataError, match="NaN"):
        quantise_windows(model.input, signal)


def test_weights_that_leave_a_gate_nothing_are_refused_by_layer():
    with pytest.raises(DataError, match=r"cbam\.channel_gate"):
        made_up_quantised("C", "int8", weight_gain=1e5)


def test_no_windows_have_no_answers(model):
    output = run_integer_model(model, np.zeros((0, CHANNELS, 512), np.int16))
    assert output.simple.shape == output.logits.shape == (0, 2)
    assert output.routed.shape == (0,)
