"""The dataset and its loader: samples, determinism, controls, and clear refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import default_collate

from pipeline.data.frames import extract_shard, merge_manifest, pack_tree
from pipeline.data.packed import MAX_OPEN_MAPS, MappedArrays
from pipeline.data.sound_table import derangement
from pipeline.data.splits import time_range
from pipeline.data.ucf101 import UCF101Dataset, collate_clips, make_loader
from pipeline.errors import ConfigError, DataError
from pipeline.sources import sources

SPLITS = ("train", "val", "test")


@pytest.fixture
def copy_of(data_root, tmp_path) -> Path:
    """A data folder that a test may damage."""
    shutil.copytree(data_root, tmp_path / "root")
    return tmp_path / "root"


def equal(one: dict, other: dict) -> bool:
    assert one.keys() == other.keys()
    return all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key]
        for key in one
    )


def test_splits_are_the_lists_with_the_highest_group_carved_out(data_root, make_cfg):
    train, val, test = (UCF101Dataset(make_cfg(data_root), split) for split in SPLITS)
    assert [sorted(set(d.videos["group"])) for d in (train, val, test)] == [[2, 3], [4], [1]]
    assert [len(d.videos) for d in (train, val, test)] == [4, 2, 2]
    assert train.class_names == ["Jump", "Wave"]
    assert train.num_classes == 2
    for dataset in (train, val, test):
        assert [dataset.class_names[label] for label in dataset.videos["label"]] == list(dataset.videos["class"])
    assert len(UCF101Dataset(make_cfg(data_root, data__val_groups=0), "val")) == 0


def test_a_sample_holds_the_frames_and_sound_it_says(data_root, make_cfg):
    dataset = UCF101Dataset(make_cfg(data_root, data__use_audio=True, data__input="raw"), "test")
    for index in range(len(dataset)):
        sample, plan = dataset[index], dataset.plan(index)
        row, window = dataset.videos.iloc[plan.video], dataset.windows.iloc[index]
        assert plan.frame_ids[0] == window["start"]
        assert sample["video_id"] == row["video_id"]
        assert sample["label"] == row["label"]
        packed = np.load(data_root / f"packed/{row['video_id']}.npy")
        expected = packed[plan.frame_ids][:, 2:34, 8:40].transpose(0, 3, 1, 2) / 127.5 - 1
        assert sample["video"].shape == (8, 3, 32, 32)
        assert sample["video"].dtype == torch.float32
        np.testing.assert_allclose(sample["video"], expected, atol=1e-6)
        features = np.load(data_root / f"audio/{row['video_id']}.npy")
        np.testing.assert_array_equal(sample["audio"], features[plan.frame_ids])
        assert sample["has_audio"] == features.any() == row["has_audio"]


@pytest.mark.parametrize("kind", ["raw", "minus_clip_mean"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_batched_path_gives_bitwise_the_same(data_root, make_cfg, kind, split):
    dataset = UCF101Dataset(make_cfg(data_root, data__use_audio=True, data__input=kind), split)
    dataset.set_epoch(3)
    indices = list(range(len(dataset)))[:40]
    batch = collate_clips(dataset.__getitems__(indices))
    samples = [dataset[index] for index in indices]
    assert equal(batch, default_collate(samples))
    assert equal(batch, collate_clips(samples))
    assert batch["video"].is_contiguous()
    assert (batch["label"].dtype, batch["has_audio"].dtype) == (torch.int64, torch.bool)


def test_minus_clip_mean_leaves_what_moves(data_root, make_cfg):
    raw, moving = (UCF101Dataset(make_cfg(data_root, data__input=k), "train") for k in ("raw", "minus_clip_mean"))
    for index in (0, 5, 9):
        clip = raw[index]["video"]
        torch.testing.assert_close(moving[index]["video"], 2 * (clip - clip.mean(dim=0)), atol=1e-6, rtol=0)
        assert moving[index]["video"].mean(dim=0).abs().max() < 1e-6


def test_training_varies_by_epoch_and_seed_and_repeats(data_root, make_cfg):
    one = UCF101Dataset(make_cfg(data_root), "train")
    first = [one[i]["video"] for i in range(len(one))]
    one.set_epoch(1)
    second = [one[i]["video"] for i in range(len(one))]
    one.set_epoch(0)
    again = [one[i]["video"] for i in reversed(range(len(one)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    plans = [one.plan(i) for i in range(len(one))]
    assert {plan.flip for plan in plans} == {False, True}
    assert len({plan.top for plan in plans}) > 1
    assert all(0 <= plan.top <= 4 and 0 <= plan.left <= 16 for plan in plans)


def test_evaluation_is_fixed(data_root, make_cfg):
    dataset = UCF101Dataset(make_cfg(data_root), "val")
    before = [dataset.plan(i) for i in range(len(dataset))]
    dataset.set_epoch(7)
    for index, plan in enumerate(before):
        now = dataset.plan(index)
        assert (now.top, now.left, now.flip) == (plan.top, plan.left, False) == (2, 8, False)
        np.testing.assert_array_equal(now.frame_ids, plan.frame_ids)


def test_mirroring_is_the_only_difference_it_makes(data_root, make_cfg):
    plain, mirrored = (
        UCF101Dataset(make_cfg(data_root, data__horizontal_flip=flip), "train") for flip in (False, True)
    )
    flips = [mirrored.plan(i).flip for i in range(len(mirrored))]
    for index, flip in enumerate(flips):
        clip = plain[index]["video"]
        assert torch.equal(mirrored[index]["video"], clip.flip(-1) if flip else clip)
    assert len(flips) > sum(flips) > 0


@pytest.mark.parametrize("epoch", [None, 2])
def test_workers_do_not_change_anything(data_root, make_cfg, epoch):
    batches = []
    for workers in (0, 2):
        cfg = make_cfg(data_root, data__num_workers=workers, data__use_audio=True)
        batches.append(list(make_loader(UCF101Dataset(cfg, "train"), epoch)))
    assert len(batches[0]) == len(batches[1]) > 2
    assert all(equal(one, two) for one, two in zip(*batches, strict=True))


def test_epoch_order(data_root, make_cfg):
    every = UCF101Dataset(make_cfg(data_root), "train")
    assert sorted(every.epoch_indices(0)) == list(range(len(every)))
    assert every.epoch_indices(0).tolist() == every.epoch_indices(0).tolist() != every.epoch_indices(1).tolist()
    few = UCF101Dataset(make_cfg(data_root, data__windows_per_video=2), "train")
    drawn: set[int] = set()
    for epoch in range(30):
        indices = few.epoch_indices(epoch)
        owners = few.windows["video"].to_numpy()[indices]
        assert np.bincount(owners).tolist() == [2] * len(few.videos)
        assert len(set(indices.tolist())) == len(indices)
        drawn |= set(indices.tolist())
    assert drawn == set(range(len(few))), "over epochs every window is drawn"
    most = UCF101Dataset(make_cfg(data_root, data__windows_per_video=1000), "train")
    assert sorted(most.epoch_indices(0)) == list(range(len(most)))


def test_scales_are_drawn_alike_however_many_windows_they_have(data_root, make_cfg):
    cfg = make_cfg(data_root, data__windows_per_video=1, data__clip_lens=[2, 8])
    dataset = UCF101Dataset(cfg, "train")
    scale = dataset.windows["cover_len"].to_numpy()
    assert (scale == 2).sum() > 2 * (scale == 8).sum()
    drawn = np.concatenate([scale[dataset.epoch_indices(epoch)] for epoch in range(200)])
    assert abs((drawn == 2).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(drawn))


def test_ranks_share_every_batch(data_root, make_cfg):
    dataset = UCF101Dataset(make_cfg(data_root), "train")
    whole = list(make_loader(dataset, 1).batch_sampler)
    parts = [list(make_loader(dataset, 1, rank, 2).batch_sampler) for rank in (0, 1)]
    assert len(whole) == len(parts[0]) == len(parts[1])
    for batch, one, two in zip(whole, *parts, strict=True):
        assert len(one) == len(two)
        assert set(batch) <= {*one, *two}
    seen = [i for rank in (0, 1) for batch in make_loader(dataset, None, rank, 2).batch_sampler for i in batch]
    assert sorted(seen) == list(range(len(dataset)))
    with pytest.raises(ConfigError, match=r"batch_size=4 is not a multiple of training\.devices=3"):
        make_loader(dataset, 0, 0, 3)


def test_splits_by_time_share_no_frame(data_root, make_cfg):
    cfg = make_cfg(data_root, data__splits="by_time", data__clip_lens=[4, 8], data__num_frames=4)
    for split in SPLITS:
        dataset = UCF101Dataset(cfg, split)
        assert len(dataset.videos) == 8
        for epoch in range(3):
            dataset.set_epoch(epoch)
            for index in range(len(dataset)):
                plan = dataset.plan(index)
                first, stop = time_range(int(dataset.videos["n_frames"][plan.video]), split)
                assert (plan.frame_ids >= first).all()
                assert (plan.frame_ids < stop).all()


def test_scrambled_labels_touch_training_only(data_root, make_cfg):
    for split in SPLITS:
        true, scrambled = (UCF101Dataset(make_cfg(data_root, data__labels=k), split) for k in ("true", "scrambled"))
        before, after = true.videos["label"].tolist(), scrambled.videos["label"].tolist()
        assert sorted(before) == sorted(after)
        assert split == "train" or before == after
    orders = set()
    for seed in range(8):
        cfg = make_cfg(data_root, data__labels="scrambled").model_copy(update={"seed": seed})
        dataset = UCF101Dataset(cfg, "train")
        assert [dataset[i]["label"] for i in range(len(dataset))] == [
            dataset.videos["label"][video] for video in dataset.windows["video"]
        ]
        orders.add(tuple(dataset.videos["label"]))
    assert len(orders) > 1


def test_shuffled_sound_is_always_anothers(data_root, make_cfg):
    for split in SPLITS:
        dataset = UCF101Dataset(make_cfg(data_root, data__use_audio=True, data__audio="shuffled"), split)
        arrays = {name: np.load(data_root / f"audio/{name}.npy") for name in dataset.videos["video_id"]}
        silent = {name for name, array in arrays.items() if not array.any()}
        for index in range(len(dataset)):
            sample, plan = dataset[index], dataset.plan(index)
            donors = {
                name
                for name, array in arrays.items()
                if np.array_equal(array[np.minimum(plan.frame_ids, len(array) - 1)], sample["audio"])
            }
            assert sample["video_id"] not in donors or sample["video_id"] in silent
            assert donors
            assert sample["has_audio"] == (not donors <= silent)


def test_shuffled_sound_of_an_only_video_is_none(copy_of, make_cfg, capsys):
    """Preset `clips` must work however few videos there are: one usable video has no other to take sound from."""
    manifest = pd.read_parquet(copy_of / "manifest.parquet")
    for name in set(manifest["video_id"]) - {"v_Jump_g01_c01"}:
        edit(copy_of / "manifest.parquet", name, status="bad", n_frames=0)
    options = {"data__use_audio": True, "data__splits": "by_time"}
    own = UCF101Dataset(make_cfg(copy_of, **options), "train")
    assert own[0]["has_audio"]
    assert own[0]["audio"].any()
    dataset = UCF101Dataset(make_cfg(copy_of, data__audio="shuffled", **options), "train")
    line = "data.audio=shuffled: v_Jump_g01_c01 is the only video of its split; it gets no sound\n"
    assert capsys.readouterr().out.count(line) == 1
    assert dataset.videos["has_audio"].tolist() == [False]
    assert len(dataset) > 0
    for index in range(len(dataset)):
        assert not dataset[index]["has_audio"]
        assert not dataset[index]["audio"].any()
    mean, std = dataset.audio_statistics()
    assert not mean.any()
    assert (std == 1).all()


def test_splits_and_sound_may_lie_elsewhere(copy_of, make_cfg, tmp_path):
    shutil.move(copy_of / "splits", tmp_path / "lists")
    shutil.move(copy_of / "audio", tmp_path / "sound/features")
    shutil.move(copy_of / "audio.parquet", tmp_path / "sound/audio.parquet")
    lists = tmp_path / "lists"
    moved = (lists / "trainlist01.txt").read_text().replace("Wave/v_Wave_g02_c01.avi 2\n", "")
    (lists / "trainlist01.txt").write_text(moved)
    roots = {"data__splits_root": str(lists), "data__audio_root": str(tmp_path / "sound/features")}
    dataset = UCF101Dataset(make_cfg(copy_of, data__use_audio=True, **roots), "train")
    assert sorted(dataset.videos["video_id"]) == ["v_Jump_g02_c01", "v_Jump_g03_c01", "v_Wave_g03_c01"]
    expected = np.load(tmp_path / "sound/features/v_Jump_g02_c01.npy")
    index = next(i for i in range(len(dataset)) if dataset[i]["video_id"] == "v_Jump_g02_c01")
    np.testing.assert_array_equal(dataset[index]["audio"], expected[dataset.plan(index).frame_ids])
    by_time = make_cfg(copy_of, data__splits="by_time", **roots)
    assert len(UCF101Dataset(by_time, "train").videos) == 8


@pytest.mark.parametrize("count", [0, 2, 3, 50])
def test_derangement(count):
    for seed in range(20):
        donor = derangement(count, np.random.SeedSequence(seed))
        assert sorted(donor) == list(range(count))
        assert (donor != np.arange(count)).all()
    with pytest.raises(ValueError, match="no other place"):
        derangement(1, np.random.SeedSequence(0))


def test_audio_statistics(data_root, make_cfg):
    cfg = make_cfg(data_root, data__use_audio=True)
    dataset = UCF101Dataset(cfg, "train")
    with_sound = dataset.videos.loc[dataset.videos["has_audio"], "video_id"]
    assert 0 < len(with_sound) < len(dataset.videos)
    frames = np.concatenate([np.load(data_root / f"audio/{name}.npy") for name in with_sound])
    mean, std = dataset.audio_statistics()
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-3)
    with pytest.raises(ValueError, match="training split"):
        UCF101Dataset(cfg, "test").audio_statistics()


def test_a_video_of_one_frame_repeats_it(copy_of, make_cfg):
    folder = copy_of / "frames/Wave/v_Wave_g02_c01"
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    repack(copy_of)
    dataset = UCF101Dataset(make_cfg(copy_of), "train")
    video = dataset.videos.index[dataset.videos["video_id"] == "v_Wave_g02_c01"][0]
    own = np.flatnonzero(dataset.windows["video"] == video)
    assert len(own) == 2, "one window per scale"
    for index in own:
        assert dataset.plan(int(index)).frame_ids.tolist() == [0] * 8


def repack(root: Path, short_side: int = 36) -> None:
    pack_tree(root, short_side, (0, 1))
    merge_manifest(root, 1)


def test_packed_cache_that_does_not_match(copy_of, make_cfg):
    path = copy_of / "packed/v_Jump_g01_c01.npy"
    np.save(path, np.load(path)[:-1])
    dataset = UCF101Dataset(make_cfg(copy_of), "test")
    message = r"v_Jump_g01_c01\.npy: is uint8 \(8, 36, 48, 3\).*\(9, 36, 48, 3\).*--from-frames --short-side 36"
    with pytest.raises(DataError, match=message):
        dataset[0]
    pack_tree(copy_of, 36, (0, 1))
    assert len(UCF101Dataset(make_cfg(copy_of), "test")[0]["video"]) == 8


def test_packed_cache_of_another_size_or_none(copy_of, make_cfg):
    other = UCF101Dataset(make_cfg(copy_of, data__short_side=72, data__image_size=64), "train")
    with pytest.raises(DataError, match=r"ask for uint8 .*--short-side 72"):
        other[0]
    (copy_of / "packed/v_Jump_g02_c01.npy").unlink()
    with pytest.raises(DataError, match=r"1 of 4 packed videos .* --from-frames --short-side 36"):
        UCF101Dataset(make_cfg(copy_of), "train")


@pytest.mark.parametrize(
    ("preset", "command"),
    [
        ("demo", "snakemake --cores all demo_data$"),
        ("tiny", "snakemake --cores all demo_data --config preset=tiny"),
        ("ucf101", r"python -m scripts\.extract_frames --raw"),
    ],
)
def test_missing_data_names_the_command_that_makes_them(tmp_path, make_cfg, preset, command):
    with pytest.raises(DataError, match=command):
        UCF101Dataset(make_cfg(tmp_path / "nowhere", preset), "train")


def test_listed_but_absent_videos(copy_of, make_cfg, capsys):
    path = copy_of / "splits/trainlist01.txt"
    path.write_text(path.read_text() + "Wave/v_Wave_g09_c01.avi 2\nWave/v_Wave_g02_c09.avi 2\n")
    with pytest.raises(DataError, match=r"2 of 10 listed videos .*v_Wave_g09_c01, v_Wave_g02_c09.*max_missing_share"):
        UCF101Dataset(make_cfg(copy_of), "train")
    dataset = UCF101Dataset(make_cfg(copy_of, data__max_missing_share=0.2), "train")
    assert "split train: 1 listed videos are absent: v_Wave_g02_c09" in capsys.readouterr().out
    assert len(dataset.videos) == 5, "g09 is now the validation group, so g04 trains"


def edit(path: Path, video_id: str, **values: object) -> None:
    table = pd.read_parquet(path)
    for column, value in values.items():
        table.loc[table["video_id"] == video_id, column] = value
    table.to_parquet(path)


def test_bad_videos_are_left_out_and_named(copy_of, make_cfg, capsys):
    edit(copy_of / "manifest.parquet", "v_Jump_g02_c01", status="bad", n_frames=0)
    dataset = UCF101Dataset(make_cfg(copy_of), "train")
    assert "v_Jump_g02_c01" not in set(dataset.videos["video_id"])
    assert "1 videos with status bad are left out: v_Jump_g02_c01" in capsys.readouterr().out
    for name in ("v_Jump_g01_c01", "v_Wave_g01_c01"):
        edit(copy_of / "manifest.parquet", name, status="bad", n_frames=0)
    with pytest.raises(DataError, match="the test split has no usable video"):
        UCF101Dataset(make_cfg(copy_of), "test")


def test_truncated_videos_are_used(copy_of, make_cfg):
    edit(copy_of / "manifest.parquet", "v_Jump_g02_c01", status="truncated")
    assert "v_Jump_g02_c01" in set(UCF101Dataset(make_cfg(copy_of), "train").videos["video_id"])


def test_manifest_against_lists(copy_of, make_cfg):
    edit(copy_of / "manifest.parquet", "v_Jump_g02_c01", label=1)
    with pytest.raises(DataError, match=r"gives Jump the label 1, .* gives 0"):
        UCF101Dataset(make_cfg(copy_of), "train")
    edit(copy_of / "manifest.parquet", "v_Jump_g02_c01", **{"class": "Wave"})
    with pytest.raises(DataError, match="listed under Jump, but its folder is Wave"):
        UCF101Dataset(make_cfg(copy_of), "train")


def test_sound_that_does_not_match(copy_of, make_cfg):
    cfg = make_cfg(copy_of, data__use_audio=True)
    edit(copy_of / "audio.parquet", "v_Jump_g02_c01", n_frames=99)
    with pytest.raises(DataError, match="v_Jump_g02_c01 has features for 99 frames, the manifest says 12"):
        UCF101Dataset(cfg, "train")
    edit(copy_of / "audio.parquet", "v_Jump_g02_c01", n_frames=12)
    np.save(copy_of / "audio/v_Jump_g02_c01.npy", np.zeros((12, 32), np.float32))
    with pytest.raises(DataError, match=r"float32 \(12, 32\).*\(12, 64\)"):
        UCF101Dataset(cfg, "train").audio_statistics()
    (copy_of / "audio.parquet").unlink()
    with pytest.raises(DataError, match=r"scripts\.preprocess_ucf101_audio"):
        UCF101Dataset(cfg, "train")


def test_open_maps_are_bounded(tmp_path):
    paths = [tmp_path / f"{k}.npy" for k in range(MAX_OPEN_MAPS + 40)]
    for k, path in enumerate(paths):
        np.save(path, np.array([k]))
    opened: list[int] = []
    arrays = MappedArrays(paths, lambda index, path, array: opened.append(index))
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert [int(arrays[k][0]) for k in range(len(paths))] == list(range(len(paths)))
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= MAX_OPEN_MAPS
    assert arrays[len(paths) - 1][0] == len(paths) - 1
    assert len(opened) == len(paths), "a kept map is not opened again"
    assert arrays[0][0] == 0
    assert opened[-1] == 0, "the least recently used one was closed"


def test_training_does_not_depend_on_the_preprocessing_modules():
    """An edit to audio.py must not plan video training again."""
    names = {Path(name).name for name in sources("pipeline.data.ucf101")}
    assert {"ucf101.py", "windows.py", "clips.py", "packed.py"} <= names
    assert not names & {"audio.py", "frames.py", "video_file.py", "jpeg_tree.py", "receipts.py"}


@pytest.mark.reference_data
@pytest.mark.slow
def test_real_clips_by_time(reference, tmp_path, make_cfg):
    extract_shard(reference / "UCF-101", tmp_path, 36, (0, 1))
    merge_manifest(tmp_path, 1, by_time=True)
    sizes = [len(UCF101Dataset(make_cfg(tmp_path, data__splits="by_time"), split)) for split in SPLITS]
    assert min(sizes) > 20
    batch = next(iter(make_loader(UCF101Dataset(make_cfg(tmp_path, data__splits="by_time"), "train"), 0)))
    assert batch["video"].shape == (4, 8, 3, 32, 32)
    assert batch["video"].std() > 0.05
