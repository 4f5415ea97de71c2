"""Every bar of the co-design loop, from the evaluator and the searches alone where that is possible.

Run: python -m benchmarks.version_c --json OUT [--preset bench]

Figures about trained networks are read from results/<preset>; what has not been run yet is named and left out. The
setting (workload, chip library, budgets) was chosen so that a mix of chips pays at all; the control library, where none
does, stands beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.codesign_setting import (
    PROXY,
    Instance,
    descend_types,
    joint_gates,
    keep,
    library,
    loss_cfg,
    random_designs,
    random_instance,
    segments_of,
)
from benchmarks.figures import Figure, interleaved_median_s, report
from benchmarks.version_c_runs import trained_figures
from pipeline.codesign.check_design import check_file
from pipeline.codesign.chip_slots import ChipSlotConfig
from pipeline.codesign.design import Design, write_design
from pipeline.codesign.harden import make_design
from pipeline.codesign.hw_loss_version_c import compute_hw_loss
from pipeline.codesign.type_search import (
    Judge,
    best_homogeneous,
    chip_sets,
    exact_type_search,
    mapped_designs,
    polish,
)
from pipeline.config.hardware import HwConfig
from pipeline.garbage_collection import collect_rarely
from pipeline.hw_proxy.workload import KeepRatios
from pipeline.layout.instance import Region
from pipeline.layout.start import grid_centres
from pipeline.layout.wafer_layout import LayoutSettings, WaferLayout
from pipeline.mapping.mapping_solver import MappingSolver
from pipeline.trainer.workload_segments import workload_segments

SLOTS, PITCH_MM, GAP_MM = 16, 32.0, 0.5
WAFER = Region("circle", 150.0, 150.0)
INSTANCES = 20
FOUR = ["big_core"] * 4
MIX = ("d1", "a100", "l4", "l4", "l4")
GATE_TARGETS, TASK_WEIGHT, TARGET_SPREAD = 4, 0.5, 0.12


def percent(new: float, old: float) -> float:
    """How much lower, per cent."""
    return 100.0 * (1.0 - new / old)


def gradient_figures() -> list[Figure]:
    """Worst error of a gradient against central differences, over the largest of its kind, and the least of those."""
    layout = WaferLayout(SLOTS, WAFER, LayoutSettings(grid_pitch_mm=PITCH_MM, gap_mm=GAP_MM)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layout.pos.add_(3.0 * torch.randn(layout.pos.shape, generator=generator, dtype=torch.float64))
    slots = ChipSlotConfig(library(), SLOTS, seed=1).double().eval()
    cfg = loss_cfg(lambda_mem=0.1, optimize_layout=True)
    names = ("tokens", "heads", "channels", "attention", "mlp")
    gates = {name: 0.6 + 0.35 * torch.rand(12, generator=generator, dtype=torch.float64) for name in names}
    with torch.no_grad():
        _, first = compute_hw_loss(segments_of(KeepRatios(**gates)), slots, PROXY, MappingSolver(SLOTS), layout, cfg)
    leaves: dict[str, Tensor] = {**gates, "chip logits": slots.logits, "positions": layout.pos}

    def loss() -> Tensor:
        value, _ = compute_hw_loss(
            segments_of(KeepRatios(**gates)),
            slots,
            PROXY,
            MappingSolver(SLOTS),
            layout,
            cfg,
            mapping_result=first["mapping_result"],
            reference=first["reference"],
        )
        return value

    for leaf in leaves.values():
        leaf.requires_grad_(True)
    exact = dict(zip(leaves, torch.autograd.grad(loss(), list(leaves.values())), strict=True))
    worst, least = 0.0, math.inf
    for name, leaf in leaves.items():
        found = _central_differences(loss, leaf)
        largest = float(found.abs().max())
        error = float((exact[name].reshape(-1) - found).abs().max()) / max(largest, 1e-300)
        print(f"gradient of L_hw to {name}: largest {largest:.3g}, error {100 * error:.2g} % of it")
        worst, least = max(worst, error), min(least, largest)
    return [
        Figure("gradients against central differences, worst", 100 * worst, "%", 1.0, "lower"),
        Figure("smallest of the largest gradients of a kind", least, "", 1e-6, "higher"),
    ]


@torch.no_grad()
def _central_differences(loss: Any, leaf: Tensor, step: float = 1e-5) -> Tensor:
    flat = leaf.view(-1)
    found = torch.zeros_like(flat)
    for place in range(len(flat)):
        before = float(flat[place])
        values = []
        for moved in (before + step, before - step):
            flat[place] = moved
            values.append(float(loss()))
        flat[place] = before
        found[place] = (values[0] - values[1]) / (2 * step)
    return found


def random_instance_figures() -> list[Figure]:
    """The loop's design against every set of chips, mapped one by one, on small random instances; and its ablations."""
    excess: dict[str, list[float]] = {name: [] for name in ("loop", "gradient alone", "random, polished", "random")}
    for seed in range(INSTANCES):
        instance = random_instance(seed)
        problem = instance.problem()
        judge = Judge(problem)
        sets = chip_sets(problem, instance.num_slots)
        truth = min(judge(counts).value for counts in sets)
        budgets = (instance.cfg.area_budget_mm2, instance.cfg.tdp_budget_w)
        candidates = descend_types(instance, seed=seed, outer=6, steps=25).slots.harden_candidates(*budgets)
        drawn = random_designs(problem, instance.num_slots, 4, seed)
        found = {
            "loop": polish(problem, candidates, instance.num_slots, judge=judge).value,
            "gradient alone": min(one.value for one in mapped_designs(problem, candidates, judge)),
            "random": min(one.value for one in mapped_designs(problem, drawn, judge)),
            "random, polished": polish(problem, drawn, instance.num_slots, homogeneous=False, judge=judge).value,
        }
        for name, value in found.items():
            excess[name].append(100 * math.expm1(value - truth))
    for name, values in excess.items():
        within = sum(value <= 2.0 for value in values)
        capped = np.minimum(values, 50.0).mean()
        print(
            f"random instances, {name}: within 2 % on {within} of {INSTANCES}, mean excess {capped:.1f} % (at most 50)"
        )
    return [
        Figure(f"{INSTANCES} random instances: worst excess over exhaustive", max(excess["loop"]), "%", 2.0, "lower")
    ]


