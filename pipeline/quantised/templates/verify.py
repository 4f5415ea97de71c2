#!/usr/bin/env python3
"""Checks this export folder by itself: python3 and numpy; g++, onnxruntime and Verilator where they are installed.

Nothing here is shared with the program that wrote the folder: the integer model is executed from its description.
Ends with status 0 if all that could be checked is right, 1 if anything differs, 2 if the folder is not as it was.
"""

import ctypes
import hashlib
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
BATCH = 32


class DamagedError(Exception):
    """The folder does not hold what its manifest says; the message names the file and the mend."""


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def document_hash(document):
    content = {key: value for key, value in document.items() if key != "sha256"}
    return sha256(json.dumps(content, sort_keys=True).encode())


def read_document(path):
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}); export the folder again") from error
    if document.get("sha256") != document_hash(document):
        raise DamagedError(f"{path}: its sha256 does not match its content; export the folder again")
    return document


def check_hashes(manifest):
    """Every file of the manifest is there with its hash, and no other file is."""
    for name, expected in manifest["files"].items():
        path = HERE / name
        if not path.is_file():
            raise DamagedError(f"{path}: no such file; export the folder again")
        if sha256(path.read_bytes()) != expected:
            raise DamagedError(f"{path}: its sha256 does not match manifest.json; export the folder again")
    present = {str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file()}
    extra = {name for name in present - set(manifest["files"]) - {"manifest.json"} if "__pycache__" not in name}
    if extra:
        raise DamagedError(f"{HERE / min(extra)}: not in manifest.json; remove it")
    return f"{len(manifest['files'])} files"


def check_memories(manifest):
    """Each weight memory holds the array of the integer model, in two's complement."""
    for name, memory in manifest["memories"].items():
        array = np.load(HERE / memory["array"], allow_pickle=False).ravel().astype(np.int64)
        words = [line for line in (HERE / name).read_text().split("\n") if line and not line.startswith("//")]
        values = [int(word, 16) for word in words]
        signed = [value - (1 << memory["bits"]) if value >> (memory["bits"] - 1) else value for value in values]
        if signed != array.tolist():
            raise DamagedError(f"{HERE / name}: does not hold {memory['array']}; export the folder again")
    return f"{len(manifest['memories'])} memories"


def exponent(scale, name):
    mantissa, power = math.frexp(scale)
    if mantissa != 0.5:
        raise DamagedError(f"{name}: scale {scale!r} is not a power of two; export the folder again")
    return power - 1


def rounded(values, shift):
    """values / 2**shift to the nearest integer, halves to the even one."""
    if shift <= 0:
        return values
    if shift > 60:
        return np.zeros_like(values)
    return (values + ((1 << (shift - 1)) - 1) + ((values >> shift) & 1)) >> shift


def method_of(layer):
    """SelectElectrode is run_select_electrode."""
    return "run_" + re.sub(r"(?<!^)(?=[A-Z])", "_", layer["kind"]).lower()


