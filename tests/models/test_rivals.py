"""Rivals of the pruner: EViT's fused tokens, ToMe's merging, random and frame-uniform choices, in one network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from pipeline.config import resolve_run
from pipeline.config.pruning import PruningConfig
from pipeline.errors import ConfigError
from pipeline.models.ast2_pruner import build_pruner
from pipeline.models.cls_attention import cls_attention, fuse_inattentive
from pipeline.models.token_merging import merge_similar
from pipeline.models.token_transformer import TokenTransformer, TransformerConfig
from pipeline.models.video_vit import VideoViT
from pipeline.models.vit_blocks import Attended

RIVALS = ("random", "frame_uniform", "cls_attention", "merge")
SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}


def attended(batch: int, tokens: int, seed: int = 0) -> Attended:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, batch, 2, tokens + 1, 12, generator=generator)
    return Attended(query, key)


def network(selector: str, seed: int = 0, **ast: object) -> VideoViT:
    torch.manual_seed(seed)
    cfg = {"selector": selector, "gates": False, "prune_layers": [1], "space_window_levels": [1, 2]} | ast
    return VideoViT(
        24, 4, 5, **SIZES, patch_size=8, use_ast_prune=True, ast_cfg={"time_window_levels": [1, 2]} | cfg
    ).eval()


def tome_as_published(x: Tensor, key: Tensor, size: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """ToMe's own steps, CLS included: alternate A and B, best partner by cosine, merge the r best by size."""
    metric = key.mean(dim=1)
    metric = metric / metric.norm(dim=-1, keepdim=True)
    scores = metric[:, ::2] @ metric[:, 1::2].transpose(-1, -2)
    scores[:, 0] = -torch.inf
    best, partner = scores.max(dim=-1)
    edge = best.argsort(dim=-1, descending=True)[..., None]
    unmerged, source = edge[:, r:], edge[:, :r]
    target = partner[..., None].gather(1, source)

    def merge(values: Tensor) -> Tensor:
        a, b = values[:, ::2], values[:, 1::2]
        width = values.shape[-1]
        left = a.gather(1, unmerged.expand(-1, -1, width))
        return torch.cat(
            [left, b.scatter_add(1, target.expand(-1, -1, width), a.gather(1, source.expand(-1, -1, width)))], 1
        )

    total = merge(size)
    return merge(x * size) / total, total


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 3), tokens=st.integers(2, 17), data=st.data())
def test_one_round_of_merging_is_tomes(batch: int, tokens: int, data: st.DataObject) -> None:
    r = data.draw(st.integers(1, tokens // 2))
    x = torch.randn(batch, tokens + 1, 6, generator=torch.Generator().manual_seed(tokens))
    size = torch.randint(1, 4, (batch, tokens + 1, 1), generator=torch.Generator().manual_seed(r)).float()
    key = attended(batch, tokens).key
    wanted, wanted_size = tome_as_published(x, key, size, r)
    merged = merge_similar(x[:, 1:], key[:, :, 1:], size[:, 1:, 0], tokens - r)

    def in_order(values: Tensor, sizes: Tensor) -> Tensor:
        both = torch.cat([values, sizes], dim=-1)
        return both.gather(1, both[..., :1].argsort(dim=1).expand_as(both))

    is_cls = (wanted - x[:, :1]).abs().amax(dim=-1) < 1e-6
    others = [(wanted[b][~is_cls[b]], wanted_size[b][~is_cls[b]]) for b in range(batch)]
    expected = in_order(torch.stack([o[0] for o in others]), torch.stack([o[1] for o in others]))
    assert torch.allclose(in_order(merged.tokens, merged.size.unsqueeze(-1)), expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(1, 33), data=st.data())
def test_merging_keeps_every_token_s_share(tokens: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, tokens))
    x = torch.randn(2, tokens, 6, generator=torch.Generator().manual_seed(k))
    merged = merge_similar(x, attended(2, tokens).key[:, :, 1:], torch.ones(2, tokens), k)
    assert merged.tokens.shape == (2, k, 6)
    assert torch.equal(merged.size.sum(dim=1), torch.full((2,), float(tokens)))
    assert torch.allclose((merged.tokens * merged.size.unsqueeze(-1)).sum(dim=1), x.sum(dim=1), atol=1e-4)
    assert all(len(set(row)) == k for row in merged.row.tolist())


def test_merging_equal_tokens_changes_no_logit() -> None:
    """With attention proportional to size, two copies of a token and one of size two are the same."""
    torch.manual_seed(0)
    places = 5  # odd, so that the two copies are in different sets
    net = TokenTransformer(2, 4, TransformerConfig(24, 3, 2, 2.0, pool="mean")).eval()
    torch.nn.init.zeros_(net.frame_embedding)
    tokens = torch.randn(3, 1, places, 24).expand(-1, 2, -1, -1)
    ast = {"selector": "merge", "gates": False, "prune_layers": [1], "rho_target": 0.5}
    ast |= {"time_window_levels": [1], "space_window_levels": [1]}
    pruner = build_pruner(
        ast, side=1, audio_tokens=0, num_frames=2, embed_dim=24, num_heads=2, depth=3, mlp_hidden=48
    ).eval()
    merged = net(tokens, pruner=pruner)
    assert merged.sequence.tokens.shape[1] == 1 + places
    assert torch.allclose(merged.logits, net(tokens).logits, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(1, 20), data=st.data())
def test_fused_token_is_the_mean_of_the_dropped(tokens: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, tokens))
    x = torch.randn(2, tokens, 6, generator=torch.Generator().manual_seed(k))
    looked = attended(2, tokens)
    fused = fuse_inattentive(x, looked, k)
    assert fused.tokens.shape == (2, k, 6)
    attention = cls_attention(looked)
    for b in range(2):
        ranked = attention[b].argsort(descending=True, stable=True)
        best, rest = ranked[: k - 1], ranked[k - 1 :]
        weight = attention[b, rest] / attention[b, rest].sum()
        wanted = torch.cat([x[b, best], (weight @ x[b, rest]).unsqueeze(0)])
        place = {int(row): slot for slot, row in enumerate(fused.row[b])}
        found = torch.stack([fused.tokens[b, place[int(row)]] for row in ranked[:k]])
        assert torch.allclose(found, x[b, ranked] if k == tokens else wanted, atol=1e-5)


