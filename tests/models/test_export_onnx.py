"""Exported networks in ONNX Runtime: the same logits as in PyTorch, and fewer tokens in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from pipeline.artifacts import write_yaml
from pipeline.config import resolve_run
from pipeline.errors import DataError
from pipeline.models.build import build_model
from pipeline.models.compact import compact, save_compacted
from pipeline.models.export_onnx import export_onnx, load_trained
from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT

SIZES = (24, 4, 5, 24, 3, 2, 2.0, 8)
LEVELS = {"time_window_levels": [1, 2], "space_window_levels": [1, 2]}


@pytest.fixture(autouse=True)
def without_shape_checks() -> Iterator[None]:
    """While a graph is traced, sizes are tensors, which no annotation of a size allows."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def run_onnx(path: Path, *inputs: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [part.name for part in session.get_inputs()]
    return session.run(None, dict(zip(names, (part.numpy() for part in inputs), strict=True)))[0]


@pytest.mark.parametrize(
    "ast",
    [
        None,
        {"prune_layers": [1], "rho_target": 0.5},
        {"prune_layers": [0, 2], "rho_target": 0.3, "time_score": "entropy", "d_local": 1.0},
        {"prune_layers": [1], "rho_target": 1.0, "gates": False},
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_video_logits_are_equal_on_other_clips(tmp_path: Path, ast: dict | None, batch: int) -> None:
    torch.manual_seed(0)
    model = VideoViT(*SIZES, use_ast_prune=ast is not None, ast_cfg=None if ast is None else LEVELS | ast).eval()
    check = export_onnx(model, tmp_path / "m.onnx", batch_size=batch)
    assert check.largest_difference <= 1e-4
    assert check.inputs == {"clips": [batch, 4, 3, 24, 24]}
    clips = torch.randn(batch, 4, 3, 24, 24, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        wanted = model(clips).numpy()
    assert np.abs(run_onnx(tmp_path / "m.onnx", clips) - wanted).max() <= 1e-5


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_sound_and_its_absence_survive(tmp_path: Path, fusion: str) -> None:
    torch.manual_seed(0)
    cfg = LEVELS | {"prune_layers": [1], "rho_target": 0.5, "audio": "gate" if fusion == "early" else "keep"}
    model = VideoAudioAST(*SIZES, 8, use_ast_prune=True, ast_cfg=cfg, fusion=fusion).eval()
    export_onnx(model, tmp_path / "m.onnx", batch_size=2)
    clips, audio = torch.randn(2, 4, 3, 24, 24), torch.rand(2, 4, 8)
    for known in ([True, True], [True, False], [False, False]):
        has_audio = torch.tensor(known)
        with torch.no_grad():
            wanted = model(clips, audio, has_audio=has_audio).numpy()
        assert np.abs(run_onnx(tmp_path / "m.onnx", clips, audio, has_audio) - wanted).max() <= 1e-5, known


def test_ties_are_broken_as_in_training(tmp_path: Path) -> None:
    """Still clips score alike everywhere: the first places win, in both."""
    torch.manual_seed(0)
    model = VideoViT(*SIZES, use_ast_prune=True, ast_cfg=LEVELS | {"prune_layers": [1], "rho_target": 0.3}).eval()
    export_onnx(model, tmp_path / "m.onnx")
    still = torch.zeros(1, 4, 3, 24, 24)
    with torch.no_grad():
        assert np.abs(run_onnx(tmp_path / "m.onnx", still) - model(still).numpy()).max() <= 1e-5


def test_later_blocks_of_the_graph_see_the_kept_tokens_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = LEVELS | {"prune_layers": [1], "rho_target": 0.5, "gates": False}
    export_onnx(VideoViT(*SIZES, use_ast_prune=True, ast_cfg=cfg), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    hidden = [node.output[0] for node in model.graph.node if node.op_type == "Erf"]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in hidden)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(hidden, {"clips": np.zeros((1, 4, 3, 24, 24), np.float32)})
    assert [value.shape[1] for value in values] == [37, 19, 19]


def test_the_model_stays_in_evaluation(tmp_path: Path) -> None:
    model = VideoAudioAST(*SIZES, 8, fusion="early").eval()
    export_onnx(model, tmp_path / "m.onnx")
    assert not any(module.training for module in model.modules())


def test_a_run_folder_is_exported_compacted(tmp_path: Path) -> None:
    cfg = resolve_run("tiny", "configs/ast2_ucf101_ast_only.yaml", experiment="EXP")
    model = build_model(cfg, 6)
    with torch.no_grad():
        model.ast_pruner.head_logit[0, 0] = -1.0
        model.ast_pruner.ch_logit[:, ::3] = -1.0
    write_yaml(tmp_path / "config.yaml", cfg.model_dump())
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    smaller = compact(model)
    save_compacted(tmp_path / "compact.safetensors", smaller)
    loaded = load_trained(tmp_path)
    assert [block.num_heads for block in loaded.transformer.blocks] == [1, 2]
    clips = torch.randn(1, *model.clip_shape)
    export_onnx(loaded, tmp_path / "m.onnx")
    with torch.no_grad():
        assert np.abs(run_onnx(tmp_path / "m.onnx", clips) - model.eval()(clips).numpy()).max() <= 1e-5


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.yaml: no such file; give the folder of a finished run"):
        load_trained(tmp_path)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    write_yaml(tmp_path / "config.yaml", resolve_run("tiny", experiment="EXP").model_dump())
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match=r"model\.safetensors: is not the model of"):
        load_trained(tmp_path)
