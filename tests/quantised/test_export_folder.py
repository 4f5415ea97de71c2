"""The export folder checks itself, notices every change, and says what it could not check."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import write_json, write_npy, write_text
from pipeline.errors import DataError
from pipeline.quantised.export_folder import MANIFEST, memory_image, read_manifest, write_export
from pipeline.quantised.integer_files import DOCUMENT, document_hash
from pipeline.quantised.integer_numpy import quantise_windows
from pipeline.quantised.layer_table import macs_of, parameters_of
from tests.quantised.made_up import CHANNELS, ELECTRODE, made_up_quantised, made_up_signal


@pytest.fixture(scope="module")
def model():
    return made_up_quantised("A_lite")[1]


@pytest.fixture(scope="module")
def written(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "export"
    write_export(
        model, folder, quantise_windows(model.input, made_up_signal(10, 5).numpy()), {"simple_model": "A_lite"}
    )
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "export"))


def verified(folder: Path, *, path: str = "") -> subprocess.CompletedProcess[str]:
    """`verify.py` with nothing of this project in reach, and only the programs on `path`."""
    environment = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(folder / "verify.py")]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {line[:16].strip(): line[17:31].strip() for line in done.stdout.splitlines()}


def hashed(folder: Path, name: str) -> None:
    """Give a changed file the manifest's blessing, so that the checks behind the hashes are reached."""
    import hashlib

    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    manifest["sha256"] = document_hash(manifest)
    write_json(folder / MANIFEST, manifest)


def test_the_manifest_says_what_was_exported(model, written):
    manifest = read_manifest(written)
    assert manifest["electrode"] == ELECTRODE
    assert manifest["simple_model"] == "A_lite"
    assert manifest["routing"]["margin"] == model.routing.margin
    for network in model.networks:
        stated = manifest["networks"][network.name]
        assert (stated["parameters"], stated["macs"]) == (parameters_of(network), macs_of(network))
        assert [layer["layer"] for layer in stated["layers"]] == [layer.name for layer in network.layers]
    assert str(written.parent) not in (written / MANIFEST).read_text()


def test_an_export_is_the_same_whenever_it_is_made(model, written, tmp_path):
    windows = quantise_windows(model.input, made_up_signal(10, 5).numpy())
    write_export(model, tmp_path / "again", windows, {"simple_model": "A_lite"})
    assert read_manifest(tmp_path / "again")["sha256"] == read_manifest(written)["sha256"]


def test_without_tools_the_folder_says_what_is_not_installed(folder):
    done = verified(folder)
    found = statuses(done)
    assert done.returncode == 0, done.stderr
    assert [found[name] for name in ("hashes", "weight memories", "numpy", "ONNX")] == ["ok"] * 4
    assert [found[name] for name in ("C++", "RTL testbench")] == ["not installed"] * 2


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("verilator") is None or shutil.which("g++") is None, reason="Verilator is not installed"
)
def test_make_verify_checks_every_back_end(folder):
    command = ["make", "verify", f"PYTHON={sys.executable}"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = statuses(done)
    assert done.returncode == 0, done.stderr
    checks = ("hashes", "weight memories", "numpy", "C++", "ONNX", "RTL testbench")
    assert [found[name] for name in checks] == ["ok"] * 6
    assert "PASS 8 windows" in done.stdout


@pytest.mark.parametrize(
    "name", ["rtl/simple_path.v", "cpp/cascade_model.cpp", "weights/simple.c1.weight.mem", "vectors/simple.npy"]
)
def test_a_changed_file_is_refused_by_name(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-2] + b"0\n")
    done = verified(folder)
    assert done.returncode == 2
    assert f"{name}: its sha256 does not match manifest.json; export the folder again" in done.stderr
    with pytest.raises(DataError, match="its sha256 does not match"):
        read_manifest(folder)


def test_missing_and_foreign_files_are_refused_by_name(folder):
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt: not in manifest.json; remove it" in verified(folder).stderr
    (folder / "notes.txt").unlink()
    (folder / "onnx" / "complex.onnx").unlink()
    assert "complex.onnx: no such file" in verified(folder).stderr
    with pytest.raises(DataError, match=r"complex\.onnx: no such file"):
        read_manifest(folder)


def test_an_edited_manifest_is_refused(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["routing"]["margin"] += 1
    write_json(folder / MANIFEST, manifest)
    assert "manifest.json: its sha256 does not match its content" in verified(folder).stderr
    with pytest.raises(DataError, match="sha256 does not match its content"):
        read_manifest(folder)


def test_a_wrong_expectation_is_a_mismatch_of_every_back_end(folder):
    expected = np.load(folder / "vectors" / "complex.npy")
    expected[3, 1] += 1
    write_npy(folder / "vectors" / "complex.npy", expected)
    hashed(folder, "vectors/complex.npy")
    done = verified(folder)
    assert done.returncode == 1
    assert "MISMATCH       1 of 10 windows differ" in done.stdout


def test_a_memory_that_is_not_its_array_is_refused(folder):
    name = "weights/simple.c1.bias.mem"
    lines = (folder / name).read_text().splitlines()
    write_text(folder / name, "\n".join([lines[0], "0" * len(lines[1]), *lines[2:]]) + "\n")
    hashed(folder, name)
    assert "simple.c1.bias.mem: does not hold integer_model/arrays/simple.c1.bias.npy" in verified(folder).stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Conv2d"}, "simple.c2: unknown layer 'Conv2d'"),
        ({"output": {"scale": 0.3}}, "simple.c2.output: scale 0.3 is not a power of two"),
    ],
)
def test_a_model_that_is_not_understood_is_refused_by_layer(folder, change, message):
    path = folder / "integer_model" / DOCUMENT
    document = json.loads(path.read_text())
    layer = next(layer for layer in document["networks"]["simple"] if layer["name"] == "c2")
    layer |= {key: layer[key] | value if isinstance(value, dict) else value for key, value in change.items()}
    document["sha256"] = document_hash(document)
    write_json(path, document)
    hashed(folder, f"integer_model/{DOCUMENT}")
    done = verified(folder)
    assert done.returncode == 2
    assert message in done.stderr


def test_windows_that_do_not_fit_leave_no_folder(model, tmp_path):
    with pytest.raises(DataError, match="the model reads"):
        write_export(model, tmp_path / "export", np.zeros((2, CHANNELS, 100), np.int16), {})
    assert not (tmp_path / "export").exists()


def test_memory_images_are_twos_complement():
    assert memory_image(np.array([[1, -1], [-8, 7]]), 4) == "// shape [2, 2], 4 bits\n1\nf\n8\n7\n"
    assert memory_image(np.array([-1, 5]), 9).splitlines()[1:] == ["1ff", "005"]
