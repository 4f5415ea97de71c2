"""Start weights: those of another experiment of the same shape, which may lack a pruner."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import DataError

PRUNER = "ast_pruner"


def load_start(network: nn.Module, path: Path) -> None:
    """Load `path` into `network`. A pruner's parameters, and only those, may be missing and keep their start.

    Raises:
        DataError: the file is missing, damaged, or of another shape.
    """
    if not path.is_file():
        raise DataError(f"{path}: start weights are missing; make the experiment they come from first")
    try:
        weights = load_file(path)
        own = network.state_dict()
        missing = {name: own[name] for name in own.keys() - weights.keys() if PRUNER in name.split(".")}
        network.load_state_dict(weights | missing)
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{path}: start weights do not fit this model: {error}") from error
