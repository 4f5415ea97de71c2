"""Channel permutations: ordering by affinity, and exact rewrites of MLPs and attention heads (spec §9.3, DESIGN §7)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import ConfigError


class ChannelPermute(nn.Module):
    """Reorder the last axis: `y[..., c] = x[..., perm[c]]`. `inverse()` undoes it exactly."""

    perm: Tensor

    def __init__(self, perm: Int[Tensor, " C"]) -> None:
        super().__init__()
        if not torch.equal(torch.sort(perm).values, torch.arange(len(perm))):
            raise ConfigError(f"perm of length {len(perm)} is not a permutation of 0..{len(perm) - 1}")
        self.register_buffer("perm", perm.clone())

    def forward(self, x: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch C"]:
        """Reorder the channels."""
        return x.index_select(-1, self.perm)

    def inverse(self) -> ChannelPermute:
        """The permutation that restores the order."""
        return ChannelPermute(torch.argsort(self.perm))


def mlp_affinity(w_in: Float[Tensor, "H C"], w_out: Float[Tensor, "C H"]) -> Float[np.ndarray, "H H"]:
    """How much two hidden units read and write the same channels: |W1||W1|^T + |W2|^T|W2|, zero diagonal."""
    reads, writes = w_in.detach().abs().double(), w_out.detach().abs().double()
    affinity = (reads @ reads.T + writes.T @ writes).cpu().numpy()
    np.fill_diagonal(affinity, 0.0)
    return affinity


def cross_group_share(affinity: Float[np.ndarray, "C C"], groups: Int[np.ndarray, " C"]) -> float:
    """Share of the affinity between channels of different groups: what has to cross between chips."""
    apart = groups[:, None] != groups[None]
    return float(affinity[apart].sum() / max(affinity.sum(), 1e-300))


def group_of_position(num_channels: int, num_groups: int) -> Int[np.ndarray, " C"]:
    """Group of each position in a permuted order: equal runs, the first ones longer by one where it does not divide."""
    return np.arange(num_channels) * num_groups // num_channels


def affinity_permutation(affinity: Float[np.ndarray, "C C"], num_groups: int) -> Int[np.ndarray, " C"]:
    """Order channels so that equal runs of the order, one per group, keep high affinities together.

    Recursive spectral bisection (Fiedler 1973), then pairwise exchanges while one gains (Kernighan and Lin 1970).

    Raises:
        ConfigError: fewer channels than groups.
    """
    C = len(affinity)
    if not 1 <= num_groups <= C:
        raise ConfigError(f"{num_groups} groups of {C} channels: give 1..{C} groups")
    symmetric = 0.5 * (affinity + affinity.T)
    np.fill_diagonal(symmetric, 0.0)
    sizes = np.bincount(group_of_position(C, num_groups))
    order = _bisect(symmetric, np.arange(C), sizes)
    groups = np.empty(C, np.int64)
    groups[order] = np.repeat(np.arange(num_groups), sizes)
    _exchange(symmetric, groups, num_groups)
    return np.argsort(groups, kind="stable")


def _bisect(affinity: np.ndarray, members: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    if len(sizes) == 1:
        return members
    half = len(sizes) // 2
    part = affinity[np.ix_(members, members)]
    degree = np.maximum(part.sum(1), 1e-12)
    scaled = part / np.sqrt(degree[:, None] * degree[None])
    fiedler = np.linalg.eigh(scaled)[1][:, -2] / np.sqrt(degree) if len(members) > 2 else np.arange(len(members))
    ordered = members[np.argsort(fiedler, kind="stable")]
    cut = int(sizes[:half].sum())
    return np.concatenate(
        [_bisect(affinity, ordered[:cut], sizes[:half]), _bisect(affinity, ordered[cut:], sizes[half:])]
    )


def _exchange(affinity: np.ndarray, groups: np.ndarray, num_groups: int) -> None:
    """Swap the pair of channels that gains most until none gains, in place; each swap costs C^2."""
    C = len(groups)
    for _ in range(4 * C):
        to_group = affinity @ np.eye(num_groups)[groups]  # [C, G]
        stay = to_group[np.arange(C), groups]
        move = to_group[:, groups] - stay[:, None]  # gain of c joining the group of d
        gain = move + move.T - 2.0 * affinity
        gain[groups[:, None] == groups[None]] = 0.0
        best = int(gain.argmax())
        c, d = divmod(best, C)
        if gain[c, d] <= 1e-9 * max(1.0, float(stay.max())):
            return
        groups[c], groups[d] = groups[d], groups[c]


def permute_mlp(first: nn.Linear, second: nn.Linear, perm: Int[Tensor, " H"]) -> None:
    """Reorder the hidden units of `second(activation(first(x)))` in place; its outputs stay the same."""
    with torch.no_grad():
        first.weight.copy_(first.weight[perm])
        if first.bias is not None:
            first.bias.copy_(first.bias[perm])
        second.weight.copy_(second.weight[:, perm])


def permute_heads(qkv: nn.Linear, projection: nn.Linear, head_perm: Int[Tensor, " heads"]) -> None:
    """Reorder whole attention heads in place; `qkv` writes [q | k | v], each head after head.

    The head width is `projection.in_features` over the number of heads; outputs stay the same.
    """
    head_dim = projection.in_features // len(head_perm)
    inner = (head_perm[:, None] * head_dim + torch.arange(head_dim)).flatten()
    rows = torch.cat([part * len(inner) + inner for part in range(3)])
    with torch.no_grad():
        qkv.weight.copy_(qkv.weight[rows])
        if qkv.bias is not None:
            qkv.bias.copy_(qkv.bias[rows])
        projection.weight.copy_(projection.weight[:, inner])
