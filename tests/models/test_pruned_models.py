"""What is trained is what is run: masks and gathers, alone and in batches, agree in every model and form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.video_audio_ast import VideoAudioAST
from pipeline.models.video_vit import VideoViT

T, SIDE, PATCH, CLASSES, BANDS, DEPTH = 4, 32, 8, 5, 6, 4
N = (SIDE // PATCH) ** 2
SIZES: dict[str, Any] = {"embed_dim": 24, "depth": DEPTH, "num_heads": 3, "mlp_ratio": 2.0, "patch_size": PATCH}


def video(pool: str = "cls", **ast_cfg: Any) -> VideoViT:
    torch.manual_seed(0)
    model = VideoViT(SIDE, T, CLASSES, **SIZES, pool=pool, use_ast_prune=True, ast_cfg={"prune_layers": [1], **ast_cfg})
    return scatter_gates(model).eval()


def joint(fusion: str = "early", pool: str = "cls", **ast_cfg: Any) -> VideoAudioAST:
    torch.manual_seed(0)
    cfg = {"prune_layers": [1], **ast_cfg}
    model = VideoAudioAST(
        SIDE, T, CLASSES, **SIZES, audio_feat_dim=BANDS, fusion=fusion, audio_drop=0.0, pool=pool, use_ast_prune=True,
        ast_cfg=cfg,
    )  # fmt: skip
    return scatter_gates(model).eval()


def scatter_gates(model: torch.nn.Module) -> torch.nn.Module:
    """Close about a third of the gates."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if name.endswith(("head_logit", "ch_logit", "block_logit")):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) + 0.5)
    return model


def clips(batch: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, T, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def sound(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, T, BANDS, generator=torch.Generator().manual_seed(2))


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 4),
    layers=st.sampled_from([[0], [1], [3], [0, 2], [1, 2, 3]]),
    rho=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    pool=st.sampled_from(["cls", "mean"]),
    form=st.sampled_from([{}, {"time_score": "entropy"}, {"selector": "frame_uniform"}, {"d_local": 1.0}]),
)
def test_masked_training_equals_gathered_evaluation(
    batch: int, layers: list[int], rho: float, pool: str, form: dict
) -> None:
    model = video(pool, prune_layers=layers, rho_target=rho, **form)
    x = clips(batch)
    with torch.no_grad():
        masked, told = model.train()(x, return_intermediate=True)
        gathered, info = model.eval()(x, return_intermediate=True)
    assert torch.equal(told["token_mask"], info["token_mask"])
    assert difference(masked, gathered) <= 1e-5


@settings(max_examples=30, deadline=None)
@given(
    has=st.lists(st.booleans(), min_size=1, max_size=4),
    audio=st.sampled_from(["gate", "keep"]),
    layers=st.sampled_from([[0], [1], [0, 2]]),
    rho=st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0]),
    pool=st.sampled_from(["cls", "mean"]),
)
def test_masked_training_equals_gathered_evaluation_with_sound(
    has: list[bool], audio: str, layers: list[int], rho: float, pool: str
) -> None:
    model = joint("early", pool, audio=audio, prune_layers=layers, rho_target=rho)
    x, a, has_audio = clips(len(has)), sound(len(has)), torch.tensor(has)
    with torch.no_grad():
        masked = model.train()(x, a, has_audio=has_audio)
        gathered = model.eval()(x, a, has_audio=has_audio)
        alone = model(x[:1], a[:1], has_audio=has_audio[:1])
    assert difference(masked, gathered) <= 1e-5
    assert difference(alone, gathered[:1]) <= 1e-5


