"""Recordings of every format become the same windows, and whatever is wrong is said or counted."""

from __future__ import annotations

import h5py
import ieeg_samples as samples
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from pipeline.artifacts import read_npy
from pipeline.data.ieeg_layout import find_recording_files, patients_of, unrecognised_files, windows_path
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.data.swec import TABLES, build_patient, join_patients
from pipeline.errors import DataError

RECORDINGS = 6
SIGNALS = [samples.noise(seed=number) for number in range(RECORDINGS)]


def build(tmp_path, raw, **changes):
    """Build all patients of `raw`; the tables by name."""
    config = samples.data_config(tmp_path / "out", **changes)
    patients = patients_of(raw, config.leave_out)
    for patient in patients:
        build_patient(raw, patient, config)
    join_patients(raw, tmp_path / "out", patients)
    return {name: pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in TABLES}


def short_term(tmp_path, signals=SIGNALS, **options):
    return samples.write_short_term(tmp_path / "raw", signals, **options)


@pytest.mark.parametrize("write", [samples.write_short_term, samples.write_long_term, samples.write_hdf5])
def test_every_format_gives_the_same_windows_and_labels(tmp_path, write):
    raw = write(tmp_path / "raw", SIGNALS)
    tables = build(tmp_path, raw)
    patient = tables["index"]["patient"].iloc[0]
    names = list(dict.fromkeys(tables["index"]["recording"]))
    assert len(names) == RECORDINGS
    for name, signal in zip(names, SIGNALS, strict=True):
        rows = tables["index"].query("recording == @name")
        windows = read_npy(windows_path(tmp_path / "out", patient, name))
        assert windows.dtype == np.int16
        for row, start_s in zip(rows["row"], rows["start_s"], strict=True):
            start = round(start_s * samples.RATE_HZ)
            assert np.array_equal(windows[row], signal[:, start : start + 512])
        ictal = rows.loc[rows["label"] == 1, "start_s"].tolist()
        assert ictal == [6.0, 7.0, 8.0, 9.0]
        assert rows.loc[rows["label"] == 0, "start_s"].tolist() == [0.0, 1.0, 2.0, 3.0, 12.0, 13.0, 14.0, 15.0]
    annotations = tables["annotations"]
    assert annotations["onset_s"].tolist() == [6.0] * RECORDINGS
    assert annotations["offset_s"].tolist() == [10.0] * RECORDINGS
    assert tables["recordings"]["n_guard"].tolist() == [4] * RECORDINGS


def test_splits_are_whole_recordings_in_order_of_time(tmp_path):
    tables = build(tmp_path, short_term(tmp_path))
    splits = tables["recordings"]["split"].tolist()
    assert splits == ["train", "train", "val", "calibration", "test", "test"] or splits == sorted(
        splits, key=["train", "val", "calibration", "test"].index
    )
    merged = tables["index"].merge(tables["recordings"][["recording", "split"]], on="recording")
    assert (merged["split_x"] == merged["split_y"]).all()


