"""Progress files are throttled, survive damage, and read as news once."""

from __future__ import annotations

import io
from pathlib import Path

from pipeline.progress import Progress, print_news, progress_writer, read_progress, with_progress


def test_writer_is_throttled_but_never_drops_the_last(tmp_path: Path) -> None:
    now = [100.0]
    write = progress_writer(tmp_path / "run" / "seed0" / "progress.json", clock=lambda: now[0])
    for epoch, moment in ((1, 100.0), (2, 100.5), (3, 101.2), (4, 101.3)):
        now[0] = moment
        write(Progress("EXP", "train", epoch, 4, "video_top1", 0.5))
        shown = next(iter(read_progress(tmp_path).values())).epoch
        assert shown == {1: 1, 2: 1, 3: 3, 4: 4}[epoch]


def test_news_are_printed_once_and_damage_is_passed_over(tmp_path: Path) -> None:
    progress_writer(tmp_path / "a" / "seed0" / "progress.json")(
        Progress("EXP-1", "train", 1, 4, "video_top1", 0.25, 12.0)
    )
    (tmp_path / "b" / "seed0").mkdir(parents=True)
    (tmp_path / "b" / "seed0" / "progress.json").write_text('{"run": "half')
    seen: dict[Path, float] = {}
    first, second = io.StringIO(), io.StringIO()
    print_news(tmp_path, first, seen)
    print_news(tmp_path, second, seen)
    assert first.getvalue() == "  EXP-1  train 1/4  video_top1 0.250  ETA 12 s\n"
    assert second.getvalue() == ""


def test_items_pass_through_and_leave_news(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "progress-frames-0-of-1.json"
    assert list(with_progress(["a", "b", "c"], "ucf101 frames", "video", path)) == ["a", "b", "c"]
    assert read_progress(tmp_path)[path].line() == "ucf101 frames  video 3/3  ETA 0 s"
    assert list(with_progress([], "ucf101 frames", "video", path)) == []