def default_problem_figures() -> list[Figure]:
    """The default problem of 16 slots and the control: the loop against the exact search and the best equal chips."""
    figures = []
    for name in ("default", "control"):
        instance = Instance(segments_of(keep()), library(name), SLOTS, loss_cfg())
        problem = instance.problem()
        judge = Judge(problem)
        descended = descend_types(instance)
        candidates = descended.slots.harden_candidates(instance.cfg.area_budget_mm2, instance.cfg.tdp_budget_w)
        found = polish(problem, candidates, SLOTS, judge=judge)
        alone = min(one.value for one in mapped_designs(problem, candidates, judge))
        exact = exact_type_search(problem, SLOTS, judge=judge)
        alike = best_homogeneous(problem, SLOTS, judge=judge)
        four = best_homogeneous(problem, SLOTS, count=4, judge=judge)
        excess = 100 * math.expm1(found.value - exact.value)
        edp = {key: math.exp(result.value) for key, result in (("found", found), ("alike", alike), ("four", four))}
        print(f"{name}: found {', '.join(found.chips)}: {edp['found']:.1f} J ms; gradient alone {math.exp(alone):.1f}")
        print(
            f"{name}: best equal chips {len(alike.chips)} {alike.chips[0]} {edp['alike']:.1f}; four {edp['four']:.1f}"
        )
        if name == "default":
            figures += [
                Figure("S = 16: excess over the exact search", excess, "%", 1.0, "lower"),
                Figure("soft-hard gap of L_hw, gates held", 100 * descended.gap, "%", 2.0, "lower"),
                Figure(
                    "EDP below best equal chips, any count", percent(edp["found"], edp["alike"]), "%", 15.0, "higher"
                ),
            ]
        else:
            gain = percent(edp["found"], edp["alike"])
            figures += [
                Figure("control: excess over the exact search", excess, "%", 1e-6, "lower"),
                Figure("control: gain of a mix over equal chips", abs(gain), "%", 1e-6, "lower"),
                Figure("control: types in the design found", float(len(set(found.chips))), "", 1.0, "lower"),
            ]
    return figures


