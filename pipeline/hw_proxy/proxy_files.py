"""A fitted proxy on disk: `proxy.json` says what it is, `model.safetensors` holds its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..artifacts import atomic_path, read_json, write_json
from ..errors import DataError
from .direct_model import DirectModel
from .intervals import Intervals
from .latency_model import LatencyModel
from .layer_hw_proxy import LayerHwProxy

FORMAT = 1
DESCRIPTION, WEIGHTS = "proxy.json", "model.safetensors"


def save_proxy(folder: Path | str, proxy: LayerHwProxy, intervals: dict[str, Intervals], notes: dict[str, Any]) -> None:
    """Write a proxy.

    Args:
        intervals: by regime: `known` devices, `unseen` ones, `calibrated` ones.
        notes: JSON values kept beside it (the configuration, the accuracy).
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    first = proxy.members[0]
    assert isinstance(first, LatencyModel | DirectModel)
    hidden = [layer.out_features for layer in first.network.hidden if isinstance(layer, nn.Linear)]
    description: dict[str, Any] = {
        "format": FORMAT,
        "mode": "direct" if isinstance(first, DirectModel) else "efficiency",
        "members": len(proxy.members),
        "hidden": hidden,
        "latency_rule": proxy.latency_rule,
        "known_devices": list(first.known_devices) if isinstance(first, LatencyModel) else [],
        "sources": list(first.sources) if isinstance(first, LatencyModel) else [],
        "intervals": {
            regime: {kind: list(pair) for kind, pair in one.bounds.items()} for regime, one in intervals.items()
        },
        "notes": notes,
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: value.contiguous() for name, value in proxy.state_dict().items()}, temporary)
    write_json(folder / DESCRIPTION, description)


def load_proxy(folder: Path | str) -> LayerHwProxy:
    """Read a proxy.

    Raises:
        DataError: the folder holds none, or one of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    description = read_description(folder)
    members: list[nn.Module] = []
    for _ in range(description["members"]):
        if description["mode"] == "direct":
            members.append(DirectModel(description["hidden"]))
        else:
            members.append(LatencyModel(description["known_devices"], description["sources"], description["hidden"]))
    proxy = LayerHwProxy(members, description["latency_rule"])
    try:
        proxy.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(
            f"{folder / WEIGHTS}: does not hold the proxy of {DESCRIPTION} ({error}); fit it again"
        ) from error
    for parameter in proxy.parameters():
        parameter.requires_grad_(False)
    return proxy.eval()


def load_intervals(folder: Path | str) -> dict[str, Intervals]:
    """The intervals of a proxy, by regime; empty where none were calibrated."""
    stored = read_description(folder)["intervals"]
    return {
        regime: Intervals({kind: (pair[0], pair[1]) for kind, pair in bounds.items()})
        for regime, bounds in stored.items()
    }


def read_description(folder: Path | str) -> dict[str, Any]:
    """`proxy.json` of a folder.

    Raises:
        DataError: there is none, or it has another format.
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise DataError(f"{folder}: holds no {DESCRIPTION}; give the output folder of scripts.run_proxy_ms_mem")
    description = read_json(path)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DataError(f"{path}: is not a proxy of format {FORMAT}; fit it again")
    return description
