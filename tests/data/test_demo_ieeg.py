"""Generated recordings: real file formats, repeatable, and informative where the truth table says so."""

from __future__ import annotations

import filecmp

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from pipeline.config.cascade import CascadeDataConfig, RecordingsDemoConfig
from pipeline.data.demo_ieeg import join_truth, write_demo_patient
from pipeline.data.demo_ieeg_signal import demo_patients, demo_recording
from pipeline.data.ieeg_layout import demo_patient_names, find_recording_files, patients_of
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.data.swec import build_patient, join_patients
from pipeline.errors import ConfigError

CONFIG = RecordingsDemoConfig(patients=3, recordings=8, margin_s=12.0, seizure_s=10.0, channels=10)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    names = demo_patient_names(CONFIG.patients)
    for name in reversed(names):
        write_demo_patient(root / "raw", CONFIG, name)
    join_truth(root / "raw", names)
    settings = {"root": str(root / "out"), "short_term_margin_s": 12.0, "guard_s": 2.0, "cluster_gap_s": 20.0}
    for name in names:
        build_patient(root / "raw" / "recordings", name, CascadeDataConfig(**settings))
    join_patients(root / "raw" / "recordings", root / "out", names)
    return root


def rhythm_auc(signals, labels):
    value = (np.abs(np.fft.rfft(signals, axis=-1)) ** 2)[..., 4:13].sum(-1)
    positives = labels.sum()
    ranks = rankdata(value, axis=0)[labels == 1].sum(0)
    return (ranks - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))


def test_patients_are_found_by_name_in_all_three_formats(demo):
    assert patients_of(demo / "raw" / "recordings") == demo_patient_names(3) == ["ID1", "ID02", "ID03"]
    found = find_recording_files(demo / "raw" / "recordings")
    assert [files[0].file_format for files in found.values()] == ["short_term", "long_term", "hdf5"]


def test_the_same_settings_give_the_same_files(demo, tmp_path):
    write_demo_patient(tmp_path, CONFIG, "ID1")
    compared = filecmp.dircmp(tmp_path / "recordings" / "ID1", demo / "raw" / "recordings" / "ID1")
    assert len(compared.common_files) == CONFIG.recordings
    signals = [demo_recording(demo_patients(CONFIG)[0], 3, CONFIG).signal_uv for _ in range(2)]
    assert np.array_equal(*signals)
    other = demo_recording(demo_patients(CONFIG.model_copy(update={"seed": 1}))[0], 3, CONFIG)
    assert not np.array_equal(signals[0][:, :512], other.signal_uv[:, :512])


def test_the_focus_separates_best_and_decoys_do_not(demo):
    truth = pd.read_parquet(demo / "raw" / "truth.parquet")
    for patient, own in truth.groupby("patient"):
        assert own["best"].sum() == 1
        windows = IeegWindows(demo / "out", str(patient), "train")
        signals, labels = windows.live_arrays()
        auc = rhythm_auc(signals, labels)
        focus, decoys = own.loc[own["best"], "channel"].item(), own.query("role in ('rhythmic', 'loud')")["channel"]
        assert np.argmax(auc) in own.loc[own["informative"], "channel"].to_list()
        assert auc[focus] > 0.9
        assert (np.abs(auc[decoys] - 0.5) < 0.25).all()


def test_loud_electrodes_are_loud_and_bursting_ones_look_like_seizures(demo):
    patient = demo_patients(CONFIG)[0]
    signal = demo_recording(patient, 0, CONFIG).signal_uv[:, : 10 * 512]
    power = np.array([signal[channel].std() for channel in range(len(signal))])
    assert power[patient.channels_of("loud")].min() > 2 * np.median(power)
    assert len(patient.channels_of("rhythmic")) > 0


def test_the_long_term_patient_shows_what_the_loaders_must_handle(demo):
    recordings = pd.read_parquet(demo / "out" / "recordings.parquet").query("patient == 'ID02'")
    assert set(recordings["sample_rate_hz"]) == {1024.0}
    assert recordings["n_cluster"].sum() > 0
    assert (recordings["n_ictal"] == 0).any()
    channels = pd.read_parquet(demo / "out" / "channels.parquet").query("patient == 'ID02'")
    assert channels.loc[~channels["usable"], "reason"].tolist() == ["flat in 1h"]


def test_every_split_has_seizures(demo):
    index = pd.read_parquet(demo / "out" / "index.parquet")
    assert index.groupby(["patient", "split"])["label"].sum().min() > 0


def test_an_unknown_patient_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="the demo has ID1, ID02, ID03"):
        write_demo_patient(tmp_path, CONFIG, "ID9")
