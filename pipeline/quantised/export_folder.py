"""The export folder: everything an FPGA engineer takes away of one patient's cascade, and how to check it without us.

manifest.json    electrode, scales, widths, margin and tau, parameters, multiplications, hash of every file
integer_model/   the source of truth: JSON and NPY
weights/         the same arrays as memory images, two's complement in hexadecimal
cpp/ onnx/ rtl/  the generated back ends
vectors/         windows and what the integer model says of them
verify.py        `make verify`: hashes, memories and all back ends against the vectors
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ..artifacts import atomic_directory, read_json, sha256_of_file, write_json, write_npy, write_text
from ..errors import DataError
from .export_cpp import TEMPLATES, write_cpp
from .export_onnx_integer import write_onnx
from .export_verilog import cycles_per_window, write_rtl, write_test_vectors
from .integer_files import ARRAYS, document_hash, write_integer_model
from .integer_model import Conv1d, FourierBands, IntegerModel, Layer
from .integer_numpy import check_windows, run_integer_model
from .layer_table import layer_table, macs_of, parameters_of, weight_bytes_of

MANIFEST, VERSION = "manifest.json", "chipweave export 1"
# Windows that the testbench streams sample by sample; all of them are in vectors/.
TESTBENCH_WINDOWS = 8


def write_export(
    model: IntegerModel, folder: Path | str, windows: Int[np.ndarray, "N C T"], facts: dict[str, Any]
) -> None:
    """Write the folder; it appears when it is complete.

    Args:
        model: a checked model.
        folder: where to.
        windows: quantised test windows.
        facts: of the training that the manifest repeats (name of the simple model, standardisation, tau before).

    Raises:
        DataError: windows that are not the model's, or a layer that a back end does not know.
    """
    check_windows(model.input.window, windows)
    with atomic_directory(folder) as temporary:
        write_integer_model(temporary / "integer_model", model)
        memories = dict(_memories(model, temporary))
        write_cpp(model, temporary / "cpp")
        write_onnx(model, temporary / "onnx")
        write_rtl(model, temporary / "rtl")
        write_test_vectors(model, temporary / "rtl", windows[:TESTBENCH_WINDOWS])
        _write_vectors(model, temporary / "vectors", windows)
        write_text(temporary / "verify.py", (TEMPLATES / "verify.py").read_text())
        write_text(temporary / "Makefile", (TEMPLATES / "export.mk").read_text())
        manifest = _manifest(model, facts, memories, len(windows))
        write_text(temporary / "README.md", _readme(manifest))
        manifest["files"] = {
            str(path.relative_to(temporary)): sha256_of_file(path)
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        manifest["sha256"] = document_hash(manifest)
        write_json(temporary / MANIFEST, manifest)


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest of an export folder, all hashes checked.

    Raises:
        DataError: a file is missing, was changed, or is not in the manifest.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != VERSION:
        raise DataError(f"{path}: not a '{VERSION}'; make EXP-C5-export-verify again")
    if manifest.get("sha256") != document_hash(manifest):
        raise DataError(f"{path}: its sha256 does not match its content; make EXP-C5-export-verify again")
    for name, expected in manifest["files"].items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file; make EXP-C5-export-verify again")
        if sha256_of_file(folder / name) != expected:
            raise DataError(f"{folder / name}: its sha256 does not match {path}; make EXP-C5-export-verify again")
    return manifest


def _arrays(layer: Layer) -> Iterator[tuple[str, int, np.ndarray]]:
    """Name, bits and content of a layer's constants."""
    if isinstance(layer, Conv1d):
        yield "weight", layer.weight_bits, layer.weight
        yield "bias", layer.accumulator.bits, layer.bias
    if isinstance(layer, FourierBands):
        yield "table", 16, layer.table
        yield "log2_table", 16, layer.log2_table


def _memories(model: IntegerModel, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write one memory image per array; its path and what the manifest says of it."""
    for network in model.networks:
        for layer in network.layers:
            for key, bits, array in _arrays(layer):
                name = f"{network.name}.{layer.name}.{key}"
                path = f"weights/{name}.mem"
                write_text(folder / path, memory_image(array, bits))
                yield path, {"array": f"integer_model/{ARRAYS}/{name}.npy", "bits": bits, "shape": list(array.shape)}


def memory_image(array: Int[np.ndarray, "*shape"], bits: int) -> str:
    """For `$readmemh`: one word per line, last axis fastest, two's complement of `bits`."""
    digits = -(-bits // 4)
    mask = (1 << bits) - 1
    words = "\n".join(f"{int(value) & mask:0{digits}x}" for value in array.ravel())
    return f"// shape {list(array.shape)}, {bits} bits\n{words}\n"


def _write_vectors(model: IntegerModel, folder: Path, windows: np.ndarray) -> None:
    answers = run_integer_model(model, windows)
    write_npy(folder / "windows.npy", windows)
    write_npy(folder / "simple.npy", answers.simple)
    write_npy(folder / "complex.npy", answers.complex)
    write_npy(folder / "routed.npy", answers.routed)


def _manifest(model: IntegerModel, facts: dict[str, Any], memories: dict[str, Any], vectors: int) -> dict[str, Any]:
    window, table = model.input.window, layer_table(model)
    networks = {
        network.name: {
            "parameters": parameters_of(network),
            "macs": macs_of(network),
            "weight_bytes": weight_bytes_of(network),
            "logit_scale": 2.0**network.logits.exponent,
            "logit_bits": network.logits.bits,
            "layers": _layers(table[table["network"] == network.name].drop(columns="network")),
        }
        for network in model.networks
    }
    electrodes = [layer.electrode for layer in model.simple.layers if hasattr(layer, "electrode")]
    return {
        "format": VERSION,
        "patient": model.patient,
        "electrode": electrodes[0],
        **facts,
        "input": {
            "sample_rate_hz": model.input.sample_rate_hz,
            "channels": window.channels,
            "samples": window.time,
            "scale": 2.0**window.exponent,
            "bits": window.bits,
            "low": window.low,
            "high": window.high,
        },
        "routing": {
            **vars(model.routing),
            "margin_in_logits": model.routing.margin * 2.0**model.simple.logits.exponent,
        },
        "networks": networks,
        "rtl": {"top": "simple_path", "cycles_per_window": cycles_per_window(model)},
        "test_windows": vectors,
        "memories": memories,
    }


def _layers(table: Any) -> list[dict[str, Any]]:
    rows = table.to_dict("records")
    return [{key: value for key, value in row.items() if value == value} for row in rows]


def _readme(manifest: dict[str, Any]) -> str:
    networks = "\n".join(
        f"| {name} | {facts['parameters']:,} | {facts['macs']:,} | {facts['weight_bytes']:,} "
        f"| {facts['logit_bits']} | 2^{int(np.log2(facts['logit_scale']))} |"
        for name, facts in manifest["networks"].items()
    )
    given = manifest["input"]
    routing = manifest["routing"]
    return (
        (TEMPLATES / "export_readme.md")
        .read_text()
        .format(
            patient=manifest["patient"],
            electrode=manifest["electrode"],
            networks=networks,
            input_exponent=int(np.log2(given["scale"])),
            cycles=manifest["rtl"]["cycles_per_window"],
            windows=manifest["test_windows"],
            testbench=min(TESTBENCH_WINDOWS, manifest["test_windows"]),
            margin=routing["margin"],
            tau=routing["threshold"],
            **{key: given[key] for key in ("channels", "samples", "low", "high", "sample_rate_hz")},
        )
    )
