from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from benchmarks.training import with_naive_attention
from pipeline.models.video_vit import VideoViT
from pipeline.models.vit_blocks import DropPath

T, CLASSES, SIDE = 4, 5, 32


def make(**options: object) -> VideoViT:
    torch.manual_seed(0)
    sizes = {"embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0, "patch_size": 16}
    return VideoViT(SIDE, T, CLASSES, **{**sizes, **options}).eval()


def clips(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, T, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_fused_attention_equals_naive_softmax_attention() -> None:
    model = make()
    naive = with_naive_attention(model)
    tokens = torch.randn(2, 7, 24)
    bias = torch.zeros(2, 1, 1, 7)
    bias[0, ..., 5:] = -torch.inf
    bias[1, ..., 3] = -0.7
    torch.testing.assert_close(naive(clips()), model(clips()), atol=1e-5, rtol=0)
    fused, textbook = model.transformer.blocks[0].attention, naive.transformer.blocks[0].attention
    torch.testing.assert_close(textbook(tokens, bias), fused(tokens, bias), atol=1e-6, rtol=0)


def test_hidden_keys_equal_absent_tokens() -> None:
    attention = make().transformer.blocks[0].attention
    tokens = torch.randn(2, 7, 24)
    bias = torch.zeros(2, 1, 1, 7)
    bias[..., 5:] = -torch.inf
    torch.testing.assert_close(attention(tokens, bias)[:, :5], attention(tokens[:, :5]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_only_the_frame_embedding_knows_the_order_of_frames(pool: str) -> None:
    model = make(pool=pool)
    order = torch.tensor([2, 0, 3, 1])
    assert (model(clips()[:, order]) - model(clips())).abs().max() > 1e-4
    with torch.no_grad():
        model.transformer.frame_embedding.zero_()
    logits, info = model(clips(), return_intermediate=True)
    moved_logits, moved = model(clips()[:, order], return_intermediate=True)
    torch.testing.assert_close(moved_logits, logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved["token_feat"], info["token_feat"][:, order], atol=1e-5, rtol=0)


def test_patches_keep_row_major_places() -> None:
    """Token n is the patch at row n // grid, column n % grid, and holds nothing of other patches."""
    model = make()
    embedding = model.patch_embedding
    with torch.no_grad():
        embedding.spatial_embedding.zero_()
    frames = clips(1)
    tokens = embedding(frames)
    for place in range(4):
        row, column = 16 * (place // 2), 16 * (place % 2)
        patch = frames[..., row : row + 16, column : column + 16].flatten(2)
        torch.testing.assert_close(tokens[:, :, place], embedding.projection(patch), atol=1e-5, rtol=0)


def test_both_layouts_give_the_same_logits() -> None:
    assert torch.equal(make(layout="bcthw")(clips().transpose(1, 2)), make()(clips()))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_sample_alone_equals_the_same_sample_in_a_batch(pool: str) -> None:
    model = make(pool=pool)
    together = model(clips(5))
    for index in range(5):
        torch.testing.assert_close(model(clips(5)[index : index + 1])[0], together[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_intermediate_features_are_what_the_classifier_reads(pool: str) -> None:
    model = make(pool=pool)
    logits, info = model(clips(), return_intermediate=True)
    assert torch.equal(logits, model(clips()))
    assert info["token_feat"].shape == (3, T, 4, 24)
    torch.testing.assert_close(model.transformer.head(info["cls_feat"]), logits)
    if pool == "mean":
        torch.testing.assert_close(info["token_feat"].mean((1, 2)), info["cls_feat"], atol=1e-6, rtol=0)
    [(branch, weight)] = info["branch_logits"]
    assert branch is logits
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert model.branches() == [model]


def test_gradients_reach_every_parameter() -> None:
    model = make().train()
    model(clips()).logsumexp(1).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_weights_survive_safetensors() -> None:
    model, other = make(), make()
    torch.nn.init.normal_(other.transformer.head.weight)
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(other(clips()), model(clips()))


@pytest.mark.parametrize(
    ("shape", "told"),
    [((2, T + 1, 3, SIDE, SIDE), "T=4"), ((2, T, 1, SIDE, SIDE), "C=3"), ((2, T, 3, SIDE, SIDE // 2), "W=32")],
)
def test_other_sizes_are_refused_by_name(shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told) as refusal:
        make()(torch.zeros(shape))
    assert str(list(shape)) in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_heads": 5}, "num_heads=5"),
        ({"patch_size": 12}, "patch_size=12"),
        ({"pool": "max"}, "pool"),
        ({"layout": "tbchw"}, "layout"),
    ],
)
def test_impossible_models_are_refused(options: dict[str, object], told: str) -> None:
    # The checker of annotations that runs under tests also refuses unknown options, naming them likewise.
    with pytest.raises(Exception, match=told):
        make(**options)


def test_drop_path_keeps_the_expectation_and_is_off_in_evaluation() -> None:
    torch.manual_seed(0)
    path, x = DropPath(0.3), torch.ones(20_000, 1, 1)
    dropped = path.train()(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(path.eval()(x), x)
    assert not DropPath(1.0).train()(x).any()


def test_dropout_acts_in_training_only() -> None:
    model = make(drop_rate=0.2, attn_drop=0.2, drop_path_rate=0.2)
    assert torch.equal(model(clips()), model(clips()))
    model.train()
    assert not torch.equal(model(clips()), model(clips()))