def test_late_fusion_prunes_the_picture_and_leaves_the_sound() -> None:
    model = joint("late")
    x, a = clips(), sound()
    with torch.no_grad():
        masked = model.train()(x, a)
        gathered, info = model.eval()(x, a, return_intermediate=True)
    assert difference(masked, gathered) <= 1e-5
    assert info["token_mask"].shape == (4, T, N)
    assert "L_AST" in info
    assert model.ast_pruner is None
    assert model.video.ast_pruner is not None


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("layers", [[1], [0, 2]])
def test_a_sample_alone_equals_itself_in_a_batch(batch: int, layers: list[int]) -> None:
    model, x = video(prune_layers=layers, rho_target=0.3), clips(batch)
    together = model(x)
    for row in range(batch):
        assert difference(model(x[row : row + 1]), together[row : row + 1]) <= 1e-5


def test_without_a_track_and_with_sound_kept_the_picture_is_pruned_as_alone() -> None:
    """The same weights, the same k: absent sound tokens must leave no trace."""
    model = joint("early", audio="keep", gates=False)
    alone = video(gates=False)
    alone.load_state_dict(model.video.state_dict() | {"ast_pruner.modality_logit": torch.zeros(1)})
    none = torch.zeros(4, dtype=torch.bool)
    assert difference(model(clips(), sound(), has_audio=none), alone(clips())) <= 1e-5


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_what_stands_in_for_a_missing_track_does_not_matter(fusion: str) -> None:
    model = joint(fusion, audio="gate" if fusion == "early" else "keep")
    has_audio = torch.tensor([True, False, True, False])
    garbage = torch.where(has_audio[:, None, None], sound(), torch.full((4, T, BANDS), torch.nan))
    assert torch.equal(model(clips(), garbage, has_audio=has_audio), model(clips(), sound(), has_audio=has_audio))


def test_absent_sound_never_wins_a_place() -> None:
    model = joint("early", audio="gate", rho_target=0.5)
    with torch.no_grad():
        model.ast_pruner.modality_logit.copy_(torch.tensor([-5.0, 5.0]))
    has_audio = torch.tensor([True, False, True, False])
    _, info = model(clips(), sound(), return_intermediate=True, has_audio=has_audio)
    assert not info["token_mask"][~has_audio, :, N].any()
    assert (info["token_mask"].flatten(1).sum(dim=1) == round(0.5 * T * (N + 1))).all()


def test_everything_kept_and_open_is_the_dense_model() -> None:
    torch.manual_seed(0)
    dense = VideoViT(SIDE, T, CLASSES, **SIZES).eval()
    torch.manual_seed(0)
    pruned = VideoViT(SIDE, T, CLASSES, **SIZES, use_ast_prune=True, ast_cfg={"prune_layers": [1], "rho_target": 1.0})
    pruned.load_state_dict(dense.state_dict() | {k: v for k, v in pruned.state_dict().items() if "ast_pruner" in k})
    assert difference(pruned.eval()(clips()), dense(clips())) <= 1e-6
    for progress in (0.0, 0.05, 1.0):
        pruned.train().set_training_progress(progress)
        assert difference(pruned(clips()), dense(clips())) <= 1e-5


