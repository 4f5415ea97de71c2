"""Which classes are taken for which: one confusion matrix per experiment, test videos pooled over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ..blocks import Block, Cell, Column, Figure, Picker, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..figures import confusion_chart
from ..formats import labels
from ..tables import Arm

CLASSES_AS_MATRIX = 24
WORST_PAIRS = 20


def section(context: Context) -> Section:
    """A picker over experiments; with many classes the most frequent confusions instead of a matrix."""
    names = context.data.class_names()
    matrices = [(arm, confusion(arm, names)) for arm in context.finished]
    blocks: list[Block]
    if not matrices:
        blocks = [Prose(Markup("Not run: no experiment has test predictions."))]
    elif max(matrix["true"].nunique() for _, matrix in matrices) <= CLASSES_AS_MATRIX:
        options = tuple((arm.name, _figure(arm, matrix)) for arm, matrix in matrices)
        blocks = [Picker("confusion", "Experiment", options)]
    else:
        blocks = [_pairs(matrices)]
    return Section("confusion", "Confusions", tuple(blocks))


def confusion(arm: Arm, names: dict[int, str]) -> pd.DataFrame:
    """Every pair of classes: true, predicted, videos, share of the true class's videos."""
    tests = pd.concat([run.predictions[run.predictions["split"] == "test"] for run in arm.runs])
    classes = sorted({*tests["label"], *tests["prediction"], *names})
    position = {label: k for k, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (tests["label"].map(position).to_numpy(), tests["prediction"].map(position).to_numpy()), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    titles = [names.get(int(label), f"class {label}") for label in classes]
    rows = [
        (titles[i], titles[j], int(counts[i, j]), float(shares[i, j]))
        for i in range(len(classes))
        for j in range(len(classes))
    ]
    return pd.DataFrame(rows, columns=["true", "predicted", "videos", "share"])


def _figure(arm: Arm, matrix: pd.DataFrame) -> Figure:
    data = matrix.copy()
    pattern = "{true} taken for {predicted}: {videos} of its videos, {percent:.0f} %"
    data["label"] = labels(data.assign(percent=100 * data["share"]), pattern)
    classes = list(dict.fromkeys(data["true"]))
    wrong = data[(data["true"] != data["predicted"]) & (data["videos"] > 0)].nlargest(1, "videos")
    right = int(data.loc[data["true"] == data["predicted"], "videos"].sum())
    worst = "".join(f" Most frequent confusion: {label}." for label in wrong["label"])
    description = f"Confusion matrix of {arm.name}: {right} of {int(data['videos'].sum())} on the diagonal.{worst}"
    wide = matrix.pivot(index="true", columns="predicted", values="videos").loc[classes, classes]
    return Figure(
        f"confusion-{arm.short_name.replace('/', '-')}",
        arm.name,
        "Rows are true classes, columns predicted ones; numbers are test videos, summed over seeds, and the fill is "
        f"the share of the row.{worst}",
        description,
        confusion_chart(data, classes, description),
        wide.reset_index(),
        (text_column("true", "true ↓ predicted →"), *(number_column(name, name, "{:.0f}") for name in classes)),
    )


def _pairs(matrices: list[tuple[Arm, pd.DataFrame]]) -> Table:
    tables = [matrix.assign(experiment=arm.name) for arm, matrix in matrices]
    data = pd.concat(tables, ignore_index=True)
    wrong = data[(data["true"] != data["predicted"]) & (data["videos"] > 0)]
    worst = wrong.sort_values("videos", ascending=False).groupby("experiment", sort=False).head(WORST_PAIRS)

    def share(row: dict[str, Any]) -> Cell:
        return Cell(f"{row['share']:.0%}", row["share"])

    return Table(
        "confusions",
        "Most frequent confusions",
        f"With more than {CLASSES_AS_MATRIX} classes a matrix is unreadable: the {WORST_PAIRS} most frequent "
        "confusions of each experiment, test videos summed over seeds.",
        worst[["experiment", "true", "predicted", "videos", "share"]],
        (
            text_column("experiment", "Experiment"),
            text_column("true", "True class"),
            text_column("predicted", "Taken for"),
            number_column("videos", "Videos", "{:.0f}"),
            Column("Of the class", share, numeric=True),
        ),
        filterable=True,
    )
