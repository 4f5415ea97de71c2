"""A trained network as an ONNX file, and the proof that ONNX Runtime computes the same logits from it.

The graph is that of evaluation: the number of kept tokens is fixed and tokens are gathered, so that the saved time is
in the file. Closed gates are cut out beforehand where the run has a compacted model. Batch size is fixed too.

PyTorch's tracing exporter is used, which needs nothing beyond `onnx`. It lacks two operators of the pruner; both are
given below: a stable sort is a TopK of everything (ONNX lets the lower index win a tie), `vecdot` a product and a sum.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.artifacts import atomic_path
from pipeline.config import load_resolved
from pipeline.errors import DataError

from .build import build_model
from .compact import has_pruner, load_compacted
from .video_audio_ast import VideoAudioAST
from .video_vit import VideoViT

OPSET = 18
TOLERANCE = 1e-4
REPEATS = 11


@dataclass(frozen=True)
class OnnxCheck:
    """What ONNX Runtime made of a file, beside PyTorch on the same clips and one thread.

    Attributes:
        inputs: name and shape of each.
        largest_difference: of logits, absolute.
        torch_ms, onnx_ms: median milliseconds of a forward pass of the batch, taken in turns.
    """

    inputs: Mapping[str, list[int]]
    opset: int
    batch_size: int
    file_bytes: int
    largest_difference: float
    torch_ms: float
    onnx_ms: float

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def load_trained(folder: Path) -> VideoViT | VideoAudioAST:
    """The network of a finished run folder in evaluation mode, compacted where the run has closed gates.

    Raises:
        DataError: the folder is not that of a finished run, or a file in it is damaged.
    """
    for name in ("config.yaml", "model.safetensors"):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file; give the folder of a finished run, EXP-ID/seedK")
    cfg = load_resolved(folder / "config.yaml")
    weights = folder / "model.safetensors"
    try:
        with safe_open(weights, framework="pt") as file:
            heads = [name for name in file.keys() if name.endswith("transformer.head.weight")]  # noqa: SIM118
            model = build_model(cfg, file.get_slice(heads[0]).get_shape()[0])
        if has_pruner(model) and (folder / "compact.safetensors").is_file():
            return load_compacted(folder / "compact.safetensors", model)
        model.load_state_dict(load_file(weights))
    except (IndexError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{weights}: is not the model of {folder / 'config.yaml'}: {error}") from error
    return model.eval()


def export_onnx(model: VideoViT | VideoAudioAST, path: Path, *, batch_size: int = 1) -> OnnxCheck:
    """Write a network as ONNX and check the file in ONNX Runtime.

    Args:
        model: its evaluation form is exported.
        path: the file. Inputs are `clips` [B, T, C, H, W] and, with sound, `audio` [B, T, F] and `has_audio` [B];
            the output is `logits` [B, K].
        batch_size: clips per call.

    Raises:
        RuntimeError: ONNX Runtime's logits differ from PyTorch's by more than 1e-4; nothing is written.
    """
    # The exporter puts the module it is given back into the mode that it found, so the wrapper must not train either.
    network = _Logits(model).eval()
    with atomic_path(path) as temporary:
        _write(network, _example_inputs(model, batch_size, seed=0), temporary)
        # Other clips than those that were traced: a value that became a constant by mistake would show.
        check = _check(network, _example_inputs(model, batch_size, seed=1), temporary, batch_size)
        if not check.largest_difference <= TOLERANCE:
            raise RuntimeError(
                f"{path}: ONNX Runtime's logits differ from PyTorch's by {check.largest_difference:.2g} "
                f"(at most {TOLERANCE:g})"
            )
    return check


class _Logits(nn.Module):
    """A network with tensors in and logits out, which is what a graph can be traced of."""

    def __init__(self, model: VideoViT | VideoAudioAST) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor, audio: Tensor | None = None, has_audio: Tensor | None = None) -> Tensor:
        if audio is None:
            return self.model(clips)
        return self.model(clips, audio, has_audio=has_audio)


def _example_inputs(model: VideoViT | VideoAudioAST, batch_size: int, seed: int) -> dict[str, Tensor]:
    """Noise of the right shapes; some clips have no sound."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(model, VideoViT):
        return {"clips": torch.randn(batch_size, *model.clip_shape, generator=generator)}
    if model.fusion == "audio":
        raise DataError("the run has fusion=audio and no picture tokens; give a run with video")
    return {
        "clips": torch.randn(batch_size, *model.video.clip_shape, generator=generator),
        "audio": torch.rand(batch_size, *model.audio_shape, generator=generator),
        "has_audio": torch.arange(seed, batch_size + seed) % 2 == 0,
    }


def _write(network: _Logits, inputs: Mapping[str, Tensor], path: Path) -> None:
    torch.onnx.register_custom_op_symbolic("aten::sort", _stable_sort, OPSET)
    torch.onnx.register_custom_op_symbolic("aten::linalg_vecdot", _vecdot, OPSET)
    with warnings.catch_warnings(), torch.no_grad():
        # Sizes become constants of the graph, as they should; each is a warning. So is the exporter's age.
        for category in (torch.jit.TracerWarning, UserWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["logits"],
        )


def _check(network: _Logits, inputs: Mapping[str, Tensor], path: Path, batch_size: int) -> OnnxCheck:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in inputs.items()}

    def by_torch() -> np.ndarray:
        with torch.inference_mode():
            return network(*inputs.values()).numpy()

    def by_onnx() -> np.ndarray:
        return session.run(["logits"], feed)[0]

    difference = float(np.abs(by_torch() - by_onnx()).max())
    torch_ms, onnx_ms = _milliseconds(by_torch, by_onnx)
    shapes = {name: list(value.shape) for name, value in inputs.items()}
    return OnnxCheck(shapes, OPSET, batch_size, path.stat().st_size, difference, torch_ms, onnx_ms)


def _milliseconds(*functions: Callable[[], object]) -> list[float]:
    """Median time of each function, called in turns, with one thread for PyTorch as for ONNX Runtime."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(REPEATS):
        for function, mine in zip(functions, seconds, strict=True):
            began = time.perf_counter()
            function()
            mine.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return [1e3 * statistics.median(mine) for mine in seconds]


def _stable_sort(g: Any, values: Any, *rest: Any) -> Any:
    """`torch.sort` (with or without `stable`): the TopK of as many elements as there are."""
    dim, descending = (torch.onnx.symbolic_helper._get_const(part, "i", "sort") for part in rest[-2:])
    axis = g.op("Constant", value_t=torch.tensor([dim]))
    size = g.op("Gather", g.op("Shape", values), axis, axis_i=0)
    return g.op("TopK", values, size, axis_i=dim, largest_i=int(descending), sorted_i=1, outputs=2)


def _vecdot(g: Any, x: Any, y: Any, dim: Any) -> Any:
    """`torch.linalg.vecdot` of real tensors."""
    axis = g.op("Constant", value_t=torch.tensor([torch.onnx.symbolic_helper._get_const(dim, "i", "vecdot")]))
    return g.op("ReduceSum", g.op("Mul", x, y), axis, keepdims_i=0)