def test_info_is_the_specs_and_tells_original_places() -> None:
    model = video(prune_layers=[1, 2], rho_target=[0.5, 0.25])
    x = clips()
    logits, info = model(x, return_intermediate=True)
    assert logits.shape == (4, CLASSES)
    assert info["token_feat"].shape == (4, T, N, 24)
    kept = info["token_mask"]
    assert (info["token_feat"].abs().sum(dim=-1) > 0).equal(kept)
    index = info["token_index"]
    assert index.shape == (4, T * N // 4, 2)
    for row in range(4):
        assert kept[row][index[row, :, 0], index[row, :, 1]].all()
    stats = info["ast_stats"]
    assert set(stats) == {"sparsity_token", "sparsity_token_soft", "sparsity_head", "sparsity_ch", "sparsity_block"}
    assert stats["sparsity_token"].item() == pytest.approx(0.75)
    gates = info["gates"]
    assert gates["keep_ratio"].tolist() == pytest.approx([0.5, 0.25])
    assert gates["head"].shape == (DEPTH, 3)
    assert gates["channel"].shape == (DEPTH, 48)
    assert gates["block"].shape == (DEPTH, 2)
    assert set(torch.cat([gates[name].flatten() for name in ("head", "channel", "block")]).tolist()) == {0.0, 1.0}
    for kind, name in (("head", "head"), ("ch", "channel"), ("block", "block")):
        assert stats[f"sparsity_{kind}"].item() == pytest.approx(1 - gates[name].mean().item(), abs=1e-6)
    assert model(x).equal(logits)


def test_ratios_are_live() -> None:
    model = video(learn_keep=True).train()
    _, info = model(clips(), return_intermediate=True)
    total = sum(value.sum() for value in info["gates"].values())
    total.backward()
    pruner = model.ast_pruner
    for parameter in (pruner.head_logit, pruner.ch_logit, pruner.block_logit, pruner.keep_logit):
        assert (parameter.grad != 0).all()


def test_the_task_reaches_every_logit_of_the_pruner() -> None:
    torch.manual_seed(0)
    model = VideoAudioAST(
        SIDE, T, CLASSES, **SIZES, audio_feat_dim=BANDS, fusion="early", audio_drop=0.0, use_ast_prune=True,
        ast_cfg={"prune_layers": [1], "audio": "gate", "learn_keep": True, "d_modal": 0.1},
    ).train()  # fmt: skip
    for progress in (0.05, 0.5):
        model.set_training_progress(progress)
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(clips(), sound()), torch.tensor([0, 1, 2, 3])).backward()
        pruner = model.ast_pruner
        for name in ("modality_logit", "head_logit", "ch_logit", "block_logit", "keep_logit"):
            gradient = getattr(pruner, name).grad
            assert gradient is not None, name
            assert torch.isfinite(gradient).all(), name
            assert gradient.any(), name


def test_gradients_reach_every_weight_of_a_pruned_model() -> None:
    model = VideoViT(SIDE, T, CLASSES, **SIZES, use_ast_prune=True, ast_cfg={"prune_layers": [1]}).train()
    _, info = model(clips(), return_intermediate=True)
    (info["branch_logits"][0][0].logsumexp(1).sum() + info["L_AST"]).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert without == []


def test_the_literal_mask_multiplies_and_keeps_every_token_in_the_computation() -> None:
    literal, key = video(mask_site="value"), video()
    x = clips()
    assert difference(literal.train()(x), literal.eval()(x)) <= 1e-5
    assert difference(literal(x), key(x)) > 1e-4
    assert [shape.tokens for shape in literal.net_shapes()] == [(T * N + 1,) * DEPTH]
    assert key.net_shapes()[0].tokens == (T * N + 1,) + (T * N // 2 + 1,) * (DEPTH - 1)


def test_tokens_fall_with_training_and_evaluation_is_always_final() -> None:
    model = video(keep_warmup=0.5)
    shares = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        model.train().set_training_progress(progress)
        shares.append(model(clips(), return_intermediate=True)[1]["token_mask"].float().mean().item())
        assert model.eval()(clips(), return_intermediate=True)[1]["token_mask"].float().mean() == pytest.approx(0.5)
    assert shares == pytest.approx([1.0, 0.75, 0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fusion": "audio"}, "has none"),
        ({"fusion": "late", "audio": "gate"}, "late fusion"),
        ({"prune_layers": [4]}, "blocks 0 to 3"),
        ({"space_window_levels": [1, 8]}, "above 4"),
        ({"rho": 0.5}, "rho"),
    ],
)
def test_impossible_pruners_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        joint(**options)


def test_the_callers_settings_are_not_changed() -> None:
    cfg = {"prune_layers": [1]}
    VideoViT(SIDE, T, CLASSES, **SIZES, use_ast_prune=True, ast_cfg=cfg)
    assert cfg == {"prune_layers": [1]}