def gate_figures() -> list[Figure]:
    """Gates and mapping moved together against the task's own gates, equal FLOPs, on the mix; several random tasks."""
    gains = []
    for seed in range(GATE_TARGETS):
        generator = torch.Generator().manual_seed(seed)
        wanted = 0.75 + TARGET_SPREAD * torch.randn(2, 12, generator=generator, dtype=torch.float64)
        wanted = wanted.clamp(0.3, 1.0)
        apart, _, _ = joint_gates(MIX, wanted, mu=TASK_WEIGHT, with_hardware=False)
        joint, shift, _ = joint_gates(MIX, wanted, mu=TASK_WEIGHT, with_hardware=True)
        gains.append(-100 * math.expm1(joint - apart))
        print(f"joint gates, task {seed}: EDP {gains[-1]:.1f} % lower at equal FLOPs, gates moved by {shift:.3f} (rms)")
    mean = float(np.mean(gains))
    return [Figure("joint gates and mapping, EDP below gates alone", mean, "%", 3.0, "higher")]


def fixed_four_figures() -> tuple[list[Figure], list[Design]]:
    """Four big cores: dealt out in turn, mapped, placed; and split in `serial`."""
    figures, designs = [], []
    ratio_worst = 0.0
    for size in (1, 2):
        for tokens, gates in ((0.5, 0.75), (0.5, 1.0), (1.0, 1.0)):
            dealt, mapped = (_on_four(keep(tokens, gates), size, strategy) for strategy in ("round_robin", "portfolio"))
            ratio_worst = max(ratio_worst, mapped.costs.period_ms / dealt.costs.period_ms)
            if (size, tokens, gates) == (1, 0.5, 0.75):
                figures.append(
                    Figure(
                        "mapped below dealt out in turn, period",
                        percent(mapped.costs.period_ms, dealt.costs.period_ms),
                        "%",
                        15.0,
                        "higher",
                    )
                )
                designs += [dealt, mapped]
                placed = _placed(mapped, keep(tokens, gates), size)
                designs.append(placed)
                shorter = percent(placed.costs.wire_mb_mm, mapped.costs.wire_mb_mm)
                figures.append(Figure("placed below the grid, wire length", shorter, "%", 0.0, "higher"))
                figures.append(Figure("placed chips are legal", float(placed.costs.legal), "", 1.0, "higher"))
                period = -percent(placed.costs.period_ms, mapped.costs.period_ms)
                energy = -percent(placed.costs.energy_j, mapped.costs.energy_j)
                print(f"placing changes the period by {period:+.2f} %, the energy by {energy:+.2f} %")
    figures.append(Figure("mapped over dealt out, worst of 6 settings", ratio_worst, "x", 1.0, "lower"))
    whole, split = (_on_four(keep(), 1, "portfolio", "serial", fine_split=fine) for fine in (False, True))
    designs += [whole, split]
    print(f"serial on four big cores: {whole.costs.serial_ms:.1f} ms, split {split.costs.serial_ms:.1f} ms")
    speedup = whole.costs.serial_ms / split.costs.serial_ms
    figures.append(Figure("fine split in serial, four chips", speedup, "x", 2.0, "higher"))
    return figures, designs


def _on_four(
    ratios: KeepRatios, size: int, strategy: str, objective: str = "balanced", *, fine_split: bool = False
) -> Design:
    cfg = loss_cfg(
        mapping_strategy=strategy,
        mapping_cfg={
            "objective": objective,
            "iterations": 20_000,
            "fine_split": fine_split,
            "fine_groups": 4,
            "fine_split_attn_ratio_threshold": -1.0,
        },
    )
    segments = segments_of(ratios, size)
    slots = ChipSlotConfig(library(), 4).fix(FOUR).eval()
    grid = grid_centres(4, PITCH_MM, PITCH_MM)
    layout = WaferLayout(4, WAFER, LayoutSettings(optimize_layout=False, grid_pitch_mm=PITCH_MM, gap_mm=GAP_MM))
    with torch.no_grad():
        _, stats = compute_hw_loss(segments, slots, PROXY, MappingSolver(4), layout, cfg)
    return make_design(
        segments, FOUR, library(), stats["mapping_result"], PROXY, grid, cfg, region=WAFER, gap_mm=GAP_MM
    )


