"""Real clips, however few, run end to end: a check of the path on real encodings."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts import read_parquet
from tests.workflow.project_copy import copy_project, planned, snakemake

pytestmark = [pytest.mark.slow, pytest.mark.reference_data]


@pytest.fixture(scope="module")
def clips_project(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in a folder with a space, with preset clips made from the real clips."""
    folder = copy_project(tmp_path_factory.mktemp("real") / "a project")
    raw = folder / "my clips"
    raw.symlink_to(reference_data / "ucf101" / "UCF-101")
    done = snakemake(folder, "--cores", "2", "--config", "preset=clips", "raw_video_root=my clips")
    assert done.code == 0, done.text[-6000:]
    return folder


def test_real_clips_reach_the_report(clips_project: Path) -> None:
    root = clips_project / "results/clips"
    manifest = read_parquet(root / "data/ucf101/manifest.parquet").set_index("class")
    assert manifest["n_frames"].to_dict() == {
        "ApplyEyeMakeup": 164,
        "BaseballPitch": 107,
        "Rowing": 135,
        "SoccerJuggling": 240,
    }
    assert manifest["has_audio"].to_dict() == {
        "ApplyEyeMakeup": True,
        "BaseballPitch": False,
        "Rowing": False,
        "SoccerJuggling": False,
    }
    page = (root / "report/index.html").read_text()
    assert "no claim of generalisation" in page
    metrics = read_parquet(root / "EXP-P1V-1-dense-multiscale/metrics.parquet")
    assert set(metrics["note"]) == {"same videos in all splits, cut in time"}


def test_the_frames_alone_serve_without_raw_videos(clips_project: Path) -> None:
    done = snakemake(clips_project, "-n", "--config", "preset=clips", "from_frames=true")
    assert done.code == 0, done.text
    jobs = planned(done.text)
    assert jobs["extract_frames"] == 2
    assert jobs["preprocess_audio"] == 0
    assert "EXP-P1AV" not in done.text
