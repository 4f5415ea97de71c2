"""Learnable chip types of the slots on a wafer (spec §8.2): a Gumbel-Softmax over chip types and `empty`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..config.chips import ChipType
from ..errors import ConfigError, suggestion

SPECS = ("peak_flops", "peak_bw", "mem_gb", "area_mm2", "width_mm", "height_mm", "tdp_w", "idle_w")
FIXED_LOGIT = 60.0
_TINY = 1e-20


class ChipSlotConfig(nn.Module):
    """What each of S slots holds: one of T chip types, or nothing (the last column).

    Logits start from seeded noise: equal logits would make all slots one and the same slot for ever.

    Args:
        chip_types: T types.
        num_slots: S.
        tau_init: temperature of the softmax; `tau` may be changed at any time (`temperature_at`).
        seed, init_std: of the starting noise.

    Raises:
        ConfigError: no types, no slots, a type twice, or a temperature that is not positive.
    """

    def __init__(
        self,
        chip_types: Sequence[ChipType],
        num_slots: int = 16,
        tau_init: float = 1.0,
        *,
        seed: int = 0,
        init_std: float = 0.5,
    ) -> None:
        super().__init__()
        names = [chip.name for chip in chip_types]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"chip types {names}: give at least one, each once")
        if num_slots < 1 or not tau_init > 0.0:
            raise ConfigError(f"num_slots={num_slots}, tau_init={tau_init}: both must be positive")
        self.chip_types = tuple(chip_types)
        self.tau = tau_init
        noise = torch.randn(num_slots, len(names) + 1, generator=torch.Generator().manual_seed(seed))
        self.logits = nn.Parameter(init_std * noise)
        table = torch.tensor([[float(getattr(chip, name)) for name in SPECS] for chip in chip_types])
        self.register_buffer("spec_table", table, persistent=False)

    spec_table: Tensor

    @property
    def num_slots(self) -> int:
        """S."""
        return self.logits.shape[0]

    @property
    def names(self) -> list[str]:
        """Names of the chip types, in the order of the columns."""
        return [chip.name for chip in self.chip_types]

    def forward(self, hard: bool = False, *, generator: torch.Generator | None = None) -> dict[str, Any]:
        """Sample (in training mode) or read off what the slots hold.

        Args:
            hard: one-hot rows, with the gradient of the soft ones.
            generator: draws the Gumbel noise; the global one if None.

        Returns:
            `alpha` [S, T + 1], whose last column is `empty`; `type_share` [S, T], the shares among real types given
            that the slot is not empty; `eff_specs`, per specification the alpha-weighted sum over types [S] (an empty
            slot counts 0).
        """
        logits: Tensor = self.logits
        if self.training:
            waiting = torch.empty(logits.shape, dtype=logits.dtype).exponential_(generator=generator)
            logits = logits - waiting.clamp_min(_TINY).log().to(logits.device)  # minus its logarithm is Gumbel noise
        alpha = functional.softmax(logits / self.tau, dim=-1)
        share = functional.softmax(logits[:, :-1] / self.tau, dim=-1)
        if hard:
            alpha, share = _straight_through(alpha), _straight_through(share)
        mixed = alpha[:, :-1] @ self.spec_table.to(alpha)
        return {"alpha": alpha, "type_share": share, "eff_specs": dict(zip(SPECS, mixed.unbind(1), strict=True))}

    @torch.no_grad()
    def fix(self, design: Sequence[str | None]) -> ChipSlotConfig:
        """Put the named chips into the slots (None leaves one empty) and stop learning; returns itself.

        Raises:
            ConfigError: a chip that is not among the types, or another number of slots.
        """
        self.logits.copy_(self._logits_of(design))
        self.logits.requires_grad_(False)
        return self

    def _logits_of(self, design: Sequence[str | None]) -> Float[Tensor, "S T1"]:
        if len(design) != self.num_slots:
            raise ConfigError(f"a fixed design of {len(design)} chips for {self.num_slots} slots; give one per slot")
        logits = torch.zeros_like(self.logits)
        for slot, name in enumerate(design):
            if name is not None and name not in self.names:
                raise ConfigError(
                    f"slot {slot}: chip '{name}' is not among {', '.join(self.names)}{suggestion(name, self.names)}"
                )
            logits[slot, -1 if name is None else self.names.index(name)] = FIXED_LOGIT
        return logits

    @torch.no_grad()
    def harden(self, area_budget_mm2: float = math.inf, tdp_budget_w: float = math.inf) -> list[str | None]:
        """The most probable chips, one choice per slot, that keep both budgets and leave at least one slot open.

        Raises:
            ConfigError: not even one chip keeps the budgets; says which and by how much.
        """
        check_smallest_chip(self.chip_types, area_budget_mm2, tdp_budget_w)
        chosen = most_probable_within(self._scores(), self._charges(), (area_budget_mm2, tdp_budget_w))
        return self._names_of(chosen)

    @torch.no_grad()
    def commit(self, area_budget_mm2: float = math.inf, tdp_budget_w: float = math.inf, *, lead: float = 0.0) -> int:
        """Make `harden()` the most probable choice of every slot, ahead of all others by `lead` in the logits.

        Relaxed chips come to rest where a budget binds, with the share of a chip that it still pays for. A slot that
        the budgets cannot pay for exchanges the logits of its chip and of what it holds instead.

        Returns:
            the number of slots whose most probable choice changed.

        Raises:
            ConfigError: as `harden`.
        """
        kept = torch.tensor([self._column(name) for name in self.harden(area_budget_mm2, tdp_budget_w)])
        rows = torch.arange(self.num_slots)
        likeliest = self.logits.argmax(dim=1)
        highest = self.logits[rows, likeliest]
        self.logits[rows, likeliest] = self.logits[rows, kept]
        self.logits[rows, kept] = -torch.inf
        self.logits[rows, kept] = torch.maximum(highest, self.logits.amax(dim=1) + lead)
        return int((likeliest != kept).sum())

    @torch.no_grad()
    def harden_candidates(
        self, area_budget_mm2: float = math.inf, tdp_budget_w: float = math.inf, *, undecided_slots: int = 4
    ) -> list[list[str | None]]:
        """Designs within the budgets worth trying, `harden()` first: the least decided slots keep what they have there
        or take either of their two most probable choices, in all combinations; no two hold the same chips.

        Raises:
            ConfigError: as `harden`.
        """
        best = self.harden(area_budget_mm2, tdp_budget_w)
        scores, charges = self._scores(), self._charges()
        order = np.argsort(-scores, axis=1)
        lead = np.take_along_axis(scores, order[:, :1], 1) - np.take_along_axis(scores, order[:, 1:2], 1)
        undecided = np.argsort(lead[:, 0], kind="stable")[:undecided_slots]
        base = np.array([self._column(name) for name in best])
        designs, seen = [best], {_contents(best)}
        options = [dict.fromkeys((int(base[slot]), *order[slot, :2].tolist())) for slot in undecided]
        for picks in itertools.product(*options):
            chosen = base.copy()
            chosen[undecided] = picks
            area_mm2, tdp_w = charges[chosen].sum(0)
            design = self._names_of(chosen)
            if area_mm2 > area_budget_mm2 or tdp_w > tdp_budget_w or not any(design) or _contents(design) in seen:
                continue
            designs.append(design)
            seen.add(_contents(design))
        return designs

    def _column(self, name: str | None) -> int:
        return len(self.names) if name is None else self.names.index(name)

    def _names_of(self, chosen: Sequence[int] | np.ndarray) -> list[str | None]:
        return [None if t == len(self.names) else self.names[t] for t in chosen]

    def _scores(self) -> Float[np.ndarray, "S T1"]:
        return functional.log_softmax(self.logits.double(), dim=-1).cpu().numpy()

    def _charges(self) -> Float[np.ndarray, "T1 2"]:
        charges = self.spec_table.double()[:, [SPECS.index("area_mm2"), SPECS.index("tdp_w")]].cpu().numpy()
        return np.concatenate([charges, np.zeros((1, 2))])


def temperature_at(outer: int, num_outer: int, tau_init: float, tau_min: float) -> float:
    """Temperature of outer iteration `outer` (from 0): geometric from `tau_init` to `tau_min` at the last one."""
    if num_outer <= 1:
        return tau_init
    return max(tau_min, tau_init * (tau_min / tau_init) ** (outer / (num_outer - 1)))


def check_smallest_chip(chip_types: Sequence[ChipType], area_budget_mm2: float, tdp_budget_w: float) -> None:
    """Refuse budgets that not even the smallest chip keeps.

    Raises:
        ConfigError: names the budget and by how much it is missed.
    """
    for budget, key, unit, value in (
        ("area_budget_mm2", "area_mm2", "mm2", area_budget_mm2),
        ("tdp_budget_w", "tdp_w", "W", tdp_budget_w),
    ):
        least = min(chip_types, key=lambda chip: getattr(chip, key))
        need = getattr(least, key)
        if need > value:
            raise ConfigError(
                f"{budget}={value:g}: the least any chip needs is {need:g} {unit} ({least.name}), {need - value:g} "
                f"{unit} more; raise the budget or add a smaller chip to the library"
            )
    if not any(chip.area_mm2 <= area_budget_mm2 and chip.tdp_w <= tdp_budget_w for chip in chip_types):
        raise ConfigError(
            f"area_budget_mm2={area_budget_mm2:g} and tdp_budget_w={tdp_budget_w:g}: no chip keeps both; raise one"
        )


def most_probable_within(
    scores: Float[np.ndarray, "S T1"], charges: Float[np.ndarray, "T1 2"], budgets: tuple[float, float]
) -> list[int]:
    """The choice per slot of the largest total score within both budgets, not all empty; an integer program (HiGHS)."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes a second to import
    from scipy.sparse import csr_array, eye_array, kron

    S, choices = scores.shape
    within = np.isfinite(budgets)
    rules = [
        LinearConstraint(kron(eye_array(S, format="csr"), np.ones((1, choices)), format="csr"), 1.0, 1.0),
        LinearConstraint(csr_array(np.tile(np.append(np.ones(choices - 1), 0.0), (1, S))), 1.0, np.inf),
    ]
    if within.any():
        spent = np.tile(charges.T / np.where(within, budgets, 1.0)[:, None], (1, S))[within]
        rules.append(LinearConstraint(csr_array(spent), -np.inf, 1.0))
    cost = -np.clip(scores, -1e3, 0.0).ravel()
    solved = milp(cost, integrality=np.ones(cost.size), bounds=Bounds(0, 1), constraints=rules)
    return [int(t) for t in solved.x.reshape(S, choices).argmax(1)]


def _contents(design: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(sorted(name for name in design if name is not None))


def _straight_through(soft: Float[Tensor, "S C"]) -> Float[Tensor, "S C"]:
    one_hot = functional.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
    return one_hot - soft.detach() + soft