def test_cls_attention_is_the_softmax_row_of_cls() -> None:
    looked = attended(2, 7)
    weights = (looked.query @ looked.key.transpose(-1, -2) / 12**0.5).softmax(dim=-1).mean(dim=1)
    assert torch.allclose(cls_attention(looked), weights[:, 0, 1:], atol=1e-6)


@pytest.mark.parametrize("selector", RIVALS)
@pytest.mark.parametrize("rho", [0.002, 0.25, 0.5, 1.0])
def test_exactly_the_promised_tokens_are_left(selector: str, rho: float) -> None:
    model = network(selector, rho_target=rho)
    _, info = model(torch.randn(2, 4, 3, 24, 24), return_intermediate=True)
    expected = max(1, round(rho * 36))
    assert info["token_index"].shape == (2, expected, 2)
    assert info["token_mask"].sum(dim=(1, 2)).tolist() == [expected, expected]
    assert model.net_shapes()[0].tokens == (37, 1 + expected, 1 + expected)


@pytest.mark.parametrize("selector", RIVALS)
def test_everything_kept_is_the_dense_network(selector: str) -> None:
    model = network(selector, rho_target=1.0)
    clips = torch.randn(2, 4, 3, 24, 24)
    pruned = model(clips)
    model.ast_pruner = None
    assert torch.allclose(pruned, model(clips), atol=1e-5)


@pytest.mark.parametrize("selector", ["cls_attention", "merge"])
def test_a_sample_does_not_depend_on_its_batch(selector: str) -> None:
    model = network(selector, prune_layers=[1, 2], rho_target=0.3)
    clips = torch.randn(4, 4, 3, 24, 24)
    together = model(clips)
    alone = torch.cat([model(clip.unsqueeze(0)) for clip in clips])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("selector", ["cls_attention", "merge"])
def test_training_reduces_as_evaluation_does(selector: str) -> None:
    model = network(selector, prune_layers=[1, 2], rho_target=0.3)
    clips = torch.randn(3, 4, 3, 24, 24)
    evaluated = model(clips)
    model.train().set_training_progress(1.0)
    trained = model(clips)
    assert torch.allclose(trained, evaluated, atol=1e-5)
    trained.logsumexp(dim=1).sum().backward()
    assert model.patch_embedding.projection.weight.grad.abs().sum() > 0
    model.set_training_progress(0.0)
    assert not torch.allclose(model(clips), evaluated, atol=1e-3), "at the start of training nothing goes yet"


def test_dropped_tokens_still_count_in_the_fused_one() -> None:
    """What random selection forgets for good, EViT's fused token and ToMe's averages still carry."""
    clips = torch.randn(1, 4, 3, 24, 24)
    for selector, carried in (("random", False), ("cls_attention", True), ("merge", True)):
        model = network(selector, rho_target=0.25, prune_layers=[2])
        tokens = model.embed(clips).detach().requires_grad_()
        # Attention of the blocks before would carry everything: cut it.
        for block in list(model.transformer.blocks)[:2]:
            torch.nn.init.zeros_(block.attention.projection.weight)
        model.transformer(tokens, pruner=model.ast_pruner).logits.sum().backward()
        assert (tokens.grad.abs().sum(dim=-1) > 0).all() == carried, selector


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"prune_layers": [0]}, "prune_layers=[0]"),
        ({"gates": True}, "gates=false"),
        ({"learn_keep": True}, "learn_keep=false"),
        ({"mask_site": "value"}, "mask_site=key"),
    ],
)
def test_settings_that_a_rival_cannot_follow_are_refused(wrong: dict[str, object], word: str) -> None:
    settings_of_rival = {"selector": "merge", "gates": False, "prune_layers": [1]} | wrong
    with pytest.raises(ValidationError, match=word.replace("[", r"\[").replace("]", r"\]")):
        PruningConfig.model_validate(settings_of_rival)


def test_rivals_refuse_sound() -> None:
    with pytest.raises(ConfigError, match=r"data\.use_audio=false"):
        resolve_run("tiny", "configs/ast2_ucf101_av_ast_only.yaml", {"ast.selector": "merge", "ast.gates": False})