def _placed(design: Design, ratios: KeepRatios, size: int) -> Design:
    segments = segments_of(ratios, size)
    layout = WaferLayout(4, WAFER, LayoutSettings(grid_pitch_mm=PITCH_MM, gap_mm=GAP_MM)).double()
    specs = ChipSlotConfig(library(), 4).double().fix(FOUR).eval()(hard=True)["eff_specs"]
    layout.place_(design.mapping, segments, specs, iterations=100_000)
    mapping = {"mapping": design.mapping, "rewire_meta": []}
    return make_design(segments, FOUR, library(), mapping, PROXY, layout.pos, loss_cfg(), region=WAFER, gap_mm=GAP_MM)


def one_chip_figures() -> list[Figure]:
    """Everything on one chip against the best mix, period, for every type that can hold it."""
    problem = dataclasses.replace(
        Instance(segments_of(keep()), library(), SLOTS, loss_cfg()).problem(), weights=(1.0, 0.0, 0.0, 0.0)
    )
    best = exact_type_search(problem, SLOTS)
    slowdown = math.inf
    for name in problem.names:
        alone = mapped_designs(problem, [[name]], Judge(problem))[0]
        how = math.exp(alone.value - best.value) if alone.feasible else math.inf
        print(f"all on one {name}: " + (f"{how:.2f} times the best period" if alone.feasible else "does not fit"))
        slowdown = min(slowdown, how)
    return [Figure("all on one chip over the best mix, period, least", slowdown, "x", 2.0, "higher")]


def step_figures() -> list[Figure]:
    """Time of the hardware loss, from gates to gradients, in a training step of the demo's pruned network."""
    from benchmarks.version_c_step import training_step

    collect_rarely()  # as every script does
    network_step, gates_of = training_step()
    steps = {"training step without hardware": network_step}
    cfg, layout = loss_cfg(), WaferLayout(SLOTS, WAFER, LayoutSettings(grid_pitch_mm=PITCH_MM, gap_mm=GAP_MM))
    slots = ChipSlotConfig(library(), SLOTS).fix([*MIX, *[None] * (SLOTS - len(MIX))]).eval()
    solver = MappingSolver(SLOTS)
    for size in (1, 2):
        hw = HwConfig(segment_size=size)
        with torch.no_grad():
            held = slots()
            _, first = compute_hw_loss(workload_segments(hw, keep()), slots, PROXY, solver, layout, cfg)

        def hardware(hw: HwConfig = hw, first: Any = first, held: Any = held) -> None:
            loss, _ = compute_hw_loss(
                workload_segments(hw, gates_of()),
                slots,
                PROXY,
                solver,
                layout,
                cfg,
                mapping_result=first["mapping_result"],
                reference=first["reference"],
                chips=held,
            )
            loss.backward()

        steps[f"hardware loss, {26 // size} segments"] = hardware
    seconds = interleaved_median_s(steps, 30)
    base = seconds["training step without hardware"]
    for name, value in seconds.items():
        print(f"{name}: {1e3 * value:.1f} ms")
    return [
        Figure(f"{name}, share of the step with it", 100 * value / (base + value), "%", 10.0, "lower")
        for name, value in seconds.items()
        if name.startswith("hardware")
    ]


def checker_figure(designs: list[Design], results: Path) -> Figure:
    """Designs that the independent checker finds wrong: those made here, and those of finished runs."""
    wrong, checked = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, design in enumerate(designs):
            paths.append(Path(folder) / f"{number}.json")
            write_design(paths[-1], design)
        finished = [path for path in results.glob("EXP-*/seed*/design.json") if "chipweave-design" in path.read_text()]
        for path in [*paths, *sorted(finished)]:
            verdict = check_file(path)
            checked += 1
            wrong += not verdict.ok
            for fault in verdict.faults:
                print(f"{path}: {fault.what}: {fault.stated:g} stated, {fault.computed:g} computed")
    print(f"checker: {checked} designs, {len(finished)} of them from {results}")
    return Figure("designs that the checker finds wrong", float(wrong), "", 0.0, "lower")


def main() -> None:
    """Compute, read, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--preset", default="demo", help="whose finished runs are read; claims are made on bench")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = Path("results") / arguments.preset
    four, designs = fixed_four_figures()
    figures = [
        *gradient_figures(),
        *random_instance_figures(),
        *default_problem_figures(),
        *gate_figures(),
        *four,
        *one_chip_figures(),
        *step_figures(),
        checker_figure(designs, results),
        *trained_figures(results),
    ]
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
