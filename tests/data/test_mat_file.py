"""Arrays from MATLAB files of every kind, and the ones that cannot be read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from pipeline.data.mat_file import ColumnsInFile, open_mat_array, read_mat_values
from pipeline.errors import DataError

ARRAY = np.arange(-300, 300, dtype=np.int16).reshape(4, 150)


def read(path, name="EEG"):
    with open_mat_array(path, name) as array:
        return array[0 : array.shape[0], 0 : array.shape[1]], array[1:3, 20:50]


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["EEG", "a_longer_name"])
def test_version_5(tmp_path, dtype, compressed, name):
    path = tmp_path / "x.mat"
    others = {"before": np.ones((7, 3)), "text": "hello", name: ARRAY.astype(dtype)}
    savemat(path, others, do_compression=compressed)
    whole, part = read(path, name)
    assert np.array_equal(whole, ARRAY)
    assert np.array_equal(part, ARRAY[1:3, 20:50])


def test_an_uncompressed_array_is_read_in_slices(tmp_path):
    savemat(tmp_path / "x.mat", {"EEG": ARRAY})
    with open_mat_array(tmp_path / "x.mat", "EEG") as array:
        assert isinstance(array, ColumnsInFile)
        assert np.array_equal(array[0:4, 10:999], ARRAY[:, 10:])
        assert np.array_equal(array[2:3, :], ARRAY[2:3])


def test_version_7_3_has_its_axes_exchanged_back(tmp_path):
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["EEG"] = ARRAY.T
        file["fs"] = [[512.0]]
    whole, part = read(path)
    assert np.array_equal(whole, ARRAY)
    assert np.array_equal(part, ARRAY[1:3, 20:50])
    assert read_mat_values(path, "fs").tolist() == [512.0]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_short_is_an_error(tmp_path, compressed):
    path = tmp_path / "x.mat"
    savemat(path, {"EEG": np.random.default_rng(0).standard_normal((50, 2000))}, do_compression=compressed)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"x\.mat: .*cut short|x\.mat: not a readable"):
        read(path)


def test_a_7_3_file_cut_short_is_an_error(tmp_path):
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["EEG"] = ARRAY.T
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match="cut short"):
        read(path)


def test_a_missing_field_is_named_with_what_is_there(tmp_path):
    savemat(tmp_path / "x.mat", {"data": ARRAY, "fs": 512})
    with pytest.raises(DataError, match="lacks 'EEG'; it has data, fs"):
        read(tmp_path / "x.mat")


@pytest.mark.parametrize("value", ["text", np.ones((2, 3, 4)), {"a": 1}, np.ones((3, 3)) * 1j])
def test_what_is_no_table_of_numbers_is_an_error(tmp_path, value):
    savemat(tmp_path / "x.mat", {"EEG": value})
    with pytest.raises(DataError, match="expected numbers in two axes"):
        read(tmp_path / "x.mat")


def test_other_bytes_are_an_error(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"no such format" * 40)
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        read(tmp_path / "x.mat")
