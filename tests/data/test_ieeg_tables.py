"""Tables of single-channel records and one-record files; the real ones where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import ieeg_samples as samples
import numpy as np
import pandas as pd
import pytest

from pipeline.data.ieeg_layout import patients_of
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.data.swec import build_patient, join_patients
from pipeline.errors import DataError


def build(tmp_path, raw, **changes):
    config = samples.data_config(tmp_path / "out", **changes)
    (patient,) = patients_of(raw)
    build_patient(raw, patient, config)
    join_patients(raw, tmp_path / "out", [patient])
    return pd.read_parquet(tmp_path / "out" / "index.parquet")


def table(tmp_path, **changes):
    fields = {
        "x": np.random.default_rng(0).integers(-99, 99, (24, 700)).astype(np.int16),
        "y": np.repeat([0, 0, 1], 8),
        "record": np.array([f"{name}{number}.txt" for number, name in enumerate("N" * 8 + "F" * 8 + "S" * 8)]),
        "set": np.repeat(["N", "F", "S"], 8),
        "fs": np.array([173.61], np.float32),
    }
    path = tmp_path / "records.npz"
    np.savez(path, **{name: value for name, value in (fields | changes).items() if value is not None})
    return path


BONN = {"sample_rate_hz": 173.61, "stride_s": 0.5, "guard_s": 0.0}


def test_records_stay_whole_and_every_set_is_in_every_split(tmp_path):
    index = build(tmp_path, table(tmp_path), **BONN)
    assert index.groupby("recording")["split"].nunique().eq(1).all()
    assert index.groupby("recording")["label"].nunique().eq(1).all()
    sets = index.assign(set=index["recording"].str[0]).groupby("split")["set"].nunique()
    assert sets.eq(3).all()
    assert len(sets) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, "a table needs x, fs and y"),
        ({"y": None}, "a table needs x, fs and y"),
        ({"y": np.zeros(5)}, "does not give 0 or 1 for each of 24 records"),
        ({"y": np.full(24, 2)}, "does not give 0 or 1"),
        ({"x": np.zeros((2, 3, 4))}, "expected 2-D numbers"),
        ({"fs": np.array([0.0])}, "fs=0; expected samples per second"),
        ({"record": np.array(["a"] * 24)}, "do not name each of 24 records once"),
    ],
)
def test_a_bad_table_is_an_error(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        build(tmp_path, table(tmp_path, **changes), **BONN)


def test_a_table_with_pickled_objects_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a readable NPZ table"):
        build(tmp_path, table(tmp_path, set=np.array([{}] * 24, dtype=object)), **BONN)


def test_a_record_is_labelled_from_its_onset_at_time_zero(tmp_path):
    path = tmp_path / "one.npz"
    signal = np.random.default_rng(0).standard_normal((5, 2048)).astype(np.float32)
    np.savez(path, x=signal, t=np.arange(2048) / 512 - 2.0, fs=512.0, channel=list("abcde"))
    index = build(tmp_path, path, splits="shared", guard_s=0.0)
    train = index[index["split"] == "train"]
    assert train.set_index("start_s")["label"].to_dict() == {0.0: 0, 1.0: 0, 2.0: 1, 3.0: 1}
    np.savez(path, x=signal, t=np.arange(2048) / 512 + 2.0, fs=512.0)
    with pytest.raises(DataError, match="the onset t = 0 lies outside"):
        build(tmp_path, path, splits="shared")


@pytest.fixture
def eeg_folder():
    root = os.environ.get("REFERENCE_DATA")
    if not root or not (Path(root) / "eeg").is_dir():
        pytest.skip("set REFERENCE_DATA to the folder of reference recordings")
    return Path(root) / "eeg"


@pytest.mark.slow
@pytest.mark.reference_data
def test_the_bonn_table_keeps_its_samples(tmp_path, eeg_folder):
    index = build(tmp_path, eeg_folder / "bonn.npz", **(BONN | {"stride_s": 2.949}))
    assert len(index) == 350 * 8
    assert index["label"].sum() == 70 * 8
    with np.load(eeg_folder / "bonn.npz") as source:
        row = 290
        name, signal = Path(str(source["record"][row])).stem, source["x"][row]
    windows = np.load(tmp_path / "out" / "windows" / "bonn" / f"{name}.npy")
    assert np.array_equal(windows[1, 0], signal[512:1024].astype(np.float32))


@pytest.mark.reference_data
def test_the_ecog_record_resampled_here_is_the_one_resampled_elsewhere(tmp_path, eeg_folder):
    build(tmp_path, eeg_folder / "ds003029_pt01_ecog.npz", splits="shared", guard_s=0.0, stride_s=0.25)
    windows = np.load(tmp_path / "out" / "windows" / "ds003029_pt01_ecog" / "record.npy")
    with np.load(eeg_folder / "ds003029_pt01_ecog.npz") as source:
        whole = source["x_512hz"]
    np.testing.assert_allclose(windows[2], whole[:, 256:768], atol=1e-3 * np.abs(whole).max())
    reader = IeegWindows(tmp_path / "out", "ds003029_pt01_ecog", "train")
    assert reader[0]["channel_mask"].sum() == 84
