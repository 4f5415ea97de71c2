"""The cascade in integers: what rounding costs, what each layer takes, and who computes the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from ...artifacts import read_json, read_parquet
from ..blocks import Block, Figure, Notice, Prose, Section, Table, number_column, text_column
from ..cascade_loss import balanced_accuracy_loss, balanced_scores
from ..context import Context
from ..experiments_md import snakemake_command
from ..formats import labels, percent
from ..quantised_charts import layers_chart

QUANTISED, STAGES, VERIFIED = "EXP-C4-qat", "EXP-C3-stages", "EXP-C5-export-verify"
NAME, TITLE = "quantised", "The cascade in integers"
ARMS = {"float": "trained, 32-bit floats", "qat": "quantised nets in float64", "integer": "integer model"}
KEYS = ["patient", "recording", "start_s", "split", "label"]
TOLERATED_LOSS = 0.01


def section(context: Context) -> Section:
    """Scores of all finished seeds, layers of the first patient, back ends of the first seed."""
    seeds = finished_seeds(context.results / QUANTISED)
    if not seeds:
        command = snakemake_command(QUANTISED, context.preset_name)
        text = Markup("Not run: no finished <code>{}</code>. Make it with <code>{}</code>").format(QUANTISED, command)
        return Section(NAME, TITLE, (Prose(text),))
    manifests = [read_json(path) for path in sorted(seeds[0].glob("*/quantised.json"))]
    layers = read_parquet(sorted(seeds[0].glob("*/layers.parquet"))[0])
    summary = _summary(context.results, seeds)
    blocks: list[Block] = [summary, _scores(context.results), _patients(manifests)]
    blocks += [_layers_figure(layers, manifests[0]["patient"]), _layers_table(layers, manifests[0]["patient"])]
    blocks += _back_ends(context)
    return Section(NAME, TITLE, tuple(blocks), summary.html)


def finished_seeds(folder: Path) -> list[Path]:
    """The run folders of an experiment whose patients are all joined."""
    return sorted(path.parent for path in folder.glob("seed*/metrics.parquet"))


def paired_predictions(results: Path, seeds: list[Path]) -> pd.DataFrame:
    """Test predictions of the integer model (`logit_*`) beside those of the trained cascade (`only_*`)."""
    parts = []
    for seed in seeds:
        for path in sorted(seed.glob("*/predictions.parquet")):
            trained = read_parquet(results / STAGES / seed.name / path.parent.name / "predictions.parquet")
            trained = trained.rename(columns={"logit_0": "only_0", "logit_1": "only_1"})
            own = read_parquet(path)[[*KEYS, "routed", "logit_0", "logit_1"]]
            both = own.merge(trained[[*KEYS, "only_0", "only_1"]], on=KEYS, how="inner")
            parts.append(both[both["split"] == "test"].assign(seed=int(seed.name.removeprefix("seed"))))
    return pd.concat(parts, ignore_index=True)


def _summary(results: Path, seeds: list[Path]) -> Notice:
    """The claim in one sentence: bits equal, accuracy lost and its bound."""
    manifests = [read_json(path) for seed in seeds for path in sorted(seed.glob("*/quantised.json"))]
    wrong = sum(manifest["mismatches"] for manifest in manifests)
    compared = sum(manifest["windows_compared"] for manifest in manifests)
    test = paired_predictions(results, seeds)
    loss = balanced_accuracy_loss(test, TOLERATED_LOSS)
    text = Markup(
        "Logits of both networks and the route bit: {:,} of {:,} windows differ between the quantised nets in float64 "
        "and the integer model. The integer cascade has {} of balanced accuracy, the trained one {}: a loss of {:+.2f} "
        "points, upper 95 % bound {:+.2f} ({:,} test windows, recordings resampled). {}"
    ).format(
        wrong,
        compared,
        percent(_balanced_accuracy(test, "logit")),
        percent(_balanced_accuracy(test, "only")),
        100 * loss.loss.mean,
        100 * loss.upper_bound,
        len(test),
        "The bound stays within one point." if loss.holds else "A loss of one point cannot be excluded.",
    )
    return Notice("note" if loss.holds and not wrong else "warning", text)


def _balanced_accuracy(test: pd.DataFrame, name: str) -> float:
    ictal = test["label"].to_numpy() == 1
    right = (test[f"{name}_1"] > test[f"{name}_0"]).to_numpy() == ictal
    return float(balanced_scores(right, ictal).mean())


def _scores(results: Path) -> Table:
    """Trained, quantised and integer arm, and the variants of bit widths that were made."""
    rows: list[dict[str, Any]] = []
    for folder in sorted(results.glob(f"{QUANTISED}*")):
        seeds = finished_seeds(folder)
        if not seeds:
            continue
        metrics = pd.concat([read_parquet(seed / "metrics.parquet") for seed in seeds], ignore_index=True)
        metrics = metrics[metrics["split"].isin(["test", "all"])]
        means = metrics.pivot_table(index="arm", columns="metric", values="value", aggfunc="mean")
        variant = folder.name.partition("__")[2]
        wanted = ["integer"] if variant else list(ARMS)
        rows += [_score_row(means, arm, variant) for arm in wanted if arm in means.index]
    table = pd.DataFrame(rows)
    caption = (
        "Test windows, mean over patients and seeds. The second and third row must be equal: in float64 the quantised "
        "nets round where the integers do and nowhere else. tau is calibrated anew on the integer logits. Weights "
        "are those of both networks, biases included."
    )
    columns = (
        text_column("arm", "Cascade"),
        number_column("balanced_accuracy", "Balanced accuracy, %", "{:.2f}", 100.0),
        number_column("auc", "AUC", "{:.4f}"),
        number_column("average_precision", "AUPRC", "{:.4f}"),
        number_column("call_rate", "Complex calls, %", "{:.1f}", 100.0),
        number_column("weight_bytes", "Weights, kB", "{:.1f}", 1e-3),
    )
    return Table("quantised-scores", "From floats to integers", caption, table, columns)


def _score_row(means: pd.DataFrame, arm: str, variant: str) -> dict[str, Any]:
    names = ("balanced_accuracy", "auc", "average_precision", "call_rate", "weight_bytes")
    values = {name: means[name].get(arm) if name in means else None for name in names}
    return {"arm": f"integer model, {variant}" if variant else ARMS[arm], **values}


def _patients(manifests: list[dict[str, Any]]) -> Table:
    rows = []
    for manifest in manifests:
        simple, complex_ = (manifest["networks"][name] for name in ("simple", "complex"))
        rows.append(
            {
                **{
                    key: manifest[key]
                    for key in ("patient", "simple_model", "electrode", "threshold_before", "threshold")
                },
                "integer_margin": float(manifest["integer_margin"]),
                "windows": manifest["windows_compared"],
                "mismatches": manifest["mismatches"],
                "simple_parameters": simple["parameters"],
                "simple_macs": simple["macs"],
                "complex_parameters": complex_["parameters"],
                "complex_macs": complex_["macs"],
            }
        )
    caption = (
        "The margin is what hardware compares |l1 - l0| with, in steps of the simple network's logits. Parameters and "
        "multiplications are those of the integer networks, folded and for the patient's own electrodes."
    )
    columns = (
        text_column("patient", "Patient"),
        text_column("simple_model", "Simple model"),
        number_column("electrode", "Electrode", "{:.0f}"),
        number_column("threshold_before", "tau, trained", "{:.3f}"),
        number_column("threshold", "tau, integer", "{:.3f}"),
        number_column("integer_margin", "Margin", "{:,.0f}"),
        number_column("windows", "Windows compared", "{:,.0f}"),
        number_column("mismatches", "Mismatches", "{:,.0f}"),
        number_column("simple_parameters", "Parameters, simple", "{:,.0f}"),
        number_column("simple_macs", "MAC, simple", "{:,.0f}"),
        number_column("complex_parameters", "Parameters, complex", "{:,.0f}"),
        number_column("complex_macs", "MAC, complex", "{:,.0f}"),
    )
    return Table("quantised-patients", "Patient by patient", caption, pd.DataFrame(rows), columns)


def _layers_figure(layers: pd.DataFrame, patient: str) -> Figure:
    data = layers[layers["weight_bits"].notna()].copy()
    data["bits"] = data["weight_bits"].map("{:.0f} bits".format)
    data["label"] = labels(data, "{network} {layer}: weights of {bits}, channels {scale_spread_bits:.1f} bits apart")
    description = f"Spread of the channels' scales by layer, patient {patient}"
    caption = (
        "One scale serves all output channels of a layer: a channel whose largest weight is 2^k times smaller than the "
        "layer's has k bits fewer. Layers of 8 bits with a wide spread are the first to widen."
    )
    columns = (
        text_column("network", "Network"),
        text_column("layer", "Layer"),
        text_column("bits", "Weights"),
        number_column("scale_spread_bits", "Spread, bits", "{:.2f}"),
    )
    drawn = data[["network", "layer", "scale_spread_bits", "bits", "label"]]
    table = drawn.drop(columns=["label"])
    title = "Bit widths, and how far apart channels lie"
    return Figure("quantised-spread", title, caption, description, layers_chart(drawn, description), table, columns)


def _layers_table(layers: pd.DataFrame, patient: str) -> Table:
    caption = (
        f"Both networks of patient {patient}. Scales are powers of two, so requantisation is the shift shown, rounding "
        "halves to even. Accumulator bits are proved from the weights: no partial sum of any input needs more."
    )
    columns = (
        text_column("network", "Network"),
        text_column("layer", "Layer"),
        text_column("kind", "Kind"),
        number_column("weight_bits", "Weights, bits", "{:.0f}"),
        number_column("scale_spread_bits", "Spread, bits", "{:.1f}", explanation="largest over smallest channel"),
        number_column("output_bits", "Output, bits", "{:.0f}"),
        number_column("output_scale", "Output scale", "{:.3g}"),
        number_column("accumulator_bits", "Accumulator, bits", "{:.0f}"),
        number_column("shift", "Shift", "{:.0f}"),
        number_column("parameters", "Parameters", "{:,.0f}"),
        number_column("macs", "MAC", "{:,.0f}"),
    )
    return Table("quantised-layers", "Layer by layer", caption, layers, columns)


def _back_ends(context: Context) -> list[Block]:
    """Agreement of the generated back ends, resources and cycles: what EXP-C5-export-verify wrote."""
    folder = context.results / VERIFIED
    agreement = _of_patients(folder, "agreement")
    if agreement.empty:
        command = snakemake_command(VERIFIED, context.preset_name)
        text = Markup("Back ends not checked: no finished <code>{}</code>. Make it with <code>{}</code>")
        return [Prose(text.format(VERIFIED, command))]
    blocks: list[Block] = [_agreement(agreement)]
    resources = _of_patients(folder, "resources")
    return blocks if resources.empty else [*blocks, _resources(resources)]


def _of_patients(folder: Path, name: str) -> pd.DataFrame:
    paths = sorted(folder.glob(f"seed*/*/{name}.parquet"))
    parts = [
        read_parquet(path).assign(seed=path.parts[-3].removeprefix("seed"), patient=path.parts[-2]) for path in paths
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _agreement(table: pd.DataFrame) -> Table:
    caption = (
        "Each back end is generated from the integer model and runs on the experiment's windows; a window counts as a "
        "mismatch if one bit of a logit, or the route bit, differs from the reference executor."
    )
    columns = (
        text_column("patient", "Patient"),
        text_column("network", "Network"),
        text_column("backend", "Back end"),
        text_column("status", "Status"),
        number_column("windows", "Windows", "{:,.0f}"),
        number_column("logit_mismatches", "Logit mismatches", "{:,.0f}"),
        number_column("route_mismatches", "Route mismatches", "{:,.0f}"),
    )
    return Table("quantised-agreement", "Who computes the same bits", caption, table, columns)


def _resources(table: pd.DataFrame) -> Table:
    caption = (
        "Counts after synthesis by yosys and cycles by simulation. yosys does no place and route: there is no timing "
        "and no power here."
    )
    columns = (
        text_column("patient", "Patient"),
        text_column("design", "Design"),
        text_column("tool", "Tool"),
        text_column("quantity", "Quantity"),
        number_column("value", "Value", "{:,.0f}"),
        text_column("unit", "Unit"),
    )
    return Table("quantised-resources", "Resources and cycles", caption, table, columns)