def test_the_reader_standardises_pads_and_masks(tmp_path):
    build(tmp_path, short_term(tmp_path))
    windows = IeegWindows(tmp_path / "out", "ID1", "train")
    signals, labels = windows.arrays()
    assert signals.shape == (len(windows), 128, 512)
    interictal = signals[labels == 0][:, :3]
    np.testing.assert_allclose(interictal.mean((0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(interictal.std((0, 2)), 1, atol=1e-4)
    assert not signals[:, 3:].any()
    item = windows[5]
    assert item["channel_mask"].tolist() == [True] * 3 + [False] * 125
    assert np.array_equal(item["signal"].numpy(), signals[5])
    assert (item["recording"], item["label"]) == ("Sz1", labels[5])
    with pytest.raises(DataError, match="no windows of patient ID9"):
        IeegWindows(tmp_path / "out", "ID9", "train")


def test_1024_hz_is_brought_to_512(tmp_path):
    slow = [np.repeat(signal, 2, axis=1) for signal in SIGNALS]
    tables = build(tmp_path, samples.write_long_term(tmp_path / "raw", slow, fs=1024.0))
    assert tables["recordings"]["duration_s"].tolist() == [16.0] * RECORDINGS
    assert tables["recordings"]["sample_rate_hz"].tolist() == [1024.0] * RECORDINGS
    windows = read_npy(windows_path(tmp_path / "out", "ID01", "1h"))
    assert windows.shape == (12, 3, 512)
    with pytest.raises(DataError, match=r"recorded at 256 Hz, below data\.sample_rate_hz=512"):
        build(tmp_path / "b", samples.write_long_term(tmp_path / "b" / "raw", SIGNALS, fs=256.0), guard_s=0.0)


def test_a_second_build_cuts_nothing_again_and_a_new_file_only_itself(tmp_path):
    raw = short_term(tmp_path)
    first = build(tmp_path, raw)
    paths = [windows_path(tmp_path / "out", "ID1", f"Sz{number}") for number in range(1, RECORDINGS + 1)]
    before = [path.stat().st_mtime_ns for path in paths]
    second = build(tmp_path, raw)
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert all(first[name].equals(second[name]) for name in TABLES)
    savemat(raw / "ID1" / "Sz3.mat", {"EEG": samples.noise(seed=99).T})
    third = build(tmp_path, raw)
    after = [path.stat().st_mtime_ns for path in paths]
    assert [one != two for one, two in zip(before, after, strict=True)] == [number == 3 for number in range(1, 7)]
    fresh = build(tmp_path / "fresh", raw)
    assert all(third[name].equals(fresh[name]) for name in TABLES)


@pytest.mark.parametrize("killed_at", [1, 4])
def test_a_killed_build_ends_as_an_unbroken_one(tmp_path, monkeypatch, killed_at):
    import pipeline.data.swec as stage

    raw = short_term(tmp_path)
    whole = build(tmp_path / "whole", raw)
    cut, calls = stage.cut_recording, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) > killed_at:
            raise KeyboardInterrupt
        return cut(*arguments)

    monkeypatch.setattr(stage, "cut_recording", dying)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, raw)
    monkeypatch.setattr(stage, "cut_recording", cut)
    resumed = build(tmp_path, raw)
    assert all(whole[name].equals(resumed[name]) for name in TABLES)


def test_a_file_of_the_other_orientation_is_refused(tmp_path):
    raw = short_term(tmp_path)
    savemat(raw / "ID1" / "Sz2.mat", {"EEG": SIGNALS[1]})
    with pytest.raises(DataError, match=r"Sz2\.mat: EEG is 3 x 8192; a short-term file is samples x electrodes"):
        build(tmp_path, raw)
    long_raw = samples.write_long_term(tmp_path / "long", SIGNALS)
    savemat(long_raw / "ID01" / "ID01_2h.mat", {"EEG": SIGNALS[1].T})
    with pytest.raises(DataError, match=r"2h\.mat: EEG is 8192 x 3; a long-term file is electrodes x samples"):
        build(tmp_path, long_raw)


def test_unusable_recordings_are_an_error_or_a_counted_exclusion(tmp_path):
    raw = short_term(tmp_path)
    (raw / "ID1" / "Sz2.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"1 of 6 recordings cannot be used \(data\.max_bad_share=0\).*Sz2\.mat"):
        build(tmp_path, raw)
    tables = build(tmp_path, raw, max_bad_share=0.2)
    bad = tables["recordings"].query("status == 'bad'")
    assert bad["recording"].tolist() == ["Sz2"]
    assert "not a readable MATLAB file" in bad["message"].iloc[0]
    assert "Sz2" not in set(tables["index"]["recording"])


def test_another_number_of_electrodes_makes_a_recording_unusable(tmp_path):
    raw = short_term(tmp_path, [*SIGNALS[:5], samples.noise(channels=4, seed=9)])
    with pytest.raises(DataError, match=r"Sz6\.mat: has 4 electrodes, the patient's other recordings have 3"):
        build(tmp_path, raw)


def test_flat_and_nan_electrodes_are_left_out_and_said(tmp_path):
    signals = [signal.astype(np.float64) for signal in [samples.noise(channels=5, seed=s) for s in range(RECORDINGS)]]
    signals[4][1] = 7.0
    signals[2][3, 1000:3000] = np.nan
    tables = build(tmp_path, short_term(tmp_path, signals))
    channels = tables["channels"].set_index("channel")
    assert channels["usable"].tolist() == [True, False, True, False, True]
    assert channels["reason"][1] == "flat in Sz5"
    assert "NaN in" in channels["reason"][3]
    assert tables["recordings"]["n_nan"].sum() == 0
    windows = IeegWindows(tmp_path / "out", "ID1", "val")
    signals_read, _ = windows.live_arrays()
    assert np.isfinite(signals_read).all()
    assert not signals_read[:, [1, 3]].any()


def test_windows_with_nan_of_a_usable_electrode_are_counted_and_left_out(tmp_path):
    signals = [signal.astype(np.float64) for signal in SIGNALS]
    signals[2][0, 700] = np.nan
    tables = build(tmp_path, short_term(tmp_path, signals), max_nan_share=0.2)
    assert tables["recordings"]["n_nan"].tolist() == [0, 0, 1, 0, 0, 0]
    rows = tables["index"].query("recording == 'Sz3'")
    assert 1.0 not in rows["start_s"].tolist()
    assert len(rows) == 11
    assert tables["channels"]["usable"].all()


def test_more_than_128_electrodes_are_counted_and_fewer_are_padded(tmp_path):
    signals = [samples.noise(channels=131, seed=number) for number in range(4)]
    tables = build(tmp_path, short_term(tmp_path, signals))
    left_out = tables["channels"].query("not usable")
    assert left_out["channel"].tolist() == [128, 129, 130]
    assert set(left_out["reason"]) == {"beyond the 128 channels of the models"}
    item = IeegWindows(tmp_path / "out", "ID1", "test")[0]
    assert item["channel_mask"].all()


def test_too_few_seizures_are_an_error_with_a_mend_that_works(tmp_path):
    raw = short_term(tmp_path)
    samples.write_short_term(raw, SIGNALS[:3], patient="ID2")
    with pytest.raises(DataError, match=r"patient ID2: seizures that count in 3 .*data\.leave_out"):
        build(tmp_path, raw)
    tables = build(tmp_path, raw, leave_out=["ID2"])
    assert set(tables["index"]["patient"]) == {"ID1"}
    with pytest.raises(DataError, match="ID7 is no patient"):
        build(tmp_path, raw, leave_out=["ID7"])


def test_a_split_without_an_interictal_window_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no interictal window in split"):
        build(tmp_path, short_term(tmp_path), guard_s=30.0)


def test_a_short_term_file_shorter_than_its_margins_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"lasts 16 s, no longer than two margins of data\.short_term_margin_s=180"):
        build(tmp_path, short_term(tmp_path), short_term_margin_s=180.0)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"fs": None}, "lacks 'fs'"),
        ({"fs": 0.0}, "fs=0; expected samples per second"),
        ({"seizure_begin": [5.0]}, "1 seizure begins but 6 ends"),
        ({"seizure_begin": [9.0], "seizure_end": [3.0]}, "from 9 s to 3 s; expected 0 <= begin < end"),
        ({"seizure_begin": [20.0], "seizure_end": [30.0]}, r"lies outside the recording: ID01_1h\.mat ends at 16 s"),
        ({"seizure_begin": [np.nan], "seizure_end": [3.0]}, "from nan s"),
    ],
)
def test_a_bad_info_file_is_an_error(tmp_path, info, message):
    with pytest.raises(DataError, match=message):
        build(tmp_path, samples.write_long_term(tmp_path / "raw", SIGNALS, **info))


