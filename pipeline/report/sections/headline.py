"""The first thing a reader sees: what was run on what, and what came out, in sentences."""

from __future__ import annotations

from markupsafe import Markup

from ...machine import machine_line
from ..accuracy import Verdict
from ..blocks import Block, Html, Notice, Section
from ..context import BASELINE, Context
from ..experiments_md import snakemake_command
from ..formats import percent, percent_bounds, plural, point_bounds, points
from ..tables import Arm
from ..templating import render_template

FEW_GROUPS = 20
LATE_FUSION = "EXP-P1AV-1-av-dense-late-fusion"
SPLITS = {"by_time": "by time within each video", "lists": "by the official lists, by group"}
INPUTS = {
    "minus_clip_mean": "each clip minus its mean over frames (data.input: minus_clip_mean): still pictures vanish",
    "raw": "pixels as they are (data.input: raw)",
}


def section(context: Context) -> Section:
    """Warnings, a summary computed from the results, and the facts of the run."""
    blocks: list[Block] = []
    if context.config.data.splits == "by_time":
        blocks.append(Notice("warning", _same_videos_warning()))
    blocks += [Notice("warning", text) for text in _broken_promises(context)]
    groups = min((estimate.groups for estimate in context.estimates.values()), default=FEW_GROUPS)
    if groups < FEW_GROUPS:
        blocks.append(Notice("note", _few_groups(groups)))
    blocks.append(Html(render_template("summary.html.jinja", sentences=summary(context), controls=controls(context))))
    blocks.append(Html(render_template("facts.html.jinja", facts=_facts(context))))
    return Section("headline", "What came out", tuple(blocks))


def summary(context: Context) -> list[Markup]:
    """The results in sentences, each computed from the artefacts."""
    if not context.finished:
        command = snakemake_command("", context.preset_name, context.needs_folder)
        return [Markup("No experiment has been run yet. This makes all of them: <code>{}</code>").format(command)]
    sentences = [_baseline_sentence(context), _fusion_sentence(context)]
    return [sentence for sentence in sentences if sentence]


def _baseline_sentence(context: Context) -> Markup:
    arm, estimate = context.arm(BASELINE), context.estimates.get(BASELINE)
    if arm is None or estimate is None or context.chance is None:
        return Markup("The dense video baseline (<code>{}</code>) has not been run.").format(BASELINE)
    tested = arm.runs[0].predictions.query("split == 'test'")["video_id"].nunique()
    return Markup(
        "The dense video transformer recognises <strong>{}</strong> of {} (95 % bounds {}); guessing gives {}."
    ).format(
        percent(estimate.accuracy.mean),
        plural(tested, "test video"),
        percent_bounds(estimate.accuracy),
        percent(context.chance),
    )


def _what_bounds_cover(context: Context) -> str:
    seeds = max((len(arm.runs) for arm in context.finished), default=0)
    if seeds == 1:
        return "the choice of videos; one seed was trained, so not training noise"
    return f"the choice of videos and training noise ({seeds} seeds)"


def _fusion_sentence(context: Context) -> Markup | None:
    estimate = context.estimates.get(LATE_FUSION)
    if estimate is None or isinstance(estimate.difference, str):
        return None
    gap = estimate.difference
    if gap.low == gap.mean == gap.high == 0:
        return Markup("Adding sound by late fusion changes nothing: in every group as many videos are right as before.")
    reading = "a gain" if gap.low > 0 else "a loss" if gap.high < 0 else "too close to call on these videos"
    return Markup(
        "Adding sound by late fusion changes that by <strong>{} points</strong> (95 % bounds {}): {}."
    ).format(points(gap.mean), point_bounds(gap), reading)


def controls(context: Context) -> list[tuple[Verdict, str]]:
    """Each control that promises something: whether it keeps the promise, and the sentence."""
    rows = []
    for arm in context.finished:
        estimate = context.estimates.get(arm.name)
        if estimate is not None and estimate.verdict is not None:
            sentence = f"{_control_title(arm)}: {percent(estimate.accuracy.mean)}, {estimate.verdict.sentence}"
            rows.append((estimate.verdict, sentence))
    return rows


def _control_title(arm: Arm) -> str:
    return arm.short_name if arm.entry is None else arm.name.split("-", 3)[-1].replace("-", " ")


def _broken_promises(context: Context) -> list[Markup]:
    failed = [name for name, e in context.estimates.items() if e.verdict is not None and e.verdict.outcome == "failed"]
    text = "The control <code>{}</code> is {}: do not trust the accuracies below before this is explained."
    verdicts = {name: context.estimates[name].verdict for name in failed}
    return [Markup(text).format(name, verdict.sentence) for name, verdict in verdicts.items() if verdict is not None]


def _same_videos_warning() -> Markup:
    return Markup(
        "<strong>The same videos are in train, validation and test</strong>, cut in time (first 60 %, next 20 %, last "
        "20 % of each). This is a check that the path works on these files, and <strong>no claim of generalisation"
        "</strong> to other videos."
    )


def _few_groups(groups: int) -> Markup:
    return Markup(
        "Only {} of test videos: bounds from resampling so few are too narrow, and nothing here is a claim."
    ).format(plural(groups, "group"))


def _facts(context: Context) -> list[tuple[str, str]]:
    config = context.config
    catalogued = [arm for arm in context.arms if arm.entry is not None]
    adhoc = len(context.arms) - len(catalogued)
    done = sum(arm.status == "done" for arm in catalogued)
    beside = f"; beside them {plural(adhoc, 'ad-hoc run')}" if adhoc else ""
    facts = [
        ("Preset", f"{context.preset_name}: {context.preset.description}"),
        ("Experiments", f"{done} of {len(catalogued)} done, {plural(len(context.preset.seeds), 'seed')} each{beside}"),
        ("Data", str(context.data.root)),
        ("Splits", SPLITS[config.data.splits]),
        ("Input", INPUTS[config.data.input]),
    ]
    if context.estimates:
        facts.append(("Bounds cover", _what_bounds_cover(context)))
    return [*facts, ("Report made on", machine_line())]
