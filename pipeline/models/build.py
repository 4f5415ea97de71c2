"""From a run's configuration to its network, with weights that depend on the seed alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.sections import RunConfig

from .video_audio_ast import VideoAudioAST
from .video_vit import VideoViT


def build_model(
    cfg: RunConfig, num_classes: int, audio_statistics: tuple[Tensor, Tensor] | None = None
) -> VideoViT | VideoAudioAST:
    """The network a configuration asks for, freshly initialised.

    Weights depend on the configuration and its seed, never on the global random state, which is left as it
    was. The picture's net gets the same weights with and without sound, and the sound's net the same ones
    alone and in late fusion, so that experiments of a seed are paired.

    Args:
        cfg: the resolved configuration; `data.use_audio` chooses `VideoAudioAST`.
        num_classes: number of logits.
        audio_statistics: mean and standard deviation [n_mels] of the training set's features; None keeps
            (0, 1), for weights that are loaded afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        model = _construct(cfg, num_classes)
        offset = 1 if isinstance(model, VideoAudioAST) and model.fusion == "audio" else 0
        for index, branch in enumerate(model.branches(), start=offset):
            torch.manual_seed(cfg.seed + index)
            initialise(branch)
    if audio_statistics is not None and isinstance(model, VideoAudioAST):
        model.set_audio_statistics(*audio_statistics)
    return model


def initialise(module: nn.Module) -> None:
    """Draw all weights anew from the global random state, in the order of `module.modules()`.

    Linear maps as in the original vision transformer (Dosovitskiy et al. 2021): Xavier uniform, no bias.
    On the demo task in 500 steps this reaches a lower training loss than PyTorch's default, and far lower
    than a fixed standard deviation of 0.02, which is meant for wider nets.
    """
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif callable(reset):
            reset()


def _construct(cfg: RunConfig, num_classes: int) -> VideoViT | VideoAudioAST:
    sizes: dict[str, Any] = {
        "img_size": cfg.data.image_size,
        "num_frames": cfg.data.num_frames,
        "num_classes": num_classes,
        "embed_dim": cfg.model.embed_dim,
        "depth": cfg.model.depth,
        "num_heads": cfg.model.num_heads,
        "mlp_ratio": cfg.model.mlp_ratio,
        "patch_size": cfg.model.patch_size,
        "drop_rate": cfg.model.drop_rate,
        "attn_drop": cfg.model.attn_drop,
        "drop_path_rate": cfg.model.drop_path_rate,
        "pool": cfg.model.pool,
        "use_ast_prune": cfg.training.mode != "dense_baseline",
        "ast_cfg": cfg.ast,
    }
    if not cfg.data.use_audio:
        return VideoViT(**sizes)
    return VideoAudioAST(
        **sizes, audio_feat_dim=cfg.audio.n_mels, fusion=cfg.model.fusion, audio_drop=cfg.model.audio_drop
    )
