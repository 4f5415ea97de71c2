"""An independent check of `design.json`: every cost again from the file and the chips' figures, in plain numpy.

Nothing of the evaluator, the mapping or the layout is imported: a mistake there must not hide here. Read are the
design, its JSON schema (`workflow/schemas/design.schema.json`) and the chip library as plain YAML.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..artifacts import read_json
from ..errors import DataError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "workflow" / "schemas" / "design.schema.json"
LIBRARY_FILE = ROOT / "configs" / "gpu_data.yaml"
TOLERANCE = 1e-5  # relative; figures of chips pass through single precision on their way
TOLERANCE_MM = 1e-6
IDLE_SHARE = 0.15


@dataclass(frozen=True)
class Finding:
    """One thing checked: what the file says, what was computed, and whether they agree."""

    what: str
    stated: float
    computed: float
    ok: bool


@dataclass(frozen=True)
class Verdict:
    """All findings about one design; `priced_anew` tells whether segment prices followed from kernels and chips."""

    findings: list[Finding]
    priced_anew: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.ok for finding in self.findings)

    @property
    def faults(self) -> list[Finding]:
        """What is wrong."""
        return [finding for finding in self.findings if not finding.ok]


def check_file(path: Path, *, schema: Path = SCHEMA_FILE, library: Path = LIBRARY_FILE) -> Verdict:
    """Check one `design.json`.

    Raises:
        DataError: the file does not follow its schema, names an unknown chip, or puts work on an empty slot.
    """
    design = read_json(path)
    _check_schema(design, schema, path)
    chips = _chips(design, library, path)
    slots = [segment["slot"] for segment in design["segments"]]
    for segment, slot in zip(design["segments"], slots, strict=True):
        if slot >= len(chips) or chips[slot] is None or design["positions_mm"][slot] is None:
            raise DataError(f"{path}: segment {segment['id']} is on slot {slot}, which holds no chip")
    findings, priced_anew = _prices(design, chips)
    findings += _costs(design, chips)
    findings += _limits(design, chips)
    findings += _layout(design, chips)
    return Verdict(findings, priced_anew)


def _check_schema(design: Any, schema: Path, path: Path) -> None:
    from jsonschema import Draft202012Validator

    faults = sorted(Draft202012Validator(read_json(schema)).iter_errors(design), key=lambda fault: list(fault.path))
    if faults:
        place = ".".join(str(part) for part in faults[0].path) or "the file"
        raise DataError(f"{path}: {place}: {faults[0].message}")


def _chips(design: dict[str, Any], library: Path, path: Path) -> list[dict[str, Any] | None]:
    known = {chip["name"]: chip for chip in yaml.safe_load(library.read_text())["chip_types"]}
    chips: list[dict[str, Any] | None] = []
    for slot, name in enumerate(design["chips"]):
        if name is not None and name not in known:
            raise DataError(f"{path}: slot {slot} holds '{name}', which is not in {library}")
        chips.append(None if name is None else {**known[name], "idle_w": _idle_w(known[name])})
    if len(design["positions_mm"]) != len(chips):
        raise DataError(f"{path}: {len(design['positions_mm'])} positions for {len(chips)} slots")
    return chips


def _idle_w(chip: dict[str, Any]) -> float:
    return float(chip.get("idle_w", IDLE_SHARE * float(chip["tdp_w"])))


def _finding(what: str, stated: int | float, computed: int | float) -> Finding:
    close = math.isclose(stated, computed, rel_tol=TOLERANCE, abs_tol=1e-9)
    return Finding(what, float(stated), float(computed), close)


def _prices(design: dict[str, Any], chips: list[dict[str, Any] | None]) -> tuple[list[Finding], bool]:
    """Latency and power of every segment on its chip, from its kernels."""
    pricing = design["pricing"]
    if pricing["model"] != "roofline":
        return [], False
    findings = []
    for segment in design["segments"]:
        chip = chips[segment["slot"]] or {}
        latency_ms, energy = 0.0, 0.0
        for kernel in segment["kernels"]:
            once_ms, power_w = _launch(kernel, chip, pricing)
            latency_ms += kernel["launches"] * once_ms
            energy += kernel["launches"] * once_ms * power_w
        power_w = energy / latency_ms if latency_ms > 0.0 else chip["idle_w"]
        findings.append(_finding(f"segment {segment['id']}: latency_ms", segment["latency_ms"], latency_ms))
        findings.append(_finding(f"segment {segment['id']}: power_w", segment["power_w"], power_w))
    return findings, True


def _launch(kernel: dict[str, Any], chip: dict[str, Any], pricing: dict[str, Any]) -> tuple[float, float]:
    peak = float(chip["peak_flops"])
    if kernel["precision"] == "fp32":
        peak = float(chip.get("peak_flops_fp32") or peak)
    use = pricing["efficiency"].get(kernel["kind"], 0.0)
    compute_ms = 1e3 * kernel["flops"] / (use * (peak + pricing["least_flops"])) if use > 0.0 else 0.0
    bandwidth = pricing["bandwidth_efficiency"] * (float(chip["peak_bw"]) + pricing["least_bytes_per_s"])
    memory_ms = 1e3 * kernel["bytes"] / bandwidth
    once_ms = max(compute_ms, memory_ms) + pricing["launch_ms"]
    share = pricing["attention_power"] if kernel["kind"] == "sdpa" else 1.0
    drawn = pricing["compute_power"] * share * compute_ms / once_ms + pricing["memory_power"] * memory_ms / once_ms
    return once_ms, chip["idle_w"] + (float(chip["tdp_w"]) - chip["idle_w"]) * min(drawn, 1.0)


def _hops(design: dict[str, Any]) -> np.ndarray:
    """Whole hops between slots; empty slots have none."""
    number = len(design["chips"])
    hops = np.zeros((number, number))
    for a, at in enumerate(design["positions_mm"]):
        for b, to in enumerate(design["positions_mm"]):
            if a != b and at is not None and to is not None:
                apart_mm = abs(at[0] - to[0]) + abs(at[1] - to[1])
                hops[a, b] = max(1.0, math.ceil(apart_mm / design["link"]["reach_mm"] - 1e-9))
    return hops


def _stages(segments: list[dict[str, Any]]) -> list[list[int]]:
    stages: list[list[int]] = []
    for position, segment in enumerate(segments):
        same = position and segment["parent_id"] is not None
        if same and segment["parent_id"] == segments[position - 1]["parent_id"]:
            stages[-1].append(position)
        else:
            stages.append([position])
    return stages


def _transfers(design: dict[str, Any]) -> list[tuple[int, str, int, int, float, float]]:
    """Every transfer: stage, kind, from slot, to slot, MB, and how many such steps follow each other."""
    segments, hops = design["segments"], _hops(design)
    stages = _stages(segments)
    found: list[tuple[int, str, int, int, float, float]] = []
    for number, stage in enumerate(stages):
        output_mb = segments[stage[0]]["output_bytes"] / 1e6
        parts = len(stage)
        if parts > 1:
            steps = 2 * (parts - 1) * max(1, len(segments[stage[0]]["layers"]))
            for a, b in zip(stage, stage[1:] + stage[:1], strict=True):
                found.append((number, "ring", segments[a]["slot"], segments[b]["slot"], output_mb / parts, steps))
        for reader in stages[number + 1] if number + 1 < len(stages) else []:
            to = segments[reader]["slot"]
            holder = min((segments[a]["slot"] for a in stage), key=lambda slot: hops[slot, to])
            found.append((number, "send", holder, to, output_mb, 1.0))
    return found


def _costs(design: dict[str, Any], chips: list[dict[str, Any] | None]) -> list[Finding]:
    segments, hops, link = design["segments"], _hops(design), design["link"]
    compute_ms, send_ms, sent_mb_hops = np.zeros(len(chips)), np.zeros(len(chips)), 0.0
    stages = _stages(segments)
    for segment in segments:
        compute_ms[segment["slot"]] += segment["latency_ms"]
    serial_ms = sum(max(segments[k]["latency_ms"] for k in stage) for stage in stages)
    rings, sends = np.zeros(len(stages)), np.zeros((len(stages), len(chips)))
    for stage, kind, a, b, moved_mb, steps in _transfers(design):
        spent_ms = steps * hops[a, b] * (link["hop_ms"] + moved_mb / link["gb_s"])
        send_ms[a] += spent_ms
        sent_mb_hops += steps * hops[a, b] * moved_mb
        if kind == "ring":
            rings[stage] = max(rings[stage], spent_ms)
        else:
            sends[stage, a] += spent_ms
    serial_ms += rings.sum() + sends.max(axis=1).sum()
    period_ms = float((compute_ms + send_ms).max())
    latency_ms = period_ms if design["objective"] == "balanced" else float(serial_ms)
    dynamic_j = sum(
        segment["latency_ms"] * max(segment["power_w"] - (chips[segment["slot"]] or {})["idle_w"], 0.0) / 1e3
        for segment in segments
    )
    link_j = sent_mb_hops * 1e6 * 8 * link["pj_per_bit"] * 1e-12
    idle_j = sum(chip["idle_w"] for chip in chips if chip) * latency_ms / 1e3
    computed = {
        "latency_ms": latency_ms,
        "period_ms": period_ms,
        "serial_ms": float(serial_ms),
        "comm_ms": float(send_ms.sum()),
        "energy_j": dynamic_j + link_j + idle_j,
        "energy_dynamic_j": dynamic_j,
        "energy_link_j": link_j,
        "energy_idle_j": idle_j,
        "edp_j_ms": (dynamic_j + link_j + idle_j) * latency_ms,
        "peak_mem_mb": float(_used_mb(design).max()),
        "area_mm2": sum(float(chip["area_mm2"]) for chip in chips if chip),
        "tdp_w": sum(float(chip["tdp_w"]) for chip in chips if chip),
        "num_chips": float(sum(chip is not None for chip in chips)),
    }
    return [_finding(f"costs.{name}", design["costs"][name], value) for name, value in computed.items()]


def _used_mb(design: dict[str, Any]) -> np.ndarray:
    weights, held = np.zeros(len(design["chips"])), np.zeros(len(design["chips"]))
    for segment in design["segments"]:
        weights[segment["slot"]] += segment["weight_bytes"] / 1e6
        held[segment["slot"]] = max(held[segment["slot"]], segment["resident_bytes"] / 1e6)
    return weights + held


def _limits(design: dict[str, Any], chips: list[dict[str, Any] | None]) -> list[Finding]:
    """Memory of every slot, area and power of all: `stated` is the limit."""
    findings = []
    budgets, used_mb = design["budgets"], _used_mb(design)
    for slot, chip in enumerate(chips):
        if chip is not None:
            room_mb = 1e3 * float(chip["mem_gb"]) * budgets["usable_memory_share"]
            findings.append(_limit(f"slot {slot} ({chip['name']}): memory_mb within", room_mb, float(used_mb[slot])))
    for key in ("area_mm2", "tdp_w"):
        total = sum(float(chip[key]) for chip in chips if chip)
        findings.append(_limit(f"budgets.{key} kept", budgets[key], total))
    return findings


def _limit(what: str, limit: int | float, value: int | float) -> Finding:
    return Finding(what, float(limit), float(value), value <= limit * (1 + 1e-9))


def _layout(design: dict[str, Any], chips: list[dict[str, Any] | None]) -> list[Finding]:
    full = [(slot, chip) for slot, chip in enumerate(chips) if chip]
    centre = np.array([design["positions_mm"][slot] for slot, _ in full], dtype=float)
    side = np.array([[float(chip["width_mm"]), float(chip["height_mm"])] for _, chip in full])
    region, heat = design["region"], design["heat"]
    far = np.abs(centre) + side / 2
    if region["kind"] == "circle":
        outside_mm = np.hypot(far[:, 0], far[:, 1]) - region["half_x_mm"]
    else:
        outside_mm = (far - [region["half_x_mm"], region["half_y_mm"]]).max(axis=1)
    closest_mm = math.inf
    for a in range(len(full)):
        for b in range(a):
            clear = np.abs(centre[a] - centre[b]) - (side[a] + side[b]) / 2
            closest_mm = min(closest_mm, float(clear.max()))
    inside, apart = float(outside_mm.max()) <= TOLERANCE_MM, closest_mm >= region["gap_mm"] - TOLERANCE_MM
    wire = 0.0
    for _, _, a, b, moved_mb, steps in _transfers(design):
        at, to = design["positions_mm"][a], design["positions_mm"][b]
        wire += steps * moved_mb * (abs(at[0] - to[0]) + abs(at[1] - to[1]))
    power = np.array([float(chip["tdp_w"]) for _, chip in full])
    distance = np.sqrt(((centre[:, None] - centre[None]) ** 2).sum(-1))
    others = np.exp(-distance / heat["ell_mm"]) * (1 - np.eye(len(full)))
    warm = heat["t_amb_c"] + heat["r_self"] * power / np.sqrt(side.prod(1)) + heat["r_mut"] * others @ power
    return [
        Finding("layout: farthest corner outside the region, mm", 0.0, float(outside_mm.max()), inside),
        Finding("layout: closest two chips, mm, at least the gap", region["gap_mm"], closest_mm, apart),
        Finding("costs.legal", float(design["costs"]["legal"]), float(inside and apart), inside and apart),
        _finding("costs.wire_mb_mm", design["costs"]["wire_mb_mm"], wire),
        _finding("costs.t_peak_c", design["costs"]["t_peak_c"], float(warm.max())),
    ]


def check_files(paths: list[Path], *, schema: Path = SCHEMA_FILE, library: Path = LIBRARY_FILE) -> None:
    """Check designs one after the other, a line each.

    Raises:
        DataError: at least one is wrong; the message lists what.
    """
    wrong = []
    for path in paths:
        verdict = check_file(path, schema=schema, library=library)
        how = "prices from kernels" if verdict.priced_anew else "prices as given"
        state = "right" if verdict.ok else f"{len(verdict.faults)} wrong"
        print(f"{path}: {state} ({len(verdict.findings)} checks, {how})")
        wrong += [f"{path}: {json.dumps(fault.__dict__)}" for fault in verdict.faults]
    if wrong:
        raise DataError("the design does not hold:\n  " + "\n  ".join(wrong))
