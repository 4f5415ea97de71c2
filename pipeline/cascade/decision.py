"""EXP-C2-decide: which simple model goes first, by a written rule, and whether a cascade is worthwhile at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts import read_parquet, sha256_of_file, write_json, write_parquet
from ..config.cascade import CascadeConfig, CascadeDecisionConfig
from ..progress import Progress, progress_writer
from ..trainer.metrics import Metric
from .analysis import best_electrode, patients_in
from .analysis_difficulty import coverage_at_risk, risk_coverage
from .decision_candidates import candidate_costs, electrode_data, validation_answers
from .metric_table import POOLED, Row, metric_table
from .window_scores import auc

KEYS = ["candidate", "seed"]
RULE = (
    "Among the candidates whose mean validation AUC is within {auc_margin:g} of the best and whose coverage at a risk "
    "of {target_risk:g} is within {coverage_margin:g} of the best, take the one with the fewest multiplications, then "
    "the fewest parameters. If it covers less than {min_coverage:.0%} of the windows at that risk, a cascade is not "
    "worthwhile."
)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate, the scored table with a reason for each one passed over, and the verdict."""

    simple_model: str
    worthwhile: bool
    statement: str
    candidates: pd.DataFrame


def choose(candidates: pd.DataFrame, rule: CascadeDecisionConfig) -> Choice:
    """Apply the rule.

    Args:
        candidates: columns candidate, macs, parameters, auc, coverage.
        rule: the margins, the target risk and the least coverage.

    Returns:
        The choice; its table has `eligible` and `reason` added and is sorted by cost. If no candidate is near the
        best in both AUC and coverage, the most accurate one is taken.
    """
    table = candidates.sort_values(["macs", "parameters"], ignore_index=True)
    lost_auc = table["auc"].max() - table["auc"]
    lost_coverage = table["coverage"].max() - table["coverage"]
    # Floating-point dust must not turn a tie at the margin into a refusal.
    near_auc = lost_auc <= rule.auc_margin + 1e-12
    near_coverage = lost_coverage <= rule.coverage_margin + 1e-12
    table["eligible"] = near_auc & near_coverage
    if not table["eligible"].any():
        table["eligible"] = table["auc"] == table["auc"].max()
    chosen = table.iloc[int(table["eligible"].to_numpy().argmax())]
    table["reason"] = [
        _reason(row, chosen, bool(near), bool(covered))
        for row, near, covered in zip(table.to_dict("records"), near_auc, near_coverage, strict=True)
    ]
    worthwhile = bool(chosen["coverage"] >= rule.min_coverage)
    return Choice(str(chosen["candidate"]), worthwhile, _statement(chosen, worthwhile, rule), table)


def decide(cfg: CascadeConfig, analysis: Path, out: Path) -> None:
    """Train all candidates on each patient's most separable electrode, apply the rule, write `decision.json`.

    Args:
        cfg: the resolved configuration.
        analysis: EXP-C1-analysis of the same seed: holds `tables/separability.parquet`.
        out: the run folder; gets `decision.json`, `candidates.parquet`, `risk_coverage.parquet`, `metrics.parquet`.

    Raises:
        DataError: the data folder or the analysis is incomplete.
    """
    import torch

    torch.set_num_threads(cfg.training.threads)
    separability = read_parquet(analysis / "tables" / "separability.parquet", ("patient", "channel", "rank"))
    data = [electrode_data(cfg, name, best_electrode(separability, name)) for name in patients_in(cfg)]
    write = progress_writer(out / "progress.json")
    answers = validation_answers(
        cfg, data, lambda done, total: write(Progress(cfg.experiment, "candidates", done, total))
    )
    choice = choose(summary(answers, cfg), cfg.decision)
    electrodes = {own.patient: own.electrode for own in data}
    write_parquet(out / "candidates.parquet", choice.candidates)
    write_parquet(out / "risk_coverage.parquet", curves(answers))
    write_parquet(out / "metrics.parquet", metric_table(cfg, POOLED, _metrics(choice)))
    write_json(out / "decision.json", _document(cfg, choice, answers, electrodes))
    print(choice.statement, flush=True)