class Network:
    """One network of integer_model.json, executed with numpy in int64."""

    def __init__(self, name, layers):
        self.name, self.layers = name, layers
        for layer in layers:
            if not hasattr(self, method_of(layer)):
                raise DamagedError(f"{name}.{layer['name']}: unknown layer '{layer['kind']}'; use a newer verify.py")

    def __call__(self, windows):
        parts = [self.logits(windows[start : start + BATCH]) for start in range(0, len(windows), BATCH)]
        return np.concatenate(parts)

    def logits(self, windows):
        tensors = {"window": windows.astype(np.int64)}
        for layer in self.layers:
            values = [tensors[name] for name in layer["inputs"]]
            tensors[layer["name"]] = getattr(self, method_of(layer))(layer, *values)
        return tensors[self.layers[-1]["name"]][:, :, 0]

    def array(self, layer, key):
        return np.load(HERE / "integer_model" / "arrays" / layer[key]["array"], allow_pickle=False).astype(np.int64)

    def requantised(self, layer, sums):
        where = f"{self.name}.{layer['name']}"
        coarse = exponent(layer["output"]["scale"], f"{where}.output")
        fine = exponent(layer["accumulator"]["scale"], f"{where}.accumulator")
        return np.clip(rounded(sums, coarse - fine), layer["output"]["low"], layer["output"]["high"])

    def run_select_electrode(self, layer, values):
        return values[:, [layer["electrode"]]]

    def run_conv1d(self, layer, values):
        weight, bias = self.array(layer, "weight"), self.array(layer, "bias")
        filters, per_group, kernel = weight.shape
        padded = np.pad(values, ((0, 0), (0, 0), (layer["padding"], layer["padding"])))
        steps = layer["output"]["time"]
        sums = np.zeros((len(values), filters, steps), np.int64) + bias[:, None]
        own = filters // layer["groups"]
        for group in range(layer["groups"]):
            rows, columns = slice(group * own, (group + 1) * own), slice(group * per_group, (group + 1) * per_group)
            for k in range(kernel):
                seen = padded[:, columns, k : k + (steps - 1) * layer["stride"] + 1 : layer["stride"]]
                # Products of doubles are exact: no sum of the model needs more than 53 bits.
                part = weight[rows, :, k].astype(np.float64) @ seen.astype(np.float64)
                sums[:, rows] += part.astype(np.int64)
        return self.requantised(layer, sums)

    def run_average_pool(self, layer, values):
        steps, size = layer["output"]["time"], layer["size"]
        return self.requantised(layer, sum(values[:, :, i : steps * size : size] for i in range(size)))

    def run_sum(self, layer, values):
        return self.requantised(layer, values.sum(1 if layer["axis"] == "channels" else 2, keepdims=True))

    def run_maximum(self, layer, values):
        return values.max(1 if layer["axis"] == "channels" else 2, keepdims=True)

    def run_concatenate(self, layer, first, second):
        return np.concatenate([first, second], 1 if layer["axis"] == "channels" else 2)

    def run_hard_sigmoid(self, layer, values):
        return self.requantised(layer, values + layer["half"])

    def run_multiply(self, layer, values, gate):
        return self.requantised(layer, values * gate)

    def run_fourier_bands(self, layer, values):
        table, log2_table = self.array(layer, "table"), self.array(layer, "log2_table")
        products = rounded(values[:, 0] @ table.T, layer["product_shift"])
        bins, index_bits = len(table) // 2, len(log2_table).bit_length() - 1
        energy, start = [], 0
        for count in layer["bins_per_band"]:
            places = [*range(start, start + count), *range(bins + start, bins + start + count)]
            energy.append((products[:, places] ** 2).sum(1) + layer["floor"])
            start += count
        logarithms = np.array(
            [
                [self.logarithm(int(value), log2_table, index_bits, layer) for value in row]
                for row in np.transpose(energy)
            ]
        )
        return self.requantised(layer, logarithms[:, :, None])

    @staticmethod
    def logarithm(value, table, index_bits, layer):
        position = value.bit_length() - 1
        mantissa = ((value << index_bits) >> position) - (1 << index_bits)
        return (position << layer["log2_bits"]) + int(table[mantissa]) + layer["offset"]

    def run_window_statistics(self, layer, values):
        signal = values[:, 0]
        centred = signal - rounded(signal.sum(1, keepdims=True), signal.shape[1].bit_length() - 1)
        above = centred >= 0
        features = [(centred**2).sum(1), np.abs(centred).max(1), (above[:, 1:] != above[:, :-1]).sum(1)]
        scaled = [rounded(feature, shift) for feature, shift in zip(features, layer["shifts"], strict=True)]
        return np.clip(np.stack(scaled, 1), layer["output"]["low"], layer["output"]["high"])[:, :, None]


def run_numpy(windows, margin):
    document = read_document(HERE / "integer_model" / "integer_model.json")
    simple, complex_ = (Network(name, document["networks"][name])(windows) for name in ("simple", "complex"))
    return simple, complex_, np.abs(simple[:, 1] - simple[:, 0]) <= margin


