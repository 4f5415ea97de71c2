"""Learning which electrode to listen to: soft weights in training, exactly one electrode afterwards.

Gumbel-softmax over one logit per electrode (Strypsteen & Bertrand 2021, arXiv 2102.09050), whose temperature falls
until the choice is hard. Electrodes have no common meaning across patients: a selector belongs to one.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Content = Literal["annealed", "run_time", "none"]


class ChannelSelector(nn.Module):
    """One electrode out of `channels`: [B, C, T] -> [B, T].

    Training weighs electrodes by softmax((logits + content) / temperature), in one of two ways. `draw` gives
    electrodes and weights to a loss that scores each electrode's window by itself. `forward` mixes their signals into
    one, with Gumbel noise, as the plan draws it; once `hard`, it passes one electrode forward and the soft weights
    backward (straight-through). In evaluation it indexes: nothing of any other electrode is read, except in the
    ablation `content="run_time"`, which chooses anew for every window and therefore keeps all electrodes alive.

    Args:
        channels: electrodes of the array.
        mask: electrodes that may be chosen; the others have logit minus infinity.
        content: whether a window's own activity moves its weights: only early in training (`annealed`, scaled by
            `content_scale`), also when deployed (`run_time`), or never.

    Raises:
        ValueError: no electrode may be chosen.
    """

    def __init__(self, channels: int, mask: Bool[Tensor, " C"] | None = None, content: Content = "annealed") -> None:
        super().__init__()
        mask = torch.ones(channels, dtype=torch.bool) if mask is None else mask
        if not mask.any():
            raise ValueError("no usable electrode: every channel is masked")
        self.mask: Tensor
        self.register_buffer("mask", mask.clone())
        self.logits = nn.Parameter(torch.zeros(channels))
        self.content = content
        self.content_gain = nn.Parameter(torch.zeros(()))
        self.temperature = 1.0
        self.content_scale = 0.0
        self.hard = False

    @property
    def electrode(self) -> int:
        """The electrode that is deployed."""
        return int(self._masked(self.logits).argmax())

    @property
    def live_channels(self) -> int:
        """How many electrodes the deployed selector reads."""
        return int(self.mask.sum()) if self.content == "run_time" else 1

    def weights(self, signal: Float[Tensor, "B C T"] | None = None) -> Float[Tensor, "B C"] | Float[Tensor, " C"]:
        """Soft weights at the present temperature, without noise; with `signal`, per window."""
        return torch.softmax(self._scores(signal) / self.temperature, dim=-1)

    def forward(
        self, signal: Float[Tensor, "B C T"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B T"]:
        """The chosen electrode's signal; `generator` draws the Gumbel noise, without it there is none."""
        if not self.training:
            return self._pick(signal)
        scores = self._scores(signal).expand(len(signal), -1)
        if generator is not None:
            uniform = torch.rand(scores.shape, generator=generator).clamp_(1e-6, 1 - 1e-6)
            scores = scores - torch.log(-torch.log(uniform)).to(scores.device)
        weights = torch.softmax(scores / self.temperature, dim=-1)
        if self.hard:
            chosen = torch.zeros_like(weights).scatter_(-1, weights.argmax(-1, keepdim=True), 1.0)
            weights = chosen + weights - weights.detach()
        return torch.einsum("bc,bct->bt", weights, signal)

    def draw(
        self, signal: Float[Tensor, "B C T"], limit: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " M"], Float[Tensor, "B M"]]:
        """At most `limit` usable electrodes and their weights in each window, which sum to 1.

        All of them where they are few; else a draw without replacement by the present weights (Gumbel top-k).
        """
        log_weights = torch.log_softmax(self._masked(self.logits.detach()) / self.temperature, dim=-1)
        uniform = torch.rand(len(log_weights), generator=generator).clamp_(1e-6, 1 - 1e-6).to(log_weights.device)
        count = min(limit, int(self.mask.sum()))
        chosen = (log_weights - torch.log(-torch.log(uniform))).topk(count).indices
        scores = self._scores(signal).expand(len(signal), -1)[:, chosen]
        return chosen, torch.softmax(scores / self.temperature, dim=-1)

    def _pick(self, signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B T"]:
        if self.content != "run_time":
            return signal[:, self.electrode]
        return signal[torch.arange(len(signal)), self._scores(signal).argmax(-1)]

    def _scores(self, signal: Float[Tensor, "B C T"] | None) -> Float[Tensor, ...]:
        scores: Tensor = self.logits
        scale = 1.0 if self.content == "run_time" else self.content_scale
        if signal is not None and self.content != "none" and scale:
            scores = scores + scale * self.content_gain * _activity(signal, self.mask)
        return self._masked(scores)

    def _masked(self, scores: Float[Tensor, ...]) -> Float[Tensor, ...]:
        return scores.masked_fill(~self.mask, float("-inf"))


def _activity(signal: Float[Tensor, "B C T"], mask: Bool[Tensor, " C"]) -> Float[Tensor, "B C"]:
    """Line length of each electrode, standardised over the window's usable electrodes."""
    length = (signal[..., 1:] - signal[..., :-1]).abs().mean(-1)
    usable = mask.to(length.dtype)
    count = usable.sum()
    mean = (length * usable).sum(-1, keepdim=True) / count
    variance = ((length - mean).square() * usable).sum(-1, keepdim=True) / count
    return (length - mean) / (variance.sqrt() + 1e-6) * usable
