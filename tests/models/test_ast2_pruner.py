"""Scores and decisions of the pruner on its own."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.pruning import PruningConfig
from pipeline.models.ast2_pruner import ASTPruner, PrunerConfig, build_pruner
from pipeline.models.token_scores import TokenPlaces, cell_averages, normalise, score_tokens
from pipeline.models.voronoi import build_voronoi_regions

T, SIDE, WIDTH = 4, 4, 24
N = SIDE * SIDE
VIDEO = {"video": (0, N)}
BOTH = {"video": (0, N), "audio": (N, N + 1)}


def make(audio: bool = False, **settings_: Any) -> ASTPruner:
    cfg = {"audio": "gate" if audio else "keep", "prune_layers": [0], "gates": False, **settings_}
    return build_pruner(
        cfg, side=SIDE, audio_tokens=int(audio), num_frames=T, embed_dim=WIDTH, num_heads=3, depth=2, mlp_hidden=48
    ).eval()


def features(batch: int = 3, places: int = N, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, T, places, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_signatures_are_the_specs() -> None:
    names = list(inspect.signature(ASTPruner.__init__).parameters)
    assert names[:6] == ["self", "cfg", "embed_dim", "num_heads", "depth", "num_patches"]
    spec = {
        "patch_grid_h": SIDE,
        "patch_grid_w": SIDE,
        "num_modalities": 2,
        "modalities": ["video", "audio"],
        "num_patches_video": N,
        "num_patches_audio": 1,
        "prune_layers": [1],
    }
    before = dict(spec)
    pruner = ASTPruner(spec, WIDTH, 3, 2, N + 1)
    assert spec == before
    mask, sparsity, stats = pruner.forward_token_gating(features(places=N + 1), BOTH)
    assert mask.shape == (3, T, N + 1, 1)
    assert sparsity.item() == pytest.approx(1 - mask.mean().item())
    assert set(stats) == {"video", "audio"}
    for name, (start, stop) in BOTH.items():
        assert stats[name]["sparsity"].item() == pytest.approx(1 - mask[:, :, start:stop].mean().item(), abs=1e-6)
        assert 0 <= stats[name]["H_time_mean"] <= 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"patch_grid_h": 3}, "num_patches"),
        ({"num_patches_audio": 2}, "num_patches"),
        ({"modalities": ["video"]}, "num_modalities=2"),
        ({"prune_layers": [2]}, "blocks 0 to 1"),
        ({"num_patches_video": 9}, "num_patches_video=9"),
        ({"rho": 0.5}, "rho"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, told: str) -> None:
    good = {"patch_grid_h": SIDE, "patch_grid_w": SIDE, "num_modalities": 2, "modalities": ["video", "audio"]}
    good |= {"num_patches_audio": 1, "prune_layers": [1]}
    ASTPruner(good, WIDTH, 3, 2, N + 1)
    with pytest.raises(ValueError, match=told):
        ASTPruner(good | change, WIDTH, 3, 2, N + 1)


@settings(max_examples=50, deadline=None)
@given(
    rho=st.sampled_from([0.0, 0.002, 0.3, 0.5, 1.0]),
    batch=st.integers(1, 4),
    audio=st.booleans(),
    constant=st.booleans(),
    selector=st.sampled_from(["ast", "random", "frame_uniform"]),
)
def test_exactly_k_tokens_stay(rho: float, batch: int, audio: bool, constant: bool, selector: str) -> None:
    pruner = make(audio, rho_target=rho, selector=selector)
    places = N + int(audio)
    x = torch.ones(batch, T, places, WIDTH) if constant else features(batch, places)
    gating = pruner.gate_tokens(x, BOTH if audio else VIDEO)
    k = max(1, int(rho * T * places + 0.5))
    assert (gating.kept.flatten(1).sum(dim=1) == k).all()
    assert gating.index.shape == (batch, k)
    assert gating.keep_ratio.item() == pytest.approx(k / (T * places))
    assert gating.sparsity().item() == pytest.approx(1 - k / (T * places), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(2, 8),
    time_score=st.sampled_from(["jsd", "entropy"]),
    region_score=st.sampled_from(["entropy", "constant"]),
    audio=st.booleans(),
)
def test_a_samples_tokens_do_not_depend_on_its_batch(
    batch: int, time_score: str, region_score: str, audio: bool
) -> None:
    pruner = make(audio, time_score=time_score, region_score=region_score)
    slices, x = (BOTH, features(batch, N + 1)) if audio else (VIDEO, features(batch))
    together = pruner.gate_tokens(x, slices)
    for row in range(batch):
        alone = pruner.gate_tokens(x[row : row + 1], slices)
        torch.testing.assert_close(alone.scores.score[0], together.scores.score[row], atol=1e-5, rtol=0)


def test_over_the_batch_a_sample_depends_on_its_batch() -> None:
    pruner = make(norm="batch")
    x = features(3)
    assert not torch.equal(pruner.gate_tokens(x, VIDEO).kept[0], pruner.gate_tokens(x[:2], VIDEO).kept[0])


def test_a_single_sample_gives_no_nan_in_either_norm() -> None:
    for norm in ("sample", "batch"):
        gating = make(norm=norm).gate_tokens(features(1), VIDEO)
        assert torch.isfinite(gating.mask).all()


def test_constant_terms_are_half_and_others_span_the_unit_range() -> None:
    values = torch.stack([torch.full((5,), 3.0), torch.linspace(-1, 7, 5)])
    scaled = normalise(values.unsqueeze(1), None, "sample").squeeze(1)
    assert scaled[0].tolist() == [0.5] * 5
    assert (scaled[1].min().item(), scaled[1].max().item()) == (0.0, 1.0)
    valid = torch.tensor([[True] * 5, [True, True, True, False, False]])
    assert normalise(values.unsqueeze(1), valid.unsqueeze(1), "sample")[1, 0, :3].tolist() == [0.0, 0.5, 1.0]


def score(x: torch.Tensor, **settings_: Any) -> torch.Tensor:
    regions, _ = build_voronoi_regions(N, (SIDE, SIDE), 4)
    weights = {"a_time": 0.0, "b_space": 0.0, "c_region": 0.0} | settings_
    cfg = PruningConfig(num_regions=4, **weights)
    averages = cell_averages((SIDE, SIDE), cfg.space_window_levels, regions)
    return score_tokens(x, cfg, TokenPlaces(VIDEO, (SIDE, SIDE), regions, averages)).score


def test_divergence_ranks_change_and_entropy_ranks_diffuseness() -> None:
    """A patch that changes between peaked states against one that is diffuse and still (patches 0 and 1)."""
    x = torch.zeros(1, T, N, WIDTH)
    x[..., 0] = 5.0
    x[0, :, 1] = torch.tensor([1.0, -1.0] * (WIDTH // 2))
    for frame in range(T):
        x[0, frame, 0] = 0.0
        x[0, frame, 0, 5 + frame] = 5.0
    jsd, literal = (
        score(x, a_time=1.0, time_score=kind, time_window_levels=[1, 2])[0, 0] for kind in ("jsd", "entropy")
    )
    assert jsd.argmax() == 0
    assert jsd[1] < 0.05
    assert literal[1] > literal[2]


def test_regions_matter_and_the_literal_ones_do_not() -> None:
    x = features(2)
    real, literal = score(x, c_region=1.0), score(x, c_region=1.0, region_score="constant")
    regions, _ = build_voronoi_regions(N, (SIDE, SIDE), 4)
    for sample in range(2):
        by_region = [real[sample][:, regions == region] for region in range(4)]
        assert all((values == values.flatten()[0]).all() for values in by_region)
        assert len({values.flatten()[0].item() for values in by_region}) == 4
        assert literal[sample].unique().numel() == 1


def test_local_term_follows_a_token_through_frames() -> None:
    x = features(1)
    assert (score(x, a_time=1.0).std(dim=1) < 1e-6).all()
    assert (score(x, d_local=1.0).std(dim=1) > 1e-3).all()


def test_space_term_is_one_per_frame() -> None:
    values = score(features(2), b_space=1.0)
    assert (values.std(dim=2) < 1e-6).all()
    assert (values.mean(dim=2).std(dim=1) > 1e-3).all()


def test_scores_do_not_depend_on_the_scale_of_features() -> None:
    x = features(2)
    torch.testing.assert_close(score(1e3 * x, a_time=1.0), score(x, a_time=1.0), atol=1e-3, rtol=0)


def test_tokens_that_are_gone_are_never_kept_and_do_not_count() -> None:
    pruner = make(rho_target=0.25)
    available = torch.rand(3, T, N, generator=torch.Generator().manual_seed(5)) > 0.5
    x = features()
    gating = pruner.gate_tokens(x, VIDEO, available=available)
    assert not (gating.kept & ~available).any()
    garbage = torch.where(available.unsqueeze(-1), x, torch.full_like(x, 1e6))
    again = pruner.gate_tokens(garbage, VIDEO, available=available)
    assert torch.equal(again.kept, gating.kept)
    torch.testing.assert_close(again.mask, gating.mask)


def test_exempt_tokens_stay_and_compete_with_none() -> None:
    pruner = make(audio=False)
    x = features(3, N + 1)
    gating = pruner.gate_tokens(x, BOTH)
    assert gating.kept[:, :, N].all()
    assert torch.equal(gating.kept[:, :, :N], pruner.gate_tokens(x[:, :, :N], VIDEO).kept)
    assert (gating.mask[:, :, N] == 1).all()
    flat = gating.kept.flatten(1)
    assert torch.equal(flat.nonzero()[:, 1].view(3, -1), gating.index)


def test_a_preferred_modality_is_kept_whole() -> None:
    pruner = make(audio=True, d_modal=100.0)
    x = features(2, N + 1)
    with torch.no_grad():
        pruner.modality_logit.copy_(torch.tensor([-2.0, 2.0]))
    assert pruner.gate_tokens(x, BOTH).kept[:, :, N].all()
    with torch.no_grad():
        pruner.modality_logit.copy_(torch.tensor([2.0, -2.0]))
    assert not pruner.gate_tokens(x, BOTH).kept[:, :, N].any()


def test_soft_sparsity_approaches_the_target_as_it_cools() -> None:
    for rho in (0.3, 0.7):
        errors = []
        for temperature in (1.0, 0.02):
            pruner = make(rho_target=rho, temperature_final=temperature)
            errors.append(abs(pruner.gate_tokens(features(), VIDEO).soft_sparsity().item() - (1 - rho)))
        assert errors[1] < 0.03 < errors[0]


@pytest.mark.parametrize(("kind", "target"), [("head", "target_head"), ("ch", "target_ch"), ("block", "target_block")])
def test_loss_is_least_at_the_target(kind: str, target: str) -> None:
    pruner = make(gates=True, **{target: 0.4})
    at, below, above = (pruner.compute_L_AST({kind: torch.tensor(value)}).item() for value in (0.4, 0.1, 0.9))
    assert at == pytest.approx(0.0, abs=1e-9)
    assert below > 0.1
    assert above > 0.1
    sparsity = torch.tensor(0.1, requires_grad=True)
    pruner.compute_L_AST({kind: sparsity}).backward()
    assert sparsity.grad < 0, "the loss must pull towards more closed gates below the target"


def test_a_learned_share_sets_k_and_gets_a_gradient() -> None:
    pruner = make(learn_keep=True, rho_target=0.5).train()
    gating = pruner.gate_tokens(features(), VIDEO)
    assert int(gating.kept[0].sum()) == T * N // 2
    gating.mask.sum().backward()
    assert pruner.keep_logit.grad.item() > 0, "a larger share lets more of the mask through"
    with torch.no_grad():
        pruner.keep_logit.fill_(-1.0)
    assert int(pruner.gate_tokens(features(), VIDEO).kept[0].sum()) == round(T * N * 0.2689)


def test_one_modality_has_nothing_to_weigh() -> None:
    assert not make().modality_logit.requires_grad
    assert make(audio=True).modality_logit.requires_grad


def test_geometry_is_part_of_the_pruners_config() -> None:
    assert set(PruningConfig.model_fields) < set(PrunerConfig.model_fields)
