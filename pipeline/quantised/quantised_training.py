"""EXP-C4-qat: one patient's trained cascade put on integer grids, trained there, calibrated again, and converted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..artifacts import exclusive, read_json
from ..cascade.cascade_models import SeizureCascade, threshold_of
from ..cascade.cascade_training import DATA_TABLES, open_splits, validator
from ..cascade.decision_bias import best_offset
from ..cascade.predictions import Forward, logits_of, verdicts_of
from ..cascade.risk_control import Calibration, calibrate
from ..cascade.sampling import epoch_batches
from ..cascade.training_loop import Job, TrainingState, run_stages
from ..config.cascade import CascadeConfig
from ..data.ieeg_windows import IeegWindows, windowed_patients
from ..errors import DataError
from ..trainer.checkpoint import mark_finished, run_fingerprint
from .answers import Answers, answers_of, mismatches, predictions, scaled_logits
from .conversion import build_integer_model, integer_routing
from .integer_model import IntegerModel
from .qat import QuantisedCascade, quantise_cascade
from .qat_stage import quantised_stage
from .quantised_result import QuantisedResult, write_result

MODULE = "pipeline.quantised.quantised_training"


def quantise_patients(cfg: CascadeConfig, out: Path, stages: Path, patient: str | None = None) -> None:
    """`quantise_patient` for one patient, or for all of the data folder, each into its own folder under `out`.

    Args:
        cfg: the resolved configuration.
        out: the run folder.
        stages: EXP-C3-stages of the same seed, with a folder per patient.
        patient: only this one.
    """
    for name in [patient] if patient else windowed_patients(cfg.data.root):
        quantise_patient(cfg, name, stages / name, out / name)


def quantise_patient(cfg: CascadeConfig, patient: str, stages: Path, out: Path) -> None:
    """Quantise, train on integer grids, calibrate tau on the integer logits, and write the integer model.

    Raises:
        ConfigError: training diverged.
        DataError: an input is missing or of another run, or a net has no integer form.
        RuntimeError: the integer model does not say what the trained one says; a fault of this program.
    """
    manifest = read_json(stages / "cascade.json")
    splits, device = open_splits(cfg, patient)
    trained = load_trained(cfg, stages, manifest, splits["train"])
    cascade = quantise_cascade(trained, cfg.quantisation.widths, scale_windows(cfg, splits["train"]))
    with exclusive(out / ".lock"):
        state = _train(cfg, patient, cascade.to(device), trained, splits, device, stages, out)
        exact = cascade.cpu().double().eval()
        _centre(exact, splits["val"])
        model = build_integer_model(exact, patient, cfg.data.sample_rate_hz)
        answers = {name: answers_of(exact, model, windows) for name, windows in splits.items()}
        chosen = _calibrate(cfg, model, splits["calibration"], answers["calibration"])
        model = replace(model, routing=integer_routing(model.simple.logits, chosen.margin))
        exact.margin.fill_(chosen.margin)
        wrong = sum(mismatches(model, own, chosen.margin) for own in answers.values())
        result = QuantisedResult(exact, model, chosen, answers, splits, wrong)
        if wrong:
            raise RuntimeError(f"{patient}: integer model and quantised nets disagree on {wrong} windows")
        write_result(cfg, patient, result, state, stages, out)
        mark_finished(out / "checkpoint")


def load_trained(cfg: CascadeConfig, stages: Path, manifest: dict[str, Any], windows: IeegWindows) -> SeizureCascade:
    """The cascade of EXP-C3-stages, in evaluation mode.

    Raises:
        DataError: its weights are missing, damaged, or of another cascade than its manifest says.
    """
    if manifest["live_electrodes"] != 1:
        raise DataError(
            f"{stages}: {manifest['live_electrodes']} electrodes stay live (model.content=run_time); hardware reads "
            "one, so train with model.content=annealed"
        )
    mask = torch.from_numpy(windows.channel_mask[: windows.n_channels])
    cascade = SeizureCascade(manifest["simple_model"], mask, sample_rate_hz=cfg.data.sample_rate_hz)
    path = stages / "model.safetensors"
    if not path.is_file():
        raise DataError(f"{path}: no such file; make EXP-C3-stages")
    try:
        cascade.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise DataError(
            f"{path}: not the cascade that its manifest names ({error}); make EXP-C3-stages again"
        ) from error
    return cascade.eval()


def load_quantised(cfg: CascadeConfig, patient: str, stages: Path, out: Path) -> QuantisedCascade:
    """The quantised nets of a finished run in float64: what every back end is compared with.

    Args:
        cfg: the resolved configuration of the run.
        patient: its patient.
        stages: run folder of the patient in EXP-C3-stages, same seed.
        out: run folder of the patient.

    Raises:
        DataError: an input is missing, damaged or of another run.
    """
    manifest = read_json(out / "quantised.json")
    windows = IeegWindows(cfg.data.root, patient, "train")
    trained = load_trained(cfg, stages, read_json(stages / "cascade.json"), windows)
    cascade = quantise_cascade(trained, cfg.quantisation.widths, scale_windows(cfg, windows)).double()
    try:
        cascade.load_state_dict(load_file(out / "model.safetensors"))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DataError(f"{out}/model.safetensors: not this run's ({error}); make EXP-C4-qat again") from error
    margin = manifest["margin"]
    cascade.eval()
    cascade.margin.fill_(float("inf") if margin is None else margin)
    return cascade


def scale_windows(cfg: CascadeConfig, windows: IeegWindows) -> torch.Tensor:
    """The first training windows of an epoch's draw, both classes among them: [N, C, T]."""
    training = cfg.training
    batches = epoch_batches(windows.labels, training.batch_size, training.interictal_per_ictal, (cfg.seed, 0, 0))
    chosen = np.sort(np.concatenate(batches)[: cfg.quantisation.scale_windows])
    return torch.from_numpy(windows.read(chosen))


