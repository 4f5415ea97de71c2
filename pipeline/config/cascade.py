"""The sections of the seizure cascade: recordings and windows, their analysis, the choice of the simple model."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from .cascade_model import CascadeEvaluationConfig, CascadeModelConfig, CascadeTrainingConfig
from .export import ExportConfig
from .quantisation import QuantisationConfig
from .sections import Positive, Section, Share

Seconds = Annotated[float, Field(ge=0.0)]
Split = Literal["train", "val", "calibration", "test"]
SplitShares = dict[Split, Annotated[float, Field(gt=0.0)]]
SPLITS: tuple[Split, ...] = get_args(Split)


class RecordingsDemoConfig(Section):
    """The generated recordings, written in the file formats of the SWEC-ETHZ data sets (docs/cascade_data.md)."""

    patients: Positive = Field(3, description="patients; their file formats take turns")
    recordings: Annotated[int, Field(ge=4)] = Field(
        16, description="recordings of a patient, one seizure each; at least one per split"
    )
    margin_s: Annotated[float, Field(gt=0.0)] = Field(180.0, description="seconds before and after each seizure")
    seizure_s: Annotated[float, Field(gt=0.0)] = Field(24.0, description="mean length of a seizure, seconds")
    channels: Annotated[int, Field(ge=8, le=128)] = Field(
        24, description="electrodes of the first patient; others differ"
    )
    seed: int = Field(0, ge=0, description="seed of the generated patients")


class CascadeDataConfig(Section):
    """Where recordings come from and how they become labelled windows (DESIGN of the data: docs/cascade_data.md)."""

    raw_root: str | None = Field(None, description="folder of recordings, or one table file; null generates them")
    root: str = Field("data/swec", description="folder of windows, index.parquet, recordings.parquet, channels.parquet")
    sample_rate_hz: Annotated[float, Field(gt=0.0)] = Field(
        512.0, description="samples per second of a window; recordings at another rate are low-passed and resampled"
    )
    window_samples: Positive = Field(512, description="samples of a window")
    max_channels: Positive = Field(128, description="channels the models see; fewer are padded under a mask")
    stride_s: Annotated[float, Field(gt=0.0)] = Field(1.0, description="seconds between the starts of windows")
    ictal_overlap: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5, description="share of a window that a seizure must cover for the label ictal"
    )
    guard_s: Seconds = Field(
        5.0, description="seconds around a seizure without interictal windows; their label would be a matter of opinion"
    )
    cluster_gap_s: Seconds = Field(
        1800.0,
        description="a seizure that starts within this time after another is a cluster's and left out with its time",
    )
    interictal_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="share of interictal windows kept for training and validation, evenly spaced"
    )
    splits: Literal["by_recording", "shared"] = Field(
        "by_recording",
        description="whole recordings in order of time, or every split reads all (a path check, no generalisation)",
    )
    split_shares: SplitShares = Field(
        {"train": 0.4, "val": 0.15, "calibration": 0.2, "test": 0.25},
        description="shares of a patient's seizures; each split gets at least one",
    )
    short_term_margin_s: Seconds = Field(
        180.0, description="seconds before and after the seizure of a short-term file, which tell its label"
    )
    leave_out: list[str] = Field([], description="patients that are not read")
    max_bad_share: Share = Field(0.0, description="share of recordings that may be unreadable before it is an error")
    max_nan_share: Share = Field(
        0.05, description="share of a recording's windows with NaN above which an electrode is left out"
    )

    @model_validator(mode="after")
    def _check(self) -> CascadeDataConfig:
        missing = [name for name in SPLITS if name not in self.split_shares]
        if missing:
            raise ValueError(f"data.split_shares lacks {', '.join(missing)}; give all of {', '.join(SPLITS)}")
        return self


class CascadeAnalysisConfig(Section):
    """The four analyses of the cascade plan's part 5."""

    max_windows: Positive = Field(
        2000, description="windows per patient and class that the analyses read, evenly spaced"
    )
    bands_hz: list[tuple[float, float]] = Field(
        [(0.5, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 80.0)],
        min_length=1,
        description="delta, theta, alpha, beta, gamma: lower and upper edge",
    )
    easy_confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.9, description="|p1 - p0| above which a window counts as easy"
    )
    key_channel_auc: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(
        0.9, description="AUC (or 1 - AUC) at which a channel counts as a key channel"
    )

    @model_validator(mode="after")
    def _check(self) -> CascadeAnalysisConfig:
        for low, high in self.bands_hz:
            if not 0 <= low < high:
                raise ValueError(f"analysis.bands_hz: {low}-{high} Hz is not a band; give 0 <= lower < upper edge")
        return self


class CascadeDecisionConfig(Section):
    """The written rule that chooses the simple model, and says when a cascade is not worthwhile."""

    candidates: list[Literal["A", "A_lite", "B", "C"]] = Field(
        ["A", "A_lite", "B", "C"], min_length=1, description="simple models compared"
    )
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="training seeds of each candidate")
    num_epochs: Positive = Field(10, description="passes over the training windows per candidate")
    lr: Annotated[float, Field(gt=0.0)] = Field(3e-3, description="learning rate of AdamW")
    batch_size: Positive = Field(64, description="windows per step")
    auc_margin: Share = Field(0.01, description="validation AUC a cheaper model may lose to the best")
    coverage_margin: Share = Field(0.02, description="coverage at the target risk a cheaper model may lose to the best")
    target_risk: Share = Field(0.005, description="share of wrong answers among the accepted windows")
    min_coverage: Share = Field(0.5, description="coverage below which the decision says: not worthwhile")


class CascadeConfig(Section):
    """Everything that decides the result of one cascade experiment (`configs/swec_cascade.yaml`)."""

    preset: str = Field("demo", description="the preset this run was resolved with")
    experiment: str = Field("adhoc", description="catalogue ID, or adhoc/<stem>-<hash8>")
    seed: int = Field(0, ge=0, description="seed of initialisation and sampling")
    demo: RecordingsDemoConfig = Field(default_factory=lambda: RecordingsDemoConfig())
    data: CascadeDataConfig = Field(default_factory=lambda: CascadeDataConfig())
    analysis: CascadeAnalysisConfig = Field(default_factory=lambda: CascadeAnalysisConfig())
    decision: CascadeDecisionConfig = Field(default_factory=lambda: CascadeDecisionConfig())
    model: CascadeModelConfig = Field(default_factory=lambda: CascadeModelConfig())
    training: CascadeTrainingConfig = Field(default_factory=lambda: CascadeTrainingConfig())
    evaluation: CascadeEvaluationConfig = Field(default_factory=lambda: CascadeEvaluationConfig())
    quantisation: QuantisationConfig = Field(default_factory=lambda: QuantisationConfig())
    export: ExportConfig = Field(default_factory=lambda: ExportConfig())

    @model_validator(mode="after")
    def _check_agreement(self) -> CascadeConfig:
        if self.data.raw_root is None and self.data.short_term_margin_s != self.demo.margin_s:
            raise ValueError(
                f"data.short_term_margin_s={self.data.short_term_margin_s:g} contradicts demo.margin_s="
                f"{self.demo.margin_s:g}, the margins of the generated recordings; make them equal"
            )
        nyquist_hz = self.data.sample_rate_hz / 2
        highest_hz = max(high for _, high in self.analysis.bands_hz)
        if highest_hz > nyquist_hz:
            raise ValueError(
                f"analysis.bands_hz reaches {highest_hz:g} Hz, above half of data.sample_rate_hz="
                f"{self.data.sample_rate_hz:g}; lower the band or raise the rate"
            )
        return self
