"""Designs run on this machine, in turns, so that whatever else it does disturbs all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from ..config.hardware import WorkloadConfig
from .workload import KeepRatios, keep_everything
from .workload_network import workload_network

WARM_UPS = 2
RESAMPLES = 2000


def measure_designs(
    designs: Mapping[str, KeepRatios], workload: WorkloadConfig, *, threads: int = 1, repeats: int = 20
) -> pd.DataFrame:
    """Latency of each design and of the dense network, from runs taken in turns.

    Returns:
        one row per design: `run`, `measured_ms` (median), `measured_iqr_ms`, `dense_ms`, `ratio` (median of design
        over dense in the same round), and its 95 % bounds `ratio_low`, `ratio_high` (bootstrap over rounds).
    """
    seconds = time_in_turns({"": keep_everything(), **designs}, workload, threads=threads, repeats=repeats)
    dense = seconds[""]
    rows = []
    for name in designs:
        low, middle, high = ratio_bounds(seconds[name], dense)
        quarter, median, three_quarters = np.quantile(1e3 * seconds[name], [0.25, 0.5, 0.75])
        rows.append(
            {
                "run": name,
                "threads": threads,
                "measured_ms": median,
                "measured_iqr_ms": three_quarters - quarter,
                "dense_ms": 1e3 * float(np.median(dense)),
                "ratio": middle,
                "ratio_low": low,
                "ratio_high": high,
            }
        )
    return pd.DataFrame(rows)


def time_in_turns(
    designs: Mapping[str, KeepRatios], workload: WorkloadConfig, *, threads: int = 1, repeats: int = 20
) -> dict[str, Float[np.ndarray, " R"]]:
    """Seconds of every round of each design; designs take turns, after two rounds that do not count."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    try:
        with torch.inference_mode():
            networks = {name: workload_network(workload, keep, cpu) for name, keep in designs.items()}
            seconds: dict[str, list[float]] = {name: [] for name in networks}
            for _ in range(WARM_UPS + repeats):
                for name, network in networks.items():
                    began = time.perf_counter()
                    network()
                    seconds[name].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return {name: np.array(values[WARM_UPS:]) for name, values in seconds.items()}


def ratio_bounds(
    seconds: Float[np.ndarray, " R"], others: Float[np.ndarray, " R"], seed: int = 0
) -> tuple[float, float, float]:
    """The median of paired ratios and its 95 % bounds: (low, median, high), by resampling rounds."""
    ratios = seconds / others
    chosen = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[chosen], axis=1), [0.025, 0.975])
    return float(low), float(np.median(ratios)), float(high)