def run_cpp(windows, margin):
    with tempfile.TemporaryDirectory() as work:
        library = Path(work) / "libcascade.so"
        source = HERE / "cpp" / "cascade_model.cpp"
        command = ["g++", "-std=c++17", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        simple, complex_ = (np.zeros((len(windows), 2), np.int64) for _ in range(2))
        routed = np.zeros(len(windows), np.uint8)
        windows = np.ascontiguousarray(windows)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (windows, simple, complex_, routed)]
        function = ctypes.CDLL(str(library)).cascade_run
        if function(pointers[0], ctypes.c_size_t(len(windows)), *pointers[1:]):
            raise DamagedError(f"{source}: refuses the test windows; export the folder again")
    return simple, complex_, routed.astype(bool)


def run_onnx(windows, margin):
    import onnxruntime

    provider = ["CPUExecutionProvider"]
    simple, complex_ = (
        onnxruntime.InferenceSession(str(HERE / "onnx" / f"{name}.onnx"), providers=provider)
        for name in ("simple", "complex")
    )
    logits, routed = simple.run(["logits", "routed"], {"window": windows})
    return logits, complex_.run(["logits"], {"window": windows})[0], routed


def check_testbench():
    """The testbench of rtl/ compares logits, route bits and cycles by itself."""
    sources = sorted(str(path) for path in (HERE / "rtl").glob("*.v"))
    with tempfile.TemporaryDirectory() as work:
        build = ["verilator", "--binary", "--top-module", "tb", "-I" + str(HERE / "rtl"), "--Mdir", work]
        done = subprocess.run([*build, "-Wno-fatal", "-Wno-lint", *sources], capture_output=True, text=True)
        if done.returncode:
            return False, done.stderr[-1000:]
        done = subprocess.run([str(Path(work) / "Vtb")], cwd=HERE / "rtl", capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    passes = [line for line in said if line.startswith("PASS")]
    passed = done.returncode == 0 and bool(passes)
    return passed, passes[0] if passed else " ".join(said[-3:])


def compare(run, windows, expected, margin):
    """Windows whose logits or route bit differ from the expected ones."""
    answers = run(windows, margin)
    differs = np.zeros(len(windows), bool)
    for name, answer in zip(("simple", "complex", "routed"), answers, strict=True):
        differs |= (answer != expected[name]).reshape(len(windows), -1).any(1)
    return int(differs.sum())


def main():
    manifest = read_document(HERE / "manifest.json")
    rows = [("hashes", "ok", check_hashes(manifest)), ("weight memories", "ok", check_memories(manifest))]
    windows = np.load(HERE / "vectors" / "windows.npy", allow_pickle=False)
    expected = {
        name: np.load(HERE / "vectors" / f"{name}.npy", allow_pickle=False) for name in ("simple", "complex", "routed")
    }
    back_ends = (
        ("numpy", run_numpy, True, ""),
        ("C++", run_cpp, shutil.which("g++"), "g++"),
        ("ONNX", run_onnx, importlib.util.find_spec("onnxruntime"), "onnxruntime"),
    )
    for name, run, installed, needs in back_ends:
        if not installed:
            rows.append((name, "not installed", needs))
            continue
        wrong = compare(run, windows, expected, manifest["routing"]["margin"])
        rows.append((name, "MISMATCH" if wrong else "ok", f"{wrong} of {len(windows)} windows differ"))
    if missing := [program for program in ("verilator", "make", "g++") if not shutil.which(program)]:
        rows.append(("RTL testbench", "not installed", missing[0]))
    else:
        passed, said = check_testbench()
        rows.append(("RTL testbench", "ok" if passed else "MISMATCH", said))
    for name, status, detail in rows:
        print(f"{name:16} {status:14} {detail}", flush=True)
    return int(any(status == "MISMATCH" for _, status, _ in rows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DamagedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