def _train(
    cfg: CascadeConfig,
    patient: str,
    cascade: QuantisedCascade,
    trained: SeizureCascade,
    splits: dict[str, IeegWindows],
    device: torch.device,
    stages: Path,
    out: Path,
) -> TrainingState:
    tables = [Path(cfg.data.root) / name for name in DATA_TABLES]
    inputs = [*tables, stages / "model.safetensors", stages / "cascade.json"]
    stage = quantised_stage(cascade, trained.simple.variant, cfg.training, cfg.quantisation)
    forwards = {"electrode": cascade.simple_logits, "complex": cascade.complex_logits}
    validate = validator(cascade, forwards, splits["val"], device)
    print(f"{cfg.experiment} seed {cfg.seed} patient {patient}: {cfg.quantisation.widths}; {device}", flush=True)
    identity = run_fingerprint(cfg, MODULE, inputs) + patient
    title = f"{cfg.experiment}/{patient}"
    return run_stages(Job(cfg, title, cascade, [stage], splits["train"], validate, device, out, identity))


@torch.no_grad()
def _centre(cascade: QuantisedCascade, val: IeegWindows) -> None:
    """Move each classifier's bias so that zero is the best threshold on validation, as in EXP-C3-stages."""
    for network, forward in ((cascade.simple, cascade.simple_logits), (cascade.complex, cascade.complex_logits)):
        logits = logits_of(_in_float64(forward), val, torch.device("cpu"))
        offset = best_offset(logits[:, 1] - logits[:, 0], val.labels)
        network.classifier_bias.add_(torch.tensor([offset / 2, -offset / 2], dtype=torch.float64))


def _in_float64(forward: Forward) -> Forward:
    def exact(signal: Float[Tensor, "B C T"]) -> Float[Tensor, "B 2"]:
        return forward(signal.double())

    return exact


def _calibrate(cfg: CascadeConfig, model: IntegerModel, windows: IeegWindows, answers: Answers) -> Calibration:
    limits = cfg.evaluation
    simple, complex_ = scaled_logits(model, answers)
    table = predictions(windows, simple, complex_, np.ones(len(simple), dtype=bool))
    chosen = calibrate(
        verdicts_of(table), limits.max_risk, limits.max_ictal_risk, limits.risk_level, call_budget=limits.call_budget
    )
    print(f"margin {chosen.margin:g} (tau {threshold_of(chosen.margin):.4f}); {chosen.reason}", flush=True)
    return chosen
