"""Designs of several chips: what was chosen, how it came about, what each part buys, and what else could be built."""

from __future__ import annotations

from markupsafe import Markup

from ...experiments import variant_of
from ..blocks import Block, Figure, Html, Notice, Picker, Prose, Section, number_column, text_column
from ..context import Context
from ..formats import labels, percent, points
from ..tables import Arm
from ..templating import render_template
from ..version_c_comparisons import front_blocks, parts_blocks
from ..version_c_figures import PHASES, TERMS, alternation_chart
from ..version_c_pictures import gantt_of, wafer_of
from ..version_c_runs import MAIN, DesignRun, design_arms, read_design_run
from ..version_c_tables import counted, designs_table, rivals_tables, short_name

SECTION = ("version-c", "Chips, mapping and layout together")
GRID, MAPPED, MOVED = "EXP-P2-1-fixed4-grid", "EXP-P2-2-fixed4-mapping", "EXP-P2-3-fixed4-mapping-layout"


def section(context: Context) -> Section:
    """Sentences, designs, pictures, alternation, rivals, ablations, fronts; where one run is shown, the first seed."""
    arms = design_arms(context)
    if not arms:
        text = Markup(
            "Not run: <code>snakemake --cores all phase2 phase3</code> designs chips for the pruned networks."
        )
        return Section(*SECTION, (Prose(text),))
    runs = {arm.name: read_design_run(arm.runs[0]) for arm in arms}
    own = tuple(arm for arm in arms if not variant_of(arm.name))
    sentences = _sentences(runs)
    blocks: list[Block] = [_setting(), *(Prose(text) for text in sentences)]
    blocks.append(designs_table(own, runs))
    if own:
        blocks += [_pictures(own, runs), _alternations(own, runs)]
    blocks += rivals_tables(runs)
    blocks += parts_blocks(arms, runs)
    blocks += front_blocks(arms, runs)
    return Section(*SECTION, tuple(blocks), next(iter(sentences), None))


def _setting() -> Notice:
    return Notice(
        "note",
        Markup(
            "The setting was <strong>chosen</strong>: workload, batch, chip library, budgets and links are those of a "
            "search over about ten libraries and four batch sizes, most of which gave a mix of chips little or nothing "
            "over the best design of equal chips. A gain is a property of this setting. The control library holds one "
            "chip that leads in everything; there the best design is homogeneous and the gain must be 0."
        ),
    )


def _sentences(runs: dict[str, DesignRun]) -> list[Markup]:
    """The gain over equal chips, the control, and what mapping and layout do to four fixed chips."""
    texts = []
    main = runs.get(MAIN)
    if main is not None and main.rival("homogeneous"):
        equal, exact = main.rival("homogeneous"), main.rival("exact")
        costs = main.design.costs
        texts.append(
            Markup(
                "{}: energy–delay product <strong>{}</strong> that of the best design of equal chips of any number "
                "({}, same gates and budgets); the exact search over sets of chips finds {} at {} of it."
            ).format(
                short_name(MAIN),
                _relative(costs.edp_j_ms, equal["edp_j_ms"]),
                equal["chips"],
                exact["chips"],
                _relative(exact["edp_j_ms"], equal["edp_j_ms"]),
            )
        )
        control, leader = main.rival("exact", library="control"), main.rival("homogeneous", library="control")
        if control and leader:
            gain = 1.0 - control["edp_j_ms"] / leader["edp_j_ms"]
            texts.append(
                Markup("Control library: the exact search finds {}, equal chips {}; gain <strong>{}</strong>.").format(
                    control["chips"], leader["chips"], percent(gain)
                )
            )
    return [*texts, *_phase2_sentences(runs)]


def _phase2_sentences(runs: dict[str, DesignRun]) -> list[Markup]:
    if GRID not in runs or MAPPED not in runs:
        return []
    dealt, mapped = runs[GRID].design.costs, runs[MAPPED].design.costs
    texts = [
        Markup(
            "Four fixed chips, mapping searched instead of dealt out: period <strong>{}</strong>, energy {}."
        ).format(_change(mapped.period_ms, dealt.period_ms), _change(mapped.energy_j, dealt.energy_j))
    ]
    if MOVED in runs:
        moved = runs[MOVED].design.costs
        texts.append(
            Markup("Positions moved too: wires <strong>{}</strong>, period {}, energy {}, {}.").format(
                _change(moved.wire_mb_mm, mapped.wire_mb_mm),
                _change(moved.period_ms, mapped.period_ms),
                _change(moved.energy_j, mapped.energy_j),
                "legal" if moved.legal else "NOT legal",
            )
        )
    return texts


def _relative(value: float, reference: float) -> str:
    return percent(value / reference)


def _change(value: float, reference: float) -> str:
    return f"{points(value / reference - 1.0)}\N{NO-BREAK SPACE}%"


def _pictures(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> Html:
    shown = []
    for arm in sorted(arms, key=lambda arm: arm.name != MAIN):
        design = runs[arm.name].design
        gantt = gantt_of(design)
        shown.append(
            {
                "name": short_name(arm.name),
                "chips": counted(design.chosen),
                "period": f"period {design.costs.period_ms:.4g} ms",
                "gantt": None if gantt is None else Markup(gantt),
                "wafer": Markup(wafer_of(design)),
            }
        )
    return Html(render_template("version_c.html.jinja", designs=shown))


def _alternations(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> Picker:
    ordered = sorted(arms, key=lambda arm: arm.name != MAIN)
    return Picker(
        "alternation", "Alternation of", tuple((short_name(a.name), _alternation(a, runs[a.name])) for a in ordered)
    )


def _alternation(arm: Arm, run: DesignRun) -> Figure:
    steps = run.steps[run.steps["phase"].isin(list(PHASES))].copy()
    keys = steps[["outer", "phase", "step"]].drop_duplicates().reset_index(drop=True).reset_index(names="at")
    steps = steps.merge(keys, on=["outer", "phase", "step"])
    wide = steps.pivot_table(index=["at", "outer", "phase"], columns="term", values="value").reset_index()
    losses = wide[["at", "outer", "phase"]].assign(relaxed=wide["L_hw"], hardened=wide["L_hw_hardened"])
    losses["phase"] = losses["phase"].map(PHASES)
    losses["label"] = labels(losses, "outer {outer}, {phase}: hardened {hardened:.4f}, this step's {relaxed:.4f}")
    told = [name for name in TERMS if name in wide.columns]
    terms = wide[wide["phase"] != "B"].melt(["at"], told, "term", "value").dropna()
    terms["term"] = terms["term"].map(TERMS)
    begins = keys.groupby("outer")["at"].min().tolist()
    first, last = losses["hardened"].iloc[0], losses["hardened"].iloc[-1]
    name = short_name(arm.name)
    description = f"Loss over the alternation, {name}: hardened L_hw from {first:.4f} to {last:.4f}."
    return Figure(
        f"alternation-{name}",
        f"Loss over the alternation, {name}",
        "Hardened: the design that is held, priced for the network of that step; it only falls in C and D. In D the "
        "gradient moves chips through each other, and what counts is where they end. Relaxed: a fresh Gumbel sample of "
        "the chip logits at every step of B, with growing penalties, so its level is its own.",
        description,
        alternation_chart(losses, terms, begins, description),
        losses.drop(columns="label"),
        (
            number_column("at", "Step", "{:.0f}"),
            number_column("outer", "Outer iteration", "{:.0f}"),
            text_column("phase", "Phase"),
            number_column("relaxed", "L_hw of the step"),
            number_column("hardened", "L_hw hardened"),
        ),
    )
