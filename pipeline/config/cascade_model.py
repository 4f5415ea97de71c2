"""The sections of the cascade's nets: their shape, their training in stages, the threshold, the evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .sections import Positive, Section, Share

Weight = Annotated[float, Field(ge=0.0)]
Above = Annotated[float, Field(gt=0.0)]


class CascadeModelConfig(Section):
    """The simple path; the complex model has no choices (docs/cascade.md)."""

    simple: Literal["decided", "A", "A_lite", "B", "C"] = Field(
        "decided", description="the simple model; `decided` takes the patient's from decision.json"
    )
    content: Literal["annealed", "run_time", "none"] = Field(
        "annealed",
        description="whether a window's activity moves the electrode weights: early in training only, when deployed "
        "too (an ablation: every electrode stays live), or never",
    )
    dropout: Share = Field(0.1, description="dropout before the classifier of A and A_lite")


class CascadeTrainingConfig(Section):
    """Stages 10 / 10 / 5 and the four loss terms (cascade plan, part 3)."""

    stage_epochs: tuple[int, int, int] = Field(
        (10, 10, 5), description="epochs of: electrode and simple model, complex model, all together"
    )
    batch_size: Positive = Field(64, description="windows per step")
    lr: Above = Field(3e-3, description="peak learning rate of AdamW in stages 1 and 2")
    joint_lr: Above = Field(5e-4, description="peak learning rate of stage 3")
    selector_lr: Above = Field(0.2, description="peak learning rate of the electrode logits in stage 1")
    weight_decay: Weight = Field(1e-2, description="decoupled weight decay of the nets; the logits have none")
    grad_clip: Above = Field(1.0, description="largest gradient norm of each net")
    interictal_per_ictal: Above = Field(
        4.0, description="interictal windows drawn per ictal one and epoch; classes weigh the same in the loss"
    )
    label_smoothing: Share = Field(0.05, description="of both classifiers, against margins that grow without end")
    weight_simple: Weight = Field(1.0, description="alpha_1, cross-entropy of the simple model")
    weight_complex: Weight = Field(1.0, description="alpha_2, cross-entropy of the complex model on doubtful windows")
    weight_routing: Weight = Field(0.5, description="alpha_3, square of the share of calls above its target")
    weight_sparsity: Weight = Field(0.05, description="alpha_4, one minus the sum of squared electrode weights")
    complex_floor: Share = Field(
        0.2, description="weight of a window that the simple model is sure of in the complex model's loss"
    )
    target_calls: Share = Field(0.05, description="share of windows that may go to the complex model without penalty")
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.9, description="tau of the soft routing in training; the deployed one is calibrated"
    )
    routing_temperature: Above = Field(0.5, description="width of the soft routing, in logits")
    mixing: Literal["losses", "signals"] = Field(
        "losses",
        description="what the electrode weights weigh in stage 1: each electrode's own loss, or (the literal plan) the "
        "signals, which misses the best electrode where background differs little from it (docs/cascade.md)",
    )
    electrodes_per_step: Positive = Field(
        32, description="electrodes drawn per step under `losses`; patients with fewer use all in every step"
    )
    start_temperature: Above = Field(5.0, description="of the electrode weights, at the start of stage 1")
    end_temperature: Above = Field(0.1, description="of the electrode weights, when they become hard")
    threads: Positive = Field(1, description="CPU threads of one training process")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="accelerator")

    @model_validator(mode="after")
    def _check(self) -> CascadeTrainingConfig:
        if min(self.stage_epochs) < 1:
            raise ValueError(f"training.stage_epochs={list(self.stage_epochs)}: every stage needs at least one epoch")
        if self.end_temperature > self.start_temperature:
            raise ValueError(
                f"training.end_temperature={self.end_temperature} exceeds training.start_temperature="
                f"{self.start_temperature}; the temperature falls"
            )
        return self


class CascadeEvaluationConfig(Section):
    """The threshold's guarantee, and how windows become events."""

    max_risk: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.005,
        description="bound on the share of windows that the simple model decides wrongly, the complex one rightly",
    )
    max_ictal_risk: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.02, description="the same bound among ictal windows"
    )
    risk_level: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1, description="probability that the threshold breaks a bound"
    )
    call_budget: Share = Field(
        0.05,
        description="share of calibration windows that may go to the complex model: of the thresholds whose bounds "
        "hold, the strictest within it is taken, and the loosest if none is; 0 always takes the loosest",
    )
    votes: Positive = Field(3, description="ictal windows among the last `votes_among` that raise an alarm")
    votes_among: Positive = Field(5, description="windows that vote")
    tolerance_before_s: Weight = Field(30.0, description="an alarm this early still counts for a seizure")
    tolerance_after_s: Weight = Field(60.0, description="an alarm this late still counts for a seizure")
    merge_gap_s: Weight = Field(90.0, description="events closer than this are one")
    max_event_s: Above = Field(300.0, description="longer events are split")
    search_epochs: Positive = Field(10, description="epochs of each electrode's own simple model in the full search")

    @model_validator(mode="after")
    def _check(self) -> CascadeEvaluationConfig:
        if self.votes > self.votes_among:
            raise ValueError(f"evaluation.votes={self.votes} exceeds evaluation.votes_among={self.votes_among}")
        return self