def summary(answers: pd.DataFrame, cfg: CascadeConfig) -> pd.DataFrame:
    """One row per candidate: cost, mean and spread over seeds of the AUC (mean over patients) and of the coverage at
    the target risk (all patients' windows together, one threshold)."""
    costs = {row["candidate"]: row for row in candidate_costs(cfg).to_dict("records")}
    rows = []
    for candidate, own in answers.groupby("candidate", sort=False):
        by_seed = [_scores(seed_answers, cfg.decision.target_risk) for _, seed_answers in own.groupby("seed")]
        values = np.array(by_seed)
        means, spreads = values.mean(0), values.std(0)
        rows.append(
            {
                **costs[candidate],
                "auc": float(means[0]),
                "auc_std": float(spreads[0]),
                "coverage": float(means[1]),
                "coverage_std": float(spreads[1]),
                "seeds": len(values),
            }
        )
    return pd.DataFrame(rows)


def curves(answers: pd.DataFrame) -> pd.DataFrame:
    """Risk against coverage of each candidate and seed, all patients together."""
    parts = [
        risk_coverage(own["margin"].abs().to_numpy(), _right(own)).assign(candidate=str(candidate), seed=seed)
        for candidate, of_candidate in answers.groupby("candidate", sort=False)
        for seed, own in of_candidate.groupby("seed", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def _scores(answers: pd.DataFrame, risk: float) -> tuple[float, float]:
    by_patient = [auc(own["margin"].to_numpy(), own["label"].to_numpy()) for _, own in answers.groupby("patient")]
    return float(np.mean(by_patient)), coverage_at_risk(answers["margin"].abs().to_numpy(), _right(answers), risk)


def _right(answers: pd.DataFrame) -> np.ndarray:
    return ((answers["margin"] > 0) == (answers["label"] == 1)).to_numpy()


def _reason(row: dict[Any, Any], chosen: pd.Series, near_auc: bool, near_coverage: bool) -> str:
    if row["candidate"] == chosen["candidate"]:
        return "chosen"
    if not near_auc:
        return "AUC too far below the best"
    if not near_coverage:
        return "coverage too far below the best"
    return "dearer than the chosen one"


def _statement(chosen: pd.Series, worthwhile: bool, rule: CascadeDecisionConfig) -> str:
    facts = (
        f"simple model {chosen['candidate']}: validation AUC {chosen['auc']:.4f}, covers {chosen['coverage']:.1%} of "
        f"the windows at a risk of {rule.target_risk:g}, {int(chosen['macs']):,} multiplications a window"
    )
    if worthwhile:
        return f"cascade worthwhile; {facts}"
    return f"cascade not worthwhile: less than {rule.min_coverage:.0%} of the windows could stay with it; {facts}"


def _document(cfg: CascadeConfig, choice: Choice, answers: pd.DataFrame, electrodes: dict[str, int]) -> dict[str, Any]:
    chosen = answers[answers["candidate"] == choice.simple_model]
    patients = {}
    for patient, own in chosen.groupby("patient", sort=False):
        scores = np.array([_scores(seed_own, cfg.decision.target_risk) for _, seed_own in own.groupby("seed")]).mean(0)
        patients[str(patient)] = {
            "simple_model": choice.simple_model,
            "electrode": electrodes[str(patient)],
            "auc": float(scores[0]),
            "coverage": float(scores[1]),
            "worthwhile": bool(scores[1] >= cfg.decision.min_coverage),
        }
    return {
        "simple_model": choice.simple_model,
        "worthwhile": choice.worthwhile,
        "statement": choice.statement,
        "rule": RULE.format(**cfg.decision.model_dump()),
        "candidates": choice.candidates.to_dict("records"),
        "patients": patients,
        "seeds": cfg.decision.seeds,
        "seed": cfg.seed,
        "validation_windows": int(len(answers) / max(1, answers.groupby(KEYS).ngroups)),
        "index_sha256": sha256_of_file(Path(cfg.data.root) / "index.parquet"),
    }


def _metrics(choice: Choice) -> list[Row]:
    rows: list[Row] = []
    for row in choice.candidates.to_dict("records"):
        arm = f"simple_{row['candidate']}"
        rows += [
            (arm, "val", Metric.AUC, row["auc"]),
            (arm, "val", Metric.COVERAGE_AT_RISK, row["coverage"]),
            (arm, "val", Metric.MACS_PER_WINDOW, float(row["macs"])),
            (arm, "val", Metric.PARAMETERS, float(row["parameters"])),
        ]
    rows.append(("decision", "val", Metric.WORTHWHILE, float(choice.worthwhile)))
    return rows
