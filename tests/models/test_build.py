from __future__ import annotations

import pytest
import torch

from pipeline.config.sections import RunConfig
from pipeline.models.build import build_model, initialise
from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT


def config(seed: int = 0, fusion: str | None = None) -> RunConfig:
    return RunConfig.model_validate(
        {
            "seed": seed,
            "data": {"use_audio": fusion is not None, "image_size": 32, "short_side": 32, "num_frames": 4},
            "audio": {"n_mels": 6},
            "model": {"embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0, "fusion": fusion or "late"},
            "training": {"use_audio": fusion is not None},
        }
    )


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("fusion", [None, "early", "late", "audio"])
def test_weights_depend_on_the_seed_and_nothing_else(fusion: str | None) -> None:
    model = build_model(config(3, fusion), 5)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert_same_weights(build_model(config(3, fusion), 5), model)
    assert torch.equal(torch.get_rng_state(), before)
    other = dict(build_model(config(4, fusion), 5).named_parameters())
    same = {name for name, p in model.named_parameters() if torch.equal(p, other[name])}
    # LayerNorm starts at one and zero, biases at zero, for every seed.
    assert same == {name for name in other if "norm" in name or name.endswith("bias")}


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_seed_gives_the_picture_the_same_weights_with_and_without_sound(fusion: str) -> None:
    plain, joint = build_model(config(7), 5), build_model(config(7, fusion), 5)
    assert isinstance(plain, VideoViT)
    assert isinstance(joint, VideoAudioAST)
    assert_same_weights(joint.video, plain)


def test_a_seed_gives_the_sound_the_same_weights_alone_and_beside_the_picture() -> None:
    assert_same_weights(build_model(config(7, "audio"), 5).audio, build_model(config(7, "late"), 5).audio)


def test_branches_draw_from_streams_of_their_own() -> None:
    torch.manual_seed(8)
    initialise(branch := build_model(config(0, "audio"), 5).audio)
    assert_same_weights(build_model(config(7, "late"), 5).audio, branch)


def test_audio_statistics_become_buffers() -> None:
    mean, std = torch.linspace(0.0, 1.0, 6), torch.linspace(1.0, 2.0, 6)
    state = build_model(config(0, "late"), 5, (mean, std)).state_dict()
    assert torch.equal(state["audio_mean"], mean)
    assert torch.equal(state["audio_std"], std)


def test_every_model_key_of_the_configuration_arrives() -> None:
    changes = {"drop_rate": 0.1, "attn_drop": 0.2, "drop_path_rate": 0.3, "pool": "mean"}
    cfg = config(0, "early")
    cfg = cfg.model_copy(update={"model": cfg.model.model_copy(update={**changes, "audio_drop": 0.4})})
    model = build_model(cfg, 5)
    transformer = model.video.transformer
    assert model.audio_drop == 0.4
    assert transformer.pool == "mean"
    assert transformer.dropout.p == 0.1
    assert transformer.blocks[1].attention.attn_drop == 0.2
    assert [block.drop_path.rate for block in transformer.blocks] == [0.0, 0.3]