def test_a_missing_info_file_is_an_error(tmp_path):
    raw = samples.write_long_term(tmp_path / "raw", SIGNALS)
    (raw / "ID01" / "ID01_info.mat").unlink()
    with pytest.raises(DataError, match=r"ID01_info\.mat: no such file; long-term recordings need it"):
        build(tmp_path, raw)


def test_a_truncated_part_is_an_error_or_a_counted_exclusion(tmp_path):
    raw = samples.write_hdf5(tmp_path / "raw", SIGNALS)
    part = raw / "ID01" / "ID01_part_2.h5"
    part.write_bytes(part.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"ID01_part_2\.h5: .*cut short"):
        build(tmp_path, raw)
    tables = build(tmp_path, raw, max_bad_share=0.2)
    assert tables["recordings"].query("status == 'bad'")["recording"].tolist() == ["part_2"]
    assert tables["annotations"].query("recording == 'part_3'")["onset_s"].tolist() == [6.0]


@pytest.mark.parametrize(
    ("seizures", "message"),
    [([(500.0, 510.0)], "lies outside the recording of 96 s"), ([(90.0, 80.0)], "expected 0 <= begin < end")],
)
def test_hdf5_annotations_must_lie_inside(tmp_path, seizures, message):
    with pytest.raises(DataError, match=message):
        build(tmp_path, samples.write_hdf5(tmp_path / "raw", SIGNALS, seizures=seizures))


def test_an_hdf5_file_without_signal_or_annotations_is_an_error(tmp_path):
    raw = samples.write_hdf5(tmp_path / "raw", SIGNALS)
    total = raw / "ID01" / "ID01_total.h5"
    with h5py.File(total, "a") as file:
        del file["annotations"]
    with pytest.raises(DataError, match=r"no seizure annotations found among data, data/ieeg"):
        build(tmp_path, raw)
    total.unlink()
    with pytest.raises(DataError, match=r"ID01_total\.h5: no such file"):
        build(tmp_path, raw)
    other = samples.write_hdf5(tmp_path / "other", SIGNALS)
    with h5py.File(other / "ID01" / "ID01_part_1.h5", "a") as file:
        file.move("data/ieeg", "data/eeg")
    with pytest.raises(DataError, match=r"part_1\.h5: lacks 'data/ieeg'; it has data, data/eeg"):
        build(tmp_path, other)


