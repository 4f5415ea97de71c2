"""Made-up devices and layers whose truth is known: a roofline with fixed efficiencies and a launch floor."""

from __future__ import annotations

import numpy as np
import pandas as pd

SPECS = {
    "small": (4e12, 2e11, 20, 60.0),
    "middle": (1e13, 6e11, 60, 250.0),
    "large": (3e13, 2e12, 120, 500.0),
    "new": (2e13, 1.2e12, 100, 350.0),
}


def device_frame(names: tuple[str, ...] = tuple(SPECS)) -> pd.DataFrame:
    """Specs of made-up devices."""
    rows = []
    for name in names:
        peak, bandwidth, units, power = SPECS[name]
        row = {
            "device": name,
            "vendor": "NVIDIA",
            "year": 2019,
            "peak_flops_fp32": peak,
            "peak_flops_fp32_vector": peak,
        }
        row |= {"peak_flops_fp16": 8 * peak, "peak_bw": bandwidth, "mem_gb": 16, "num_sm": units, "boost_mhz": 1400}
        rows.append({**row, "l2_mb": 6, "area_mm2": 7.5 * units, "tdp_w": power})
    return pd.DataFrame(rows)


def measured_frame(names: tuple[str, ...], rows: int, seed: int = 0) -> pd.DataFrame:
    """Random linear maps, norms and elementwise maps, timed by the made-up truth."""
    rng = np.random.default_rng(seed)
    specs = device_frame().set_index("device")
    parts = []
    for name in names:
        kind = rng.choice(["linear", "layernorm", "elementwise"], rows)
        size = {key: np.round(2 ** rng.uniform(4, 12, rows)) for key in ("B", "M", "K", "N", "H")}
        product = kind == "linear"
        size["B"] = np.where(product, np.ceil(size["B"] / 256), size["B"])
        flops = np.where(product, 2 * size["B"] * size["M"] * size["K"] * size["N"], size["B"] * size["H"])
        moved = 4 * np.where(
            product,
            size["B"] * size["M"] * (size["K"] + size["N"]) + size["K"] * size["N"],
            2 * size["B"] * size["H"],
        )
        spec = specs.loc[name]
        busy = np.maximum(flops / (0.7 * spec.peak_flops_fp32), moved / (0.8 * spec.peak_bw))
        latency = 1e3 * busy + 0.01
        frame = pd.DataFrame(
            {**size, "layer_type": kind, "op": kind, "latency_ms": latency, "flops": flops, "bytes": moved}
        )
        parts.append(frame.assign(device=name, precision=0, source="made_up"))
    return pd.concat(parts, ignore_index=True)
