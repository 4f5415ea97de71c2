"""The data card: how many videos of which class are in which split, how long, with or without sound, and damaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float
from markupsafe import Markup

from ..blocks import Block, Figure, Html, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..experiments_md import snakemake_command
from ..figures import duration_chart
from ..formats import duration, labels, percent, plural
from ..tables import usable_videos
from ..templating import render_template

SPLITS = ("train", "val", "test")
BINS = 20


def section(context: Context) -> Section:
    """Totals, counts by class and split, durations, and every file that could not be used whole."""
    manifest = context.data.manifest
    if manifest is None:
        command = snakemake_command("demo_data", context.preset_name, context.needs_folder)
        text = Markup("Not made yet: <code>{}/manifest.parquet</code>. Make it with <code>{}</code>")
        return Section("data", "Data", (Prose(text.format(str(context.data.root), command)),))
    usable = usable_videos(manifest)
    blocks: list[Block] = [
        Html(render_template("facts.html.jinja", facts=_totals(manifest, usable))),
        _counts(context, usable),
        _durations(usable["seconds"].dropna().to_numpy(dtype=np.float64)),
    ]
    blocks += [_damaged(context, manifest), *_audio(context)]
    return Section("data", "Data", tuple(blocks))


def split_members(context: Context) -> dict[str, frozenset[str]]:
    """Video IDs by split: tested and validated ones as the finished runs had them, the rest of the list trains.

    Split by time, every video stands in all three. Before any run the validation videos still count as train.
    """
    tables = [run.predictions for arm in context.finished for run in arm.runs[:1]]
    seen = {name: frozenset(v for t in tables for v in t.loc[t["split"] == name, "video_id"]) for name in SPLITS}
    listed = context.data.listed
    if context.config.data.splits == "by_time":
        return dict.fromkeys(SPLITS, seen["test"] | seen["val"])
    train = listed.get("train", frozenset()) - seen["val"]
    return {"train": train, "val": seen["val"], "test": seen["test"] or listed.get("test", frozenset())}


def _totals(manifest: pd.DataFrame, usable: pd.DataFrame) -> list[tuple[str, str]]:
    sizes = sorted(set(labels(usable, "{width}×{height}")))
    timed = usable[usable["seconds"].notna()]
    rates = sorted({f"{rate:.4g}" for rate in timed["fps"]}, key=float)
    damaged = int((manifest["status"] != "ok").sum())
    sounding = int(timed["has_audio"].sum())
    sound = f"{sounding:,} of {plural(len(timed), 'video')} ({percent(sounding / max(len(timed), 1))})"
    # Only the raw file tells the rate and the sound track: unknown together.
    unknown = f"unknown of {plural(len(usable) - len(timed), 'video')}" if len(timed) < len(usable) else ""
    return [
        ("Videos", f"{len(manifest):,}"),
        ("Classes", str(manifest.loc[manifest["label"] >= 0, "class"].nunique())),
        ("Groups", f"{manifest[['class', 'group']].drop_duplicates().shape[0]:,}"),
        ("Total duration", _known(duration(float(timed["seconds"].sum())) if len(timed) else "", unknown)),
        ("With sound", _known(sound if len(timed) else "", unknown)),
        ("Size, pixels", _few(sizes)),
        ("Frames per second", _known(_few(rates), unknown)),
        ("Damaged", str(damaged)),
    ]


def _known(text: str, unknown: str) -> str:
    """What is known, and of how many videos it is not; `unknown` alone if of none it is."""
    return ", ".join(part for part in (text, unknown) if part) if text else "unknown"


def _few(values: list[str]) -> str:
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _counts(context: Context, usable: pd.DataFrame) -> Table:
    members = split_members(context)
    by_class = usable.groupby("class", sort=True)
    in_split = {name: usable["video_id"].isin(list(members[name])) for name in SPLITS}
    data = pd.DataFrame({name: chosen.groupby(usable["class"]).sum() for name, chosen in in_split.items()})
    data["videos"] = by_class.size()
    data["groups"] = by_class["group"].nunique()
    known = usable["seconds"].notna()
    data["with_audio"] = usable["has_audio"].astype("float64").where(known).groupby(usable["class"]).sum(min_count=1)
    data["seconds"] = by_class["seconds"].sum(min_count=1)
    data = data.loc[usable.groupby("class")["label"].min().sort_values(kind="stable").index].reset_index()
    total = data.drop(columns="class").sum(min_count=1).to_frame().T.assign(**{"class": "all classes"})
    data = pd.concat([data, total], ignore_index=True)[["class", *SPLITS, "videos", "groups", "with_audio", "seconds"]]
    by_time = context.config.data.splits == "by_time"
    note = "Every video is in all three splits, cut in time. " if by_time else "No group is in two splits. "
    if not known.all():
        note += f"Duration and sound of {plural(int((~known).sum()), 'video')} are unknown and not counted. "
    listed = "" if context.finished else "Before a first run the validation videos still count as train. "
    return Table(
        "data_counts",
        "Videos by class and split",
        note + listed + "Bad videos, without a single frame, are left out.",
        data,
        (
            text_column("class", "Class"),
            *(number_column(name, name, "{:,.0f}") for name in SPLITS),
            number_column("videos", "Videos", "{:,.0f}"),
            number_column("groups", "Groups", "{:,.0f}", explanation="clips cut from one recording share a group"),
            number_column("with_audio", "With sound", "{:,.0f}", missing="unknown"),
            number_column("seconds", "Seconds", "{:,.0f}", missing="unknown"),
        ),
    )


def _durations(seconds: Float[np.ndarray, " V"]) -> Figure | Prose:
    """The histogram of the known durations."""
    if not len(seconds):
        return Prose(Markup("Durations are unknown: frames that start from a JPEG tree have no rate."))
    counts, edges = np.histogram(seconds, bins=min(BINS, 2 * len(seconds)))
    data = pd.DataFrame({"start_s": edges[:-1], "end_s": edges[1:], "videos": counts})
    data["label"] = labels(data, "{start_s:.2f} to {end_s:.2f} s: {videos} videos")
    middle, low, high = np.median(seconds), seconds.min(), seconds.max()
    description = f"Histogram of durations: {low:.2f} to {high:.2f} s, median {middle:.2f} s, {len(seconds)} videos."
    return Figure(
        "durations",
        "Durations",
        f"How long the videos are: {low:.2f} to {high:.2f} s, median {middle:.2f} s.",
        description,
        duration_chart(data, description),
        data.drop(columns="label"),
        (
            number_column("start_s", "From, s", "{:.2f}"),
            number_column("end_s", "To, s", "{:.2f}"),
            number_column("videos", "Videos", "{:.0f}"),
        ),
    )


def _damaged(context: Context, manifest: pd.DataFrame) -> Block:
    columns = ["class", "video_id", "stage", "status", "message"]
    frames = manifest[manifest["status"] != "ok"].assign(stage="frames")
    tables = [frames.reindex(columns=columns)]
    if context.data.audio is not None:
        audio = context.data.audio
        broken = audio[~audio["status"].isin(["ok", "no_audio"])].assign(stage="sound")
        tables.append(broken.merge(manifest[["video_id", "class"]], how="left").reindex(columns=columns))
    data = pd.concat(tables, ignore_index=True).sort_values(["class", "video_id"], ignore_index=True)
    if data.empty:
        return Prose(Markup("Every file was read whole: no damaged videos, no damaged sound tracks."))
    return Table(
        "damaged_files",
        "Damaged files",
        "Truncated videos are used as far as they decode; a sound track that fails counts as silence; bad files are "
        "left out.",
        data,
        tuple(text_column(name, name.replace("_", " ")) for name in columns),
        filterable=True,
    )


def _audio(context: Context) -> list[Block]:
    audio = context.data.audio
    if audio is None:
        return [Prose(Markup("Sound features have not been computed (no <code>audio.parquet</code>)."))]
    counts = audio["status"].value_counts().rename_axis("status").reset_index(name="videos")
    meaning = {
        "ok": "a sound track, log-mel features computed",
        "no_audio": "no sound track: the model hears silence",
        "decode_error": "a sound track that does not decode: counts as none",
        "bad": "no frame decodes, so no features",
    }
    counts["meaning"] = [meaning.get(status, "") for status in counts["status"]]
    caption = "One row per outcome of the sound preprocessing; features are log-mel, one column per frame."
    columns = (
        text_column("status", "Status"),
        number_column("videos", "Videos", "{:,.0f}"),
        text_column("meaning", "Meaning"),
    )
    return [Table("audio_status", "Sound", caption, counts, columns)]
