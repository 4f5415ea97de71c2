"""An integer model as a folder: `integer_model.json`, one NPY per array with its hash, and a hash of it all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import atomic_directory, read_json, read_npy, sha256_of_file, write_json, write_npy
from ..errors import DataError, suggestion
from .integer_arithmetic import exponent_of
from .integer_check import check_model
from .integer_model import (
    LAYER_KINDS,
    Accumulator,
    Format,
    InputQuantiser,
    IntegerModel,
    IntegerNetwork,
    Layer,
    Routing,
)

DOCUMENT = "integer_model.json"
ARRAYS = "arrays"
VERSION = "chipweave integer model 1"
_NESTED: dict[str, Any] = {"output": Format, "accumulator": Accumulator, "window": Format}
_TUPLES = ("inputs", "shifts", "bins_per_band")


def write_integer_model(folder: Path | str, model: IntegerModel) -> None:
    """Write a model; the folder appears when it is complete. Scales are written as numbers, powers of two."""
    check_model(model, str(folder))
    with atomic_directory(folder) as temporary:
        (temporary / ARRAYS).mkdir()
        document: dict[str, Any] = {
            "format": VERSION,
            "patient": model.patient,
            "input": _encode(model.input, "", temporary),
            "networks": {
                network.name: [
                    {"kind": type(layer).__name__, **_encode(layer, f"{network.name}.{layer.name}", temporary)}
                    for layer in network.layers
                ]
                for network in model.networks
            },
            "routing": vars(model.routing),
            "arrays": {path.name: sha256_of_file(path) for path in sorted((temporary / ARRAYS).iterdir())},
        }
        document["sha256"] = document_hash(document)
        write_json(temporary / DOCUMENT, document)


def read_integer_model(folder: Path | str) -> IntegerModel:
    """Read and check a model.

    Raises:
        DataError: a file is missing or its hash does not match, a layer is unknown, a scale is not a power of two, or
            the layers contradict each other; the message names the file, the network and the layer.
    """
    folder = Path(folder)
    path = folder / DOCUMENT
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != VERSION:
        raise DataError(f"{path}: not a '{VERSION}'; make EXP-C4-qat again")
    if document.get("sha256") != document_hash(document):
        raise DataError(f"{path}: its sha256 does not match its content; make EXP-C4-qat again")
    for name, expected in document["arrays"].items():
        file = folder / ARRAYS / name
        if not file.is_file():
            raise DataError(f"{file}: no such file; make EXP-C4-qat again")
        if sha256_of_file(file) != expected:
            raise DataError(f"{file}: its sha256 does not match {path}; make EXP-C4-qat again")
    try:
        networks = {
            name: IntegerNetwork(name, tuple(_layer(layer, name, folder) for layer in layers))
            for name, layers in document["networks"].items()
        }
        model = IntegerModel(
            patient=document["patient"],
            input=_decode(InputQuantiser, document["input"], f"{path}: input", folder),
            simple=networks["simple"],
            complex=networks["complex"],
            routing=_decode(Routing, document["routing"], f"{path}: routing", folder),
        )
    except KeyError as error:
        raise DataError(f"{path}: lacks {error}; make EXP-C4-qat again") from error
    check_model(model, str(path))
    return model


def document_hash(document: dict[str, Any]) -> str:
    """SHA-256 of everything but the hash itself; the arrays' hashes are part of it."""
    content = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _encode(value: Any, prefix: str, folder: Path) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, np.ndarray):
            name = f"{prefix}.{field.name}.npy"
            write_npy(folder / ARRAYS / name, content)
            encoded[field.name] = {"array": name}
        elif field.name in _NESTED:
            encoded[field.name] = _encode(content, prefix, folder)
        elif field.name.endswith("exponent"):
            encoded[_scale_key(field.name)] = 2.0**content
        else:
            encoded[field.name] = list(content) if isinstance(content, tuple) else content
    return encoded


def _layer(encoded: dict[str, Any], network: str, folder: Path) -> Layer:
    where = f"{folder / DOCUMENT}: {network}.{encoded['name']}"
    kind = encoded["kind"]
    if kind not in LAYER_KINDS:
        raise DataError(
            f"{where}: unknown layer '{kind}'{suggestion(kind, LAYER_KINDS)}; known: {', '.join(LAYER_KINDS)}"
        )
    return _decode(LAYER_KINDS[kind], encoded, where, folder)


def _decode(kind: Any, encoded: dict[str, Any], where: str, folder: Path) -> Any:
    values: dict[str, Any] = {}
    for field in fields(kind):
        key = _scale_key(field.name) if field.name.endswith("exponent") else field.name
        if key not in encoded:
            raise DataError(f"{where}: lacks '{key}'; make EXP-C4-qat again")
        content = encoded[key]
        if isinstance(content, dict) and "array" in content:
            content = read_npy(folder / ARRAYS / content["array"])
        elif field.name in _NESTED:
            content = _decode(_NESTED[field.name], content, f"{where}.{field.name}", folder)
        elif key != field.name:
            content = exponent_of(content, f"{where}.{key}")
        elif field.name in _TUPLES:
            content = tuple(content)
        values[field.name] = content
    return kind(**values)


def _scale_key(name: str) -> str:
    return name.removesuffix("exponent") + "scale"
