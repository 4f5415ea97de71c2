"""What changes with the share of training that is done: kept tokens, temperature, softness and learning of gates."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.pruning import PruningConfig


@dataclass(frozen=True)
class PruningPhase:
    """Where a schedule stands.

    Attributes:
        drop_ramp: how much of the final token reduction applies, from 0 to 1.
        temperature: of the soft mask.
        soft_gates: whether gates pass their sigmoid.
        gates_learn: whether gate logits still move.
        target_ramp: how much of the gates' target sparsities L_AST asks for, from 0 to 1.
    """

    drop_ramp: float
    temperature: float
    soft_gates: bool
    gates_learn: bool
    target_ramp: float


def phase_at(cfg: PruningConfig, progress: float) -> PruningPhase:
    """The phase after a share `progress` of training, in [0, 1].

    The kept share falls linearly over `keep_warmup`; the temperature falls by equal ratios; targets of gates rise
    linearly from the end of `gate_warmup` to three quarters of the way to `gate_freeze`, which leaves time to settle.
    """
    learning = cfg.gate_freeze - cfg.gate_warmup
    return PruningPhase(
        drop_ramp=_ramp(progress, 0.0, cfg.keep_warmup),
        temperature=cfg.temperature * (cfg.temperature_final / cfg.temperature) ** min(1.0, max(0.0, progress)),
        soft_gates=progress < cfg.gate_warmup,
        gates_learn=progress < cfg.gate_freeze,
        target_ramp=_ramp(progress, cfg.gate_warmup, 0.75 * learning),
    )


def final_phase(cfg: PruningConfig) -> PruningPhase:
    """The phase of evaluation and of a finished training."""
    return PruningPhase(1.0, cfg.temperature_final, soft_gates=False, gates_learn=False, target_ramp=1.0)


def _ramp(progress: float, start: float, length: float) -> float:
    return 1.0 if progress >= start + length else max(0.0, (progress - start) / length)