@pytest.mark.parametrize("layout", ["compound", "columns", "durations"])
def test_hdf5_annotations_in_other_shapes_are_found(tmp_path, layout):
    raw = samples.write_hdf5(tmp_path / "raw", SIGNALS)
    onset = np.arange(RECORDINGS) * 16.0 + 6.0
    with h5py.File(raw / "ID01" / "ID01_total.h5", "a") as file:
        del file["annotations"]
        if layout == "compound":
            types = [("seizure_onset", "f8"), ("seizure_offset", "f8")]
            file["seizures"] = np.array(list(zip(onset, onset + 4, strict=True)), types)
        elif layout == "columns":
            file["data/annotations"] = np.stack([onset, onset + 4], axis=1)
        else:
            file["events/start"], file["events/duration"] = onset, np.full(RECORDINGS, 4.0)
    assert build(tmp_path, raw)["annotations"]["offset_s"].tolist() == [10.0] * RECORDINGS


def test_followers_of_a_cluster_are_left_out_and_counted(tmp_path):
    long = samples.noise(seed=50, duration_s=60.0)
    begins = [3600.0 * hour + 6 for hour in range(RECORDINGS)] + [3600.0 * RECORDINGS + start for start in (6, 20, 34)]
    info = {"seizure_begin": begins, "seizure_end": [begin + 4 for begin in begins]}
    raw = samples.write_long_term(tmp_path / "raw", [*SIGNALS, long], **info)
    tables = build(tmp_path, raw, cluster_gap_s=15.0)
    own = tables["annotations"].query("recording == '7h'")
    assert own["counts"].tolist() == [True, False, False]
    index = tables["index"].query("recording == '7h'")
    assert index.loc[index["label"] == 1, "start_s"].tolist() == [6.0, 7.0, 8.0, 9.0]
    assert not ((index["start_s"] > 9) & (index["start_s"] < 40)).any()
    assert tables["recordings"].query("recording == '7h'")["n_cluster"].tolist() == [30]


def test_a_seizure_across_two_files_is_one_seizure(tmp_path):
    part = samples.noise(duration_s=20.0)
    signals = [samples.noise(duration_s=20.0, seed=number) for number in range(10)]
    seizures = [(40.0 * pair + 16, 40.0 * pair + 24) for pair in range(5)]
    raw = samples.write_hdf5(tmp_path / "raw", signals or [part], seizures=seizures)
    tables = build(tmp_path, raw, cluster_gap_s=20.0)
    assert tables["annotations"]["counts"].all()
    splits = tables["recordings"]["split"].tolist()
    assert all(splits[2 * pair] == splits[2 * pair + 1] for pair in range(5))
    assert tables["recordings"]["n_ictal"].tolist() == [4] * 10


def test_thinning_spares_calibration_and_test(tmp_path):
    tables = build(tmp_path, short_term(tmp_path), interictal_share=0.5)
    counts = tables["index"].query("label == 0").groupby("split").size() / tables["recordings"].groupby("split").size()
    assert counts.to_dict() == {"train": 4, "val": 4, "calibration": 8, "test": 8}
    assert tables["index"].query("label == 1").groupby("recording").size().eq(4).all()


def test_shared_splits_read_everything(tmp_path):
    tables = build(tmp_path, short_term(tmp_path, SIGNALS[:1]), splits="shared")
    sizes = tables["index"].groupby("split").size()
    assert sizes.to_dict() == {"train": 12, "val": 12, "calibration": 12, "test": 12}


def test_folders_without_or_with_contradictory_recordings_are_errors(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        find_recording_files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no recording; expected ID1/Sz1"):
        find_recording_files(tmp_path / "empty")
    raw = samples.write_hdf5(samples.write_long_term(tmp_path / "raw", SIGNALS), SIGNALS)
    with pytest.raises(DataError, match="patient ID01: files of two formats"):
        find_recording_files(raw)


def test_files_that_are_no_recordings_are_named(tmp_path):
    raw = samples.write_long_term(tmp_path / "raw", SIGNALS)
    (raw / "notes.txt").write_text("x")
    assert [path.name for path in unrecognised_files(raw)] == ["notes.txt"]
