"""Channel permutations: exact rewrites, and an ordering that finds hidden blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.mapping.channel_order import (
    ChannelPermute,
    affinity_permutation,
    cross_group_share,
    group_of_position,
    mlp_affinity,
    permute_heads,
    permute_mlp,
)


def test_permute_and_inverse_are_exact() -> None:
    """y[c] = x[perm[c]], and the inverse restores every bit."""
    perm = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    x = torch.randn(3, 5, 12)
    layer = ChannelPermute(perm)
    assert torch.equal(layer(x)[..., 2], x[..., perm[2]])
    assert torch.equal(layer.inverse()(layer(x)), x)
    with pytest.raises(ConfigError, match="not a permutation"):
        ChannelPermute(torch.tensor([0, 0, 2]))


def test_mlp_outputs_survive_the_rewrite() -> None:
    """Reordered hidden units give the same outputs to 1e-5; the weights did change."""
    torch.manual_seed(0)
    first, second = nn.Linear(16, 64), nn.Linear(64, 16)
    x = torch.randn(7, 16)
    before, weight = second(torch.nn.functional.gelu(first(x))), first.weight.clone()
    permute_mlp(first, second, torch.randperm(64))
    assert not torch.equal(first.weight, weight)
    assert torch.allclose(second(torch.nn.functional.gelu(first(x))), before, atol=1e-5)


def test_attention_outputs_survive_the_rewrite() -> None:
    """Whole heads reordered in the fused projection and the output projection."""
    torch.manual_seed(0)
    heads, width = 4, 32
    qkv, projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
    x = torch.randn(2, 6, width)

    def attend() -> torch.Tensor:
        q, k, v = qkv(x).reshape(2, 6, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return projection(mixed.transpose(1, 2).reshape(2, 6, width))

    before = attend()
    permute_heads(qkv, projection, torch.tensor([2, 0, 3, 1]))
    assert torch.allclose(attend(), before, atol=1e-5)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_affinity_ordering_finds_hidden_blocks(groups: int) -> None:
    """A shuffled block-structured matrix is put back together; the identity leaves most of it across groups."""
    C = 96
    rng = np.random.default_rng(0)
    block = group_of_position(C, groups)
    affinity = np.where(block[:, None] == block, 1.0, 0.02) * rng.uniform(0.5, 1.5, (C, C))
    shuffle = rng.permutation(C)
    shuffled = affinity[np.ix_(shuffle, shuffle)]
    perm = affinity_permutation(shuffled, groups)
    ordered = shuffled[np.ix_(perm, perm)]
    floor = cross_group_share(affinity, block)
    assert sorted(perm.tolist()) == list(range(C))
    assert cross_group_share(ordered, block) <= floor * 1.001
    assert cross_group_share(shuffled, block) > 2 * floor


def test_mlp_affinity_sees_shared_channels() -> None:
    """Units that read and write the same channels are close, others are not; no unit is close to itself."""
    w_in = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    affinity = mlp_affinity(w_in, w_in.T)
    assert affinity.tolist() == [[0.0, 0.0, 4.0], [0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]


def test_more_groups_than_channels_is_refused() -> None:
    """There would be an empty group."""
    with pytest.raises(ConfigError, match="3 groups of 2 channels"):
        affinity_permutation(np.ones((2, 2)), 3)
