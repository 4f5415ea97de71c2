"""Gates of heads, MLP channels and whole branches: learned, then cut out of the weights (spec §6.7).

A gate is a logit that starts at +3, open. In a warm-up it passes sigmoid(logit), relative to its start so that the
network begins as the dense one. Afterwards it is hard: an open gate (logit > 0) passes exactly 1 and a closed one 0,
with the sigmoid's gradient (straight-through, Bengio et al. 2013). Hence cutting closed gates out changes nothing.

Gates scale the columns of a branch's last projection, which costs a multiplication per weight instead of one per token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

INITIAL_LOGIT = 3.0
# More closed gates than targeted by no more than this (in gates, or as a share) is chatter around the target; settled
# logits are this clear of zero.
NEAR_GATES, NEAR_SHARE, CLEARANCE = 1, 0.1, 0.1
ATTENTION, MLP = 0, 1


class BlockGates(NamedTuple):
    """The gates of one block: heads and channels, and what each branch as a whole passes."""

    head: Float[Tensor, " H"]
    channel: Float[Tensor, " M"]
    attention: Float[Tensor, ""]
    mlp: Float[Tensor, ""]


class GateValues(NamedTuple):
    """What all gates pass: 1 open, 0 closed (between them while gates are soft)."""

    head: Float[Tensor, "L H"]
    channel: Float[Tensor, "L M"]
    block: Float[Tensor, "L 2"]

    def of_blocks(self) -> list[BlockGates]:
        """The gates of every block; a branch with nothing open inside is closed, its bias too."""
        alive = torch.stack([(gate.detach() > 0).any(dim=1) for gate in (self.head, self.channel)], dim=1)
        branches = (self.block * alive).unbind(0)
        return [
            BlockGates(head, channel, branch[ATTENTION], branch[MLP])
            for head, channel, branch in zip(self.head, self.channel, branches, strict=True)
        ]

    def idle(self) -> bool:
        """Whether all gates pass exactly 1 and no gradient is asked for, so that applying them changes nothing."""
        return not self.head.requires_grad and all(bool((gate == 1).all()) for gate in self)

    def sparsity(self) -> dict[str, Float[Tensor, ""]]:
        """The share of gates of each kind that are closed."""
        return {"head": 1 - self.head.mean(), "ch": 1 - self.channel.mean(), "block": 1 - self.block.mean()}


def gate_value(logit: Float[Tensor, "L W"], soft: bool) -> Float[Tensor, "L W"]:
    """What gates with these logits pass."""
    probability = logit.sigmoid()
    if soft:
        return probability / torch.sigmoid(torch.tensor(INITIAL_LOGIT))
    return (logit > 0).to(logit.dtype) + (probability - probability.detach())


@torch.no_grad()
def settle(logit: Float[Tensor, "L W"], target: float) -> None:
    """Close exactly round(target · gates), the lowest logits, unless far more are closed already. In place."""
    wanted = round(target * logit.numel())
    closed = int((logit <= 0).sum())
    if closed - wanted > max(NEAR_GATES, NEAR_SHARE * logit.numel()):
        return
    order = logit.flatten().argsort(stable=True)
    flat = logit.flatten().clone()
    flat[order[:wanted]] = flat[order[:wanted]].clamp_max(-CLEARANCE)
    flat[order[wanted:]] = flat[order[wanted:]].clamp_min(CLEARANCE)
    logit.copy_(flat.view_as(logit))
