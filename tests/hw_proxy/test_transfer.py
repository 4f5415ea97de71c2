"""Judging a proxy: left-out devices, few-shot calibration, intervals, the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.artifacts import read_parquet, write_parquet
from pipeline.config.proxy import ProxyConfig, ProxyEvaluation, ProxyFit
from pipeline.errors import ConfigError, DataError
from pipeline.hw_proxy import proxy_run
from pipeline.hw_proxy.calibration import correct, fit_corrections
from pipeline.hw_proxy.intervals import coverage_of, fit_intervals
from pipeline.hw_proxy.measured_table import MeasuredTable, sample_rows
from pipeline.hw_proxy.predict_frame import predict_file
from pipeline.hw_proxy.proxy_run import run_ms_mem, run_power
from pipeline.hw_proxy.transfer import shape_split
from tests.hw_proxy.made_up import device_frame, measured_frame


def test_calibration_removes_a_constant_factor_and_leaves_other_groups_alone() -> None:
    places, group = torch.rand(100, 3), torch.arange(100) % 2
    log_ms = torch.rand(100)
    truth = log_ms + torch.where(group == 0, 0.7, 0.0)
    few = torch.arange(0, 40, 2)
    corrections = fit_corrections(log_ms[few], truth[few], places[few], group[few])
    corrected = correct(log_ms, places, group, corrections)
    assert (corrected[group == 0] - truth[group == 0]).abs().max() < 0.05
    assert torch.equal(corrected[group == 1], log_ms[group == 1])


def test_intervals_cover_what_they_promise_on_devices_like_those_they_saw() -> None:
    rng = np.random.default_rng(0)
    device = np.repeat([f"d{place}" for place in range(40)], 200)
    error = np.repeat(rng.normal(0, 0.2, 40), 200) + rng.normal(0, 0.1, 8000)
    seen = np.repeat(np.arange(40) < 20, 200)
    intervals = fit_intervals(error[seen], device[seen].tolist(), ["linear"] * int(seen.sum()), 0.9)
    covered = coverage_of(error[~seen], ["linear"] * int((~seen).sum()), intervals).mean()
    assert 0.8 < covered <= 0.98


def test_rows_are_drawn_per_group_and_shapes_are_held_out_on_every_device(measured: MeasuredTable) -> None:
    everywhere = torch.ones(len(measured), dtype=torch.bool)
    rows = sample_rows(measured, everywhere, 7, seed=0)
    assert torch.bincount(measured.group[rows]).tolist() == [7] * int(measured.group.max() + 1)
    held_out = shape_split(measured, 0.3)
    names = ["layer_type", "B", "M", "N", "K", "H"]
    frame = measured.frame.assign(held_out=held_out.numpy())
    assert (frame.groupby(names).held_out.nunique() == 1).all()
    assert 0.2 < held_out.float().mean() < 0.4


@pytest.fixture
def config(tmp_path: Path) -> ProxyConfig:
    write_parquet(tmp_path / "layers.parquet", measured_frame(("small", "middle"), 150))
    device_frame().to_csv(tmp_path / "devices.csv", index=False)
    return ProxyConfig.model_validate(
        {
            "data": {"layer_latency": str(tmp_path / "layers.parquet"), "devices": str(tmp_path / "devices.csv")},
            "fit": ProxyFit(members=1, hidden=[16], epochs=15, batch_size=64, rows_per_group=100).model_dump(),
            "evaluation": ProxyEvaluation(
                members=1, epochs=8, rows_per_group=60, rows_tested=100, calibration_rows=5
            ).model_dump(),
        }
    )


def test_a_run_judges_left_out_devices_and_its_files_predict_new_ones(config: ProxyConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "unseen devices" in run_ms_mem(config, out)
    first = read_parquet(out / "metrics.parquet")
    run_ms_mem(config, out)
    pd.testing.assert_frame_equal(first, read_parquet(out / "metrics.parquet"))
    table = read_parquet(out / "transfer.parquet")
    assert set(table.method) == {"proxy", "calibrated", "roofline", "direct"}
    assert set(table.device) == {"small", "middle"}
    rows = measured_frame(("new",), 80, seed=5)
    write_parquet(tmp_path / "in.parquet", rows.drop(columns=["latency_ms"]))
    write_parquet(tmp_path / "few.parquet", rows.iloc[:40])
    files = (out, tmp_path / "in.parquet", Path(str(config.data.devices)))
    assert "1 never measured" in predict_file(*files, tmp_path / "zero.parquet")
    predict_file(*files, tmp_path / "few_shot.parquet", tmp_path / "few.parquet")
    errors = []
    for name in ("zero", "few_shot"):
        predicted = read_parquet(tmp_path / f"{name}.parquet")
        assert (predicted.latency_ms_low < predicted.latency_ms_pred).all()
        assert (predicted.latency_ms_pred < predicted.latency_ms_high).all()
        assert (predicted.mem_mb_pred > 0.0).all()
        errors.append(np.abs(np.log(predicted.latency_ms_pred[40:] / rows.latency_ms[40:])).median())
    assert errors[0] < 0.4
    assert errors[1] < errors[0]


def test_a_stopped_run_goes_on_where_it_was(config: ProxyConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_ms_mem(config, out)
    expected = read_parquet(out / "transfer.parquet")
    kept, lost = sorted(out.glob("left_out_*/*.parquet"))
    lost.unlink()
    before = kept.stat().st_mtime_ns
    run_ms_mem(config, out)
    assert kept.stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(expected, read_parquet(out / "transfer.parquet"))


def test_predictions_of_other_code_are_not_taken_up(
    config: ProxyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ms_mem(config, tmp_path)
    monkeypatch.setattr(proxy_run, "sources_digest", lambda module: f"{module}, edited")
    run_ms_mem(config, tmp_path)
    assert len([*tmp_path.glob("left_out_*")]) == 2


def test_one_device_is_a_stated_fallback(config: ProxyConfig, tmp_path: Path) -> None:
    write_parquet(tmp_path / "one.parquet", measured_frame(("small",), 150))
    alone = config.model_copy(
        update={"data": config.data.model_copy(update={"layer_latency": str(tmp_path / "one.parquet")})}
    )
    assert "not assessed" in run_ms_mem(alone, tmp_path / "out")
    assert not (tmp_path / "out" / "transfer.parquet").exists()
    assert "no measured models" in run_power(alone, tmp_path / "power", tmp_path / "out")


def test_missing_tables_and_specs_are_named(config: ProxyConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.layer_latency"):
        run_ms_mem(ProxyConfig(), tmp_path / "out")
    device_frame(("small",)).to_csv(str(config.data.devices), index=False)
    with pytest.raises(DataError, match="device middle has no row"):
        run_ms_mem(config, tmp_path / "out")
