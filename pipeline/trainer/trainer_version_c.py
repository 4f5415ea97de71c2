"""Network, chips, mapping and layout together: spec §13.2.

A run starts from a pruned network and makes as many training steps as any other run that starts there. The first
`outer · steps_theta` of them are step A of the alternation (`alternation`), priced on the design that is held:

    L = task + lambda_AST · L_AST + lambda_hw · L_hw(gates, design) + lambda_macs · (FLOPs over budget − 1)²

Then the gates are rounded within the budget, and the steps that are left train the network with its closed parts gone:
a closed gate passes exactly 0, so what it closes gets no gradient, and training it is training the compacted model.
Last the design is searched once more for the final gates, placed legally, and written with its rivals.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..artifacts import exclusive, write_parquet
from ..codesign.design import Design
from ..config import RunConfig
from ..data.ucf101 import make_loader
from ..errors import ConfigError
from ..hw_proxy.chip_library import LIBRARY_FILE, load_chip_library
from ..mapping.chip_slots import ChipSlotConfig
from ..progress import Progress, progress_writer
from .alternation import ROW_COLUMNS, AlternationState, Candidate, alternate
from .checkpoint import open_checkpoint, save_checkpoint
from .codesign_steps import CodesignSteps, figures_of
from .evaluation import evaluate, forward_batch, window_logits
from .final_design import FinalDesign, finish_design
from .gate_budget import budget_term, flops_budget, settle_within_budget, steady_coarse_gates
from .hardware_term import final_ratios, keep_ratios, segment_proxy, total_flops
from .metrics import Metric
from .pruned_run import GATES, MOST_PER_STEP, sparsity_history
from .run_results import Training, write_results
from .schedule import learning_rate_factor
from .training_run import Run, describe_run, epoch_line, set_up_run, task_loss
from .wafer_places import starting_layout
from .workload_segments import workload_segments

MODULE = "pipeline.trainer.trainer_version_c"


@dataclass
class VersionCState:
    """What changes while a run trains, apart from weights, optimiser and chips; `losses` are of the present epoch."""

    step: int = 0
    train_seconds: float = 0.0
    clips_seen: int = 0
    history: list[tuple[int, int, str, str, float]] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    settled: bool = False


class VersionCRun:
    """One run: the network's side of the alternation, and what a checkpoint holds."""

    def __init__(self, run: Run, proxy: Path | None) -> None:
        cfg = run.cfg
        library = load_chip_library()
        chip_types = library.select(sorted(set(filter(None, cfg.chips.fixed))) if cfg.chips.fixed else cfg.hw.library)
        slots = ChipSlotConfig(
            chip_types, cfg.chips.num_slots, cfg.chips.tau_init, seed=cfg.seed, init_std=cfg.chips.init_std
        )
        if cfg.chips.fixed is not None:
            slots.fix(cfg.chips.fixed)
        self.run, self.cfg = run, cfg
        self.codesign = CodesignSteps(
            cfg,
            library,
            segment_proxy(cfg, proxy),
            slots,
            starting_layout(cfg, chip_types),
            lambda: final_ratios(cfg, run.network),
            self.train,
        )
        self.budget = flops_budget(cfg, run.network)
        steady_coarse_gates(run.network)
        self.state = VersionCState()
        self.steps_per_epoch = len(make_loader(run.splits.train, 0, run.fabric.global_rank, run.fabric.world_size))
        self.total_steps = self.steps_per_epoch * cfg.epochs()
        self.alternating_steps = cfg.alternation.outer * cfg.alternation.steps_theta
        if self.alternating_steps > self.total_steps:
            raise ConfigError(
                f"alternation.outer={cfg.alternation.outer} times steps_theta={cfg.alternation.steps_theta} are more "
                f"than the {self.total_steps} training steps of {cfg.epochs()} epochs; lower either or train longer"
            )
        self._batches: Iterator[dict[str, Any]] | None = None
        self._report = progress_writer(run.out / "progress.json")
        self._began, self._first_step = time.perf_counter(), 0

    def train(self, held: Candidate | None) -> dict[str, float]:
        """One optimiser step; the hardware's part only with a design that prices it."""
        run, cfg, state = self.run, self.cfg, self.state
        began = time.perf_counter()
        # Dropout draws from torch's global generator: seeding it per step makes a resumed run equal.
        torch.manual_seed(hash((cfg.seed, state.step, run.fabric.global_rank)) % 2**63)
        run.model.train()
        batch = next(self._stream())
        self._set_learning_rates(held is not None)
        run.network.set_training_progress(state.step / self.total_steps)
        _, info = forward_batch(run.model, batch, run.fabric.device)
        labels = batch["label"].to(run.fabric.device)
        task = task_loss(info["branch_logits"], labels, cfg.training.label_smoothing)
        total = task + cfg.loss.lambda_AST * info["L_AST"]
        figures = {"task": task.item(), "L_AST": info["L_AST"].item()}
        if held is not None:
            priced, told = self._priced(info["gates"], held)
            total = total + priced
            figures |= told
        run.optimizer.zero_grad(set_to_none=True)
        run.fabric.backward(total)
        for branch in run.network.branches():
            nn.utils.clip_grad_norm_(branch.parameters(), cfg.training.grad_clip)
        run.optimizer.step()
        if not math.isfinite(figures["task"]):
            raise ConfigError(f"training.lr={cfg.training.lr}: the loss became {figures['task']}; lower it")
        state.step += 1
        state.clips_seen += len(labels)
        state.train_seconds += time.perf_counter() - began
        self._after_step(figures)
        return figures

    def _priced(self, gates: dict[str, torch.Tensor], held: Candidate) -> tuple[torch.Tensor, dict[str, float]]:
        """The hardware's part of the loss of a step of A, weighted, and its figures."""
        cfg = self.cfg
        keep = keep_ratios(gates, cfg.ast.prune_layers, cfg.model.depth)
        term, over = budget_term(cfg, keep, self.budget)
        if not cfg.hw.use_hw_loss:
            return term, {**self.codesign.price(held), "flops_over_budget": over, "term_macs": term.item()}
        loss, stats = self.codesign.loss(workload_segments(cfg.hw, keep), held)
        figures = {**figures_of(stats), "flops_over_budget": over, "term_macs": term.item()}
        return cfg.loss.lambda_hw * loss + term, figures

    def _stream(self) -> Iterator[dict[str, Any]]:
        """Batches from the present step on, epoch after epoch."""
        if self._batches is None:
            fabric = self.run.fabric
            epoch, done = divmod(self.state.step, self.steps_per_epoch)
            loaders = (
                make_loader(self.run.splits.train, number, fabric.global_rank, fabric.world_size)
                for number in itertools.count(epoch)
            )
            self._batches = itertools.islice(itertools.chain.from_iterable(loaders), done, None)
        return self._batches

    def _set_learning_rates(self, gates_learn: bool) -> None:
        """Weights follow the run's schedule; gates learn in A alone, ever slower."""
        training, step = self.cfg.training, self.state.step
        factor = learning_rate_factor(step, self.total_steps, training.warmup_steps, training.final_lr_ratio)
        share = 1.0 - step / self.alternating_steps
        fastest = min(MOST_PER_STEP, 2.0 * self.cfg.ast.gate_travel / self.alternating_steps)
        for group in self.run.optimizer.param_groups:
            gates = group["name"] == GATES
            group["lr"] = fastest * max(0.0, share) if gates else training.lr * factor
            if gates:
                for logit in group["params"]:
                    logit.requires_grad_(gates_learn)

    def _after_step(self, figures: dict[str, float]) -> None:
        run, cfg, state = self.run, self.cfg, self.state
        state.losses.append({name: figures[name] for name in ("task", "L_AST", "L_hw") if name in figures})
        epoch, inside = divmod(state.step, self.steps_per_epoch)
        if inside == 0:
            means = pd.DataFrame(state.losses).mean()
            names = {"task": Metric.TRAIN_LOSS, "L_AST": Metric.AST_LOSS, "L_hw": Metric.HW_LOSS}
            rows = {str(names[str(name)]): float(mean) for name, mean in means.items()}
            rows |= sparsity_history(run.network)
            state.history += [(epoch, state.step, "train", name, value) for name, value in rows.items()]
            state.losses = []
            last = epoch == cfg.epochs()
            if len(run.splits.val) and (last or epoch % cfg.training.eval_every_epochs == 0):
                self._validate(epoch)
            if run.fabric.is_global_zero:
                print(epoch_line(state.history, epoch, cfg.epochs()), flush=True)
        if run.fabric.is_global_zero:
            pace = (time.perf_counter() - self._began) / max(1, state.step - self._first_step)
            eta_s = round(pace * (self.total_steps - state.step), 1)
            stage = "alternate" if state.step <= self.alternating_steps and not state.settled else "fine-tune"
            task = figures["task"]
            self._report(Progress(cfg.experiment, stage, state.step, self.total_steps, "train_loss", task, eta_s))

    def _validate(self, epoch: int) -> None:
        run, state = self.run, self.state
        metrics, _ = evaluate(run.splits.val, window_logits(run.network, run.splits.val, run.fabric.device))
        for metric in (Metric.CLIP_TOP1, Metric.VIDEO_NLL, Metric.VIDEO_TOP1):
            state.history.append((epoch, state.step, "val", str(metric), metrics[metric]))

    def save(self, alternation: AlternationState) -> None:
        """Write the checkpoint."""
        if not self.run.fabric.is_global_zero:
            return
        held = None if alternation.held is None else asdict(alternation.held)
        saved = {
            "fingerprint": self.run.fingerprint,
            "network": self.run.network.state_dict(),
            "optimizer": self.run.optimizer.state_dict(),
            "state": vars(self.state),
            "codesign": self.codesign.state(),
            "alternation": {**vars(alternation), "held": held},
            "budget": self.budget,
        }
        save_checkpoint(self.run.out / "checkpoint", saved)

    def resume(self) -> AlternationState:
        """Go on from the checkpoint, if there is one of this run."""
        saved = open_checkpoint(self.run.out / "checkpoint", self.run.fingerprint)
        if saved is None:
            return AlternationState()
        self.run.network.load_state_dict(saved["network"])
        self.run.optimizer.load_state_dict(saved["optimizer"])
        self.state = VersionCState(**saved["state"])
        self.codesign.resume(saved["codesign"])
        self.budget, self._first_step = saved["budget"], self.state.step
        for epoch in range(1, self.state.step // self.steps_per_epoch + 1):
            print(epoch_line(self.state.history, epoch, self.cfg.epochs()))
        print(f"resumed after step {self.state.step}", flush=True)
        kept = saved["alternation"]
        held = None if kept["held"] is None else Candidate(**kept["held"])
        return AlternationState(kept["outer"], kept["solves"], held, kept["rows"])


def train_version_c(cfg: RunConfig, out: Path, init_from: Path | None = None, *, proxy: Path | None = None) -> None:
    """Alternate, fine-tune, finish the design and test: one run folder `out`.

    Beside what every run leaves, `design.json` is the finished design (`codesign.design`), `alternation.parquet` has
    every term of every step, and `rivals.parquet` what other designs cost with the same gates and budgets.

    Args:
        cfg: the resolved configuration, of mode multi_chip_fixed or version_c_full.
        out: the run folder.
        init_from: weights to start from, those of a pruned network of the same shape.
        proxy: folder of the fitted proxy: gives the final latency its interval, and prices all with hw.proxy=fitted.

    Raises:
        ConfigError: more steps of A than training steps, a chip or grid that cannot be.
        DataError: data or start weights are missing, or no design fits the budgets.
    """
    if cfg.epochs() == 0:
        raise ConfigError(f"training.num_epochs=0 leaves {cfg.training.mode} nothing to train; set it above 0")
    fitted = [] if proxy is None else [proxy / "proxy.json", *sorted(proxy.glob("*.safetensors"))]
    run = set_up_run(cfg, out, init_from, module=MODULE, inputs=[LIBRARY_FILE, *fitted])
    with exclusive(out / ".lock") if run.fabric.is_global_zero else contextlib.nullcontext():
        run.fabric.barrier()
        if run.fabric.is_global_zero:
            describe_run(run)
        version_c = VersionCRun(run, proxy)
        alternation = version_c.resume()
        held = alternate(version_c.codesign, cfg.alternation, alternation, version_c.save)
        _fine_tune(version_c, alternation)
        final = finish_design(cfg, version_c.codesign, held, proxy)
        if run.fabric.is_global_zero:
            _write(version_c, alternation, final)
        run.fabric.barrier()


def _fine_tune(version_c: VersionCRun, alternation: AlternationState) -> None:
    """Round the gates, then train on without the hardware's part; a checkpoint ends every epoch."""
    state = version_c.state
    if not state.settled:
        settle_within_budget(version_c.cfg, version_c.run.network, version_c.budget)
        state.settled = True
        version_c.save(alternation)
    while state.step < version_c.total_steps:
        version_c.train(None)
        if state.step % version_c.steps_per_epoch == 0:
            version_c.save(alternation)


def _write(version_c: VersionCRun, alternation: AlternationState, final: FinalDesign) -> None:
    run, state = version_c.run, version_c.state
    rows = [*alternation.rows, *final.rows]
    write_parquet(run.out / "alternation.parquet", pd.DataFrame(rows, columns=ROW_COLUMNS))
    write_parquet(run.out / "rivals.parquet", final.rivals)
    training = Training(state.history, state.train_seconds, state.clips_seen)
    over = total_flops(run.cfg, final_ratios(run.cfg, run.network)).item() / version_c.budget
    metrics = {**design_metrics(final), Metric.FLOPS_OVER_BUDGET: over}
    write_results(run, training, asdict(final.design), metrics)


def design_metrics(final: FinalDesign) -> dict[Metric, float]:
    """The design's figures as metrics of the run."""
    design: Design = final.design
    costs = design.costs
    return {
        Metric.PREDICTED_LATENCY: costs.latency_ms,
        Metric.PREDICTED_PERIOD: costs.period_ms,
        Metric.PREDICTED_ENERGY: costs.energy_j,
        Metric.ENERGY_DELAY_PRODUCT: costs.edp_j_ms,
        Metric.CHIP_AREA: costs.area_mm2,
        Metric.DESIGN_POWER: costs.tdp_w,
        Metric.CHIPS: float(costs.num_chips),
        Metric.WIRE_LENGTH: costs.wire_mb_mm,
        Metric.PEAK_TEMPERATURE: costs.t_peak_c,
        Metric.SOFT_HARD_GAP: final.soft_hard_gap,
    }
