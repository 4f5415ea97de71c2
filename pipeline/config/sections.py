"""The typed sections of a run's configuration: the only schema there is.

The JSON schema (`workflow/schemas/`) and the key table (`docs/configuration.md`) are generated from
these models. Unknown keys are errors; every value is checked before any work starts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .hardware import HwConfig, Phase0Config
from .pruning import PruningConfig
from .section import Positive, Section, Share
from .version_c import AlternationConfig, ChipsConfig, SegmentMappingConfig, WaferConfig

MODE_PAIRS = {
    "dense_baseline": {"none"},
    "single_device_ast": {"none", "single_device"},
    "multi_chip_fixed": {"multi_chip_fixed"},
    "version_c_full": {"version_c_full"},
}


class AudioConfig(Section):
    """Log-mel features, one column per video frame (spec §4.2)."""

    sample_rate: Positive = Field(16000, description="samples per second after resampling")
    n_mels: Positive = Field(64, description="mel bands per frame")
    n_fft: Positive = Field(2048, description="samples per analysis window")
    hop_length: Positive = Field(512, description="samples between windows; used by `align: spec` only")
    ref: Literal["fixed", "max"] = Field(
        "fixed", description="dB reference: 1.0, or the clip's maximum (the literal spec, which loses loudness)"
    )
    align: Literal["frame", "spec"] = Field(
        "frame", description="window centred on each frame, or the spec's equal division of the spectrogram"
    )


class DataConfig(Section):
    """Where clips come from and how they are cut, cropped and batched (spec §2.1, §3)."""

    dataset: Literal["ucf101"] = Field("ucf101", description="the dataset reader")
    root: str = Field("data/ucf101", description="folder that holds frames, packed, audio, splits and manifest")
    frames_root: str | None = Field(None, description="JPEG tree; default <root>/frames")
    splits_root: str | None = Field(None, description="split lists and classInd.txt; default <root>/splits")
    audio_root: str | None = Field(None, description="log-mel features; default <root>/audio")
    truth: str | None = Field(
        None, description="boxes of the moving target (generated data), which pruning is scored on; no model reads it"
    )
    splits: Literal["lists", "by_time"] = Field(
        "lists", description="official lists by group, or every video cut in time (a path check, no generalisation)"
    )
    val_groups: int = Field(2, ge=0, description="groups (gXX) per class carved out of train for validation")
    max_missing_share: Share = Field(0.0, description="share of listed videos that may be absent before it is an error")
    use_audio: bool = Field(False, description="read audio features and use the audio-video model")
    audio: Literal["own", "shuffled"] = Field(
        "own", description="`shuffled` gives each video another one's sound (control)"
    )
    labels: Literal["true", "scrambled"] = Field(
        "true", description="`scrambled` spreads all labels evenly over each class (control)"
    )
    input: Literal["raw", "minus_clip_mean"] = Field(
        "raw", description="pixels as they are, or minus the mean over the clip's frames"
    )
    clip_lens: list[Positive] = Field([8, 16], min_length=1, description="frames a window covers, one entry per scale")
    num_frames: Positive = Field(8, description="frames T sampled from a window")
    train_stride_ratio: Annotated[float, Field(gt=0.0)] = Field(
        0.5, description="window stride over its length, training"
    )
    eval_stride_ratio: Annotated[float, Field(gt=0.0)] = Field(
        0.5, description="window stride over its length, evaluation"
    )
    clip_jitter: bool = Field(True, description="shift each training window by a random offset below its stride")
    windows_per_video: Positive | None = Field(
        None, description="training windows drawn per video and epoch; null takes all of them"
    )
    short_side: Positive = Field(128, description="short side of the packed frames, pixels")
    image_size: Positive = Field(112, description="side of the square crop the model sees, pixels")
    horizontal_flip: bool = Field(True, description="mirror training clips with probability 1/2")
    batch_size: Positive = Field(16, description="clips per training step")
    num_workers: int = Field(0, ge=0, description="loader processes; 0 is fastest on the packed cache")

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.image_size > self.short_side:
            raise ValueError(
                f"data.image_size={self.image_size} exceeds data.short_side={self.short_side}: "
                "the crop must fit into the packed frames; raise short_side or lower image_size"
            )
        return self


class ModelConfig(Section):
    """The video transformer (spec §5)."""

    patch_size: Positive = Field(16, description="side of a square patch, pixels")
    embed_dim: Positive = Field(192, description="token width")
    depth: Positive = Field(12, description="transformer blocks")
    num_heads: Positive = Field(3, description="attention heads per block")
    mlp_ratio: Annotated[float, Field(gt=0.0)] = Field(4.0, description="hidden width of the MLP over embed_dim")
    drop_rate: Share = Field(0.0, description="dropout after embedding, attention projection and MLP")
    attn_drop: Share = Field(0.0, description="dropout on attention weights")
    drop_path_rate: Share = Field(0.0, description="stochastic depth at the last block, rising linearly from 0")
    pool: Literal["cls", "mean"] = Field("cls", description="what the classifier reads")
    fusion: Literal["early", "late", "audio"] = Field(
        "late", description="with audio: tokens joined, log-probabilities of two nets summed, or sound alone"
    )
    audio_drop: Share = Field(0.2, description="probability that a training sample loses its sound (early fusion)")

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"model.embed_dim={self.embed_dim} is not a multiple of model.num_heads={self.num_heads}; change either"
            )
        return self


class TrainingConfig(Section):
    """Optimiser, schedule, validation and the machine (spec §2.2)."""

    mode: Literal["dense_baseline", "single_device_ast", "multi_chip_fixed", "version_c_full"] = Field(
        "dense_baseline", description="what is trained; must pair with hw.mode"
    )
    use_audio: bool = Field(False, description="must equal data.use_audio")
    num_epochs: int = Field(40, ge=0, description="passes over the training videos; 0 evaluates init_from only")
    further_epochs: int | None = Field(
        None, ge=1, description="epochs instead of num_epochs (unless 0) of a run that starts from another's weights"
    )
    lr: Annotated[float, Field(gt=0.0)] = Field(2e-3, description="peak learning rate of AdamW")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(0.05, description="decoupled weight decay")
    warmup_steps: int = Field(25, ge=0, description="steps of linear warm-up")
    final_lr_ratio: Share = Field(0.02, description="learning rate at the end of the cosine over its peak")
    grad_clip: Annotated[float, Field(gt=0.0)] = Field(
        1.0, description="largest gradient norm per separately trained net"
    )
    label_smoothing: Share = Field(0.05, description="label smoothing of the cross-entropy")
    eval_every_epochs: Positive = Field(5, description="epochs between validations; the last epoch is always validated")
    early_stop_patience: int = Field(
        0, ge=0, description="validations without improvement before stopping at the best weights; 0 trains to the end"
    )
    threads: Positive = Field(1, description="CPU threads of one training process")
    devices: Positive = Field(1, description="processes (CPU) or GPUs that share each batch")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="accelerator")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="Lightning Fabric precision")


class LossConfig(Section):
    """Weights of the terms beside the task loss (spec §13.1)."""

    lambda_AST: Annotated[float, Field(ge=0.0)] = Field(1.0, description="weight of the pruner's loss L_AST")  # noqa: N815
    lambda_hw: Annotated[float, Field(ge=0.0)] = Field(1.0, description="weight of the hardware loss L_hw")


class RunConfig(Section):
    """Everything that decides the result of one run, and nothing else."""

    preset: str = Field("demo", description="the preset this run was resolved with")
    experiment: str = Field("adhoc", description="catalogue ID, or adhoc/<stem>-<hash8>")
    seed: int = Field(0, ge=0, description="seed of initialisation, sampling and augmentation")
    init_from: str | None = Field(None, description="catalogue ID whose model of the same seed is the start")
    data: DataConfig = Field(default_factory=lambda: DataConfig())
    audio: AudioConfig = Field(default_factory=lambda: AudioConfig())
    model: ModelConfig = Field(default_factory=lambda: ModelConfig())
    ast: PruningConfig = Field(default_factory=lambda: PruningConfig())
    loss: LossConfig = Field(default_factory=lambda: LossConfig())
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig())
    hw: HwConfig = Field(default_factory=lambda: HwConfig())
    chips: ChipsConfig = Field(default_factory=lambda: ChipsConfig())
    mapping: SegmentMappingConfig = Field(default_factory=lambda: SegmentMappingConfig())
    layout: WaferConfig = Field(default_factory=lambda: WaferConfig())
    alternation: AlternationConfig = Field(default_factory=lambda: AlternationConfig())

    def epochs(self) -> int:
        """Passes over the training videos that this run makes."""
        training = self.training
        if self.init_from is None or training.further_epochs is None or training.num_epochs == 0:
            return training.num_epochs
        return training.further_epochs

    @model_validator(mode="after")
    def _check_agreement(self) -> RunConfig:
        if self.hw.mode not in MODE_PAIRS[self.training.mode]:
            allowed = " or ".join(sorted(MODE_PAIRS[self.training.mode]))
            raise ValueError(
                f"training.mode={self.training.mode} does not go with hw.mode={self.hw.mode}; set hw.mode to {allowed}"
            )
        if self.hw.use_hw_loss and self.hw.mode == "none":
            raise ValueError("hw.use_hw_loss=true needs a hardware model, but hw.mode=none; change either")
        if self.training.use_audio != self.data.use_audio:
            raise ValueError(
                f"training.use_audio={self.training.use_audio} contradicts data.use_audio={self.data.use_audio}; "
                "make them equal"
            )
        if self.data.image_size % self.model.patch_size:
            raise ValueError(
                f"data.image_size={self.data.image_size} is not a multiple of model.patch_size={self.model.patch_size}"
            )
        if self.training.mode != "dense_baseline":
            self._check_pruning()
        if self.training.mode in ("multi_chip_fixed", "version_c_full"):
            self._check_chips()
        return self

    def _check_chips(self) -> None:
        for name in ("lambda_chip", "lambda_area"):
            if getattr(self.hw, name) is None:
                raise ValueError(
                    f"hw.{name} is missing: hw.mode={self.hw.mode} needs it; set it, 0 leaves the term out"
                )
        if (self.chips.fixed is None) == (self.hw.mode == "multi_chip_fixed"):
            raise ValueError(
                f"hw.mode={self.hw.mode} with chips.fixed={self.chips.fixed}: multi_chip_fixed needs the chip of each "
                "slot, version_c_full learns them; set chips.fixed or leave it out"
            )
        if self.chips.fixed is not None and self.alternation.steps_alpha:
            raise ValueError(
                "chips.fixed leaves step B nothing to learn, but "
                f"alternation.steps_alpha={self.alternation.steps_alpha}; set it to 0"
            )
        if not self.ast.gates:
            raise ValueError(f"training.mode={self.training.mode} prices gates, but ast.gates=false; set it to true")

    def _check_pruning(self) -> None:
        self.ast.check_sizes(
            depth=self.model.depth,
            num_frames=self.data.num_frames,
            grid=self.data.image_size // self.model.patch_size,
        )
        if self.data.use_audio and self.model.fusion == "audio":
            raise ValueError(
                f"training.mode={self.training.mode} prunes picture tokens, but model.fusion=audio has none; "
                "set model.fusion to early or late"
            )
        if self.data.use_audio and self.ast.reads_attention():
            raise ValueError(
                f"ast.selector={self.ast.selector} reduces picture tokens only, but data.use_audio=true; "
                "set data.use_audio=false and training.use_audio=false, or ast.selector=ast"
            )
        if self.data.use_audio and self.model.fusion == "late" and self.ast.audio == "gate":
            raise ValueError(
                "ast.audio=gate ranks sound beside picture tokens, which model.fusion=late keeps in another net; "
                "set ast.audio=keep or model.fusion=early"
            )


class DemoConfig(Section):
    """The generated UCF101-format data set (docs/data.md)."""

    classes: Annotated[int, Field(ge=2, le=6)] = Field(6, description="action classes: 3 motions x 2 hues")
    groups: Positive = Field(19, description="groups (gXX) per class; a group shares its background per class")
    clips_per_group: Positive = Field(3, description="clips of a class in one group")
    test_groups: Positive = Field(6, description="the lowest groups, listed for test")
    seed: int = Field(0, ge=0, description="seed of the generated world")
    with_bad: bool = Field(False, description="add damaged files: zero bytes, truncated, sound only")

    @model_validator(mode="after")
    def _check(self) -> DemoConfig:
        if self.test_groups >= self.groups:
            raise ValueError(
                f"demo.test_groups={self.test_groups} leaves no training group of demo.groups={self.groups}"
            )
        return self


class WorkflowConfig(Section):
    """`configs/workflow.yaml` and `snakemake --config key=value`: what to make, and from what."""

    preset: str = Field("demo", description="a file of configs/presets")
    layer_latency: str | None = Field(None, description="measured layers for the proxies (default: the modelled table)")
    devices: str | None = Field(None, description="CSV of the devices of layer_latency")
    model_energy: str | None = Field(None, description="measured latency and mean power of whole models (EXP-P0-2)")
    model_kernels: str | None = Field(None, description="the kernels of those models")
    raw_video_root: str | None = Field(None, description="folder of Class/*.avi, for presets that read your videos")
    raw_ieeg_root: str | None = Field(None, description="folder of recordings, or one table file, for the cascade")
    splits_root: str | None = Field(None, description="folder of classInd.txt, trainlist01.txt and testlist01.txt")
    from_frames: bool = Field(False, description="start from the JPEG tree at <data.root>/frames, without raw videos")
    shards: Positive | None = Field(None, description="jobs that share the data stages; null takes the preset's")


class PresetConfig(Section):
    """A preset file: what the workflow needs, and the defaults of every run made under it."""

    description: str = Field(description="one line for --help and the report")
    data_source: Literal["demo", "folder", "none"] = Field(
        description="generate clips and recordings, read raw_video_root, or no videos: the cascade alone"
    )
    seeds: list[int] = Field([0], min_length=1, description="seeds of every experiment")
    cascade_seeds: list[int] | None = Field(
        None, min_length=1, description="seeds of the cascade's experiments, whose patients are trainings of their own"
    )
    shards: Positive = Field(2, description="jobs that share the data stages")
    mem_mb: Positive = Field(2000, description="memory asked for a training job on a cluster")
    runtime_min: Positive = Field(240, description="minutes asked for a training job on a cluster")
    gpus: int = Field(0, ge=0, description="GPUs asked for a training job on a cluster")
    phase0: Phase0Config = Field(default_factory=lambda: Phase0Config(), description="sizes of the hardware proxies")
    demo: DemoConfig = Field(default_factory=lambda: DemoConfig(), description="generated data, if data_source is demo")
    run: dict[str, Any] = Field(default_factory=dict, description="defaults of the run configuration")
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="sizes of a group's variant under this preset, as overrides by its name"
    )
    cascade: dict[str, Any] = Field(default_factory=dict, description="defaults of the cascade's configuration")


class PreprocessAudioData(AudioConfig):
    """The `data:` section of `configs/preprocess_ucf101_audio.yaml` (spec §4.1)."""

    raw_video_root: str = Field(description="folder of Class/*.avi")
    frames_root: str = Field(
        "data/ucf101/frames", description="JPEG tree; its frame counts give the length of the features"
    )
    audio_root: str = Field("data/ucf101/audio", description="folder the features are written to")


class PreprocessAudioConfig(Section):
    """The whole of `configs/preprocess_ucf101_audio.yaml`."""

    data: PreprocessAudioData
