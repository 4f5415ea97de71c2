"""The generated data set on disk, in resumable shards.

Layout: `UCF-101/<Class>/v_<Class>_gGG_cKK.avi`, `splits/` in the official syntax, and `truth.parquet` with the
box of the moving target in every frame. The truth exists because token pruning is scored on it: which share of
the kept tokens lies on the target. No model ever reads it.

Each file carries a hash of its recipe in its header: a later run keeps it if and only if its recipe is the same.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from ..artifacts import fingerprint, read_parquet, write_bytes, write_parquet, write_text
from ..errors import DataError
from . import demo_avi, demo_clips, demo_scene, demo_sound
from .demo_avi import encode_avi, encode_damaged
from .demo_clips import CLASSES, TRUTH_COLUMNS, DemoClip, clips_of, may_be_short, render_clip, split_lists, truth_of
from .shards import Shard, each_of_shard, part_path

if TYPE_CHECKING:
    import pandas as pd

    from ..config.sections import DemoConfig

MARK = b"generated demo clip "
HEADER_BYTES = 16384


@cache
def _recipe_of_sources() -> str:
    """Changes with the generator's code and with the libraries that decide its bytes."""
    sources = [Path(str(module.__file__)).read_text() for module in (demo_scene, demo_sound, demo_avi, demo_clips)]
    return fingerprint([*sources, Path(__file__).read_text(), av.__version__, np.__version__], 16)


def _recipe_of_clip(clip: DemoClip, config: DemoConfig, target: bool) -> str:
    identity = [config.seed, clip.class_index, clip.group, clip.index, clip.damage, may_be_short(clip, config), target]
    return fingerprint([_recipe_of_sources(), *identity], 16)


def _recipe_of_set(config: DemoConfig, target: bool) -> str:
    return fingerprint([_recipe_of_sources(), config.model_dump(), target], 16)


def _encode(clip: DemoClip, config: DemoConfig, target: bool) -> bytes:
    frames, sound = render_clip(clip, config, target=target)
    metadata = {"comment": MARK.decode() + _recipe_of_clip(clip, config, target)}
    if clip.damage is None:
        return encode_avi(frames, sound, metadata)
    return encode_damaged(clip.damage, frames, sound, metadata)


def _mark_in(path: Path) -> bytes | None:
    """The recipe hash in a file's header, or None if this generator did not write it."""
    with path.open("rb") as file:
        _, mark, rest = file.read(HEADER_BYTES).partition(MARK)
    return rest[:16] if mark else None


def _is_current(path: Path, clip: DemoClip, config: DemoConfig, target: bool) -> bool:
    """Files appear by renaming, so one that exists is complete; the mark says whether it is the right one."""
    if not path.is_file():
        return False
    if clip.damage == "zero_bytes":
        return path.stat().st_size == 0
    return _mark_in(path) == _recipe_of_clip(clip, config, target).encode()


def write_demo(out: Path, config: DemoConfig, *, target: bool = True, shard: Shard = (0, 1)) -> None:
    """Write the shard's AVIs under `out/UCF-101` and its part of the truth table; finished clips are kept.

    Args:
        out: folder of the data set.
        config: size and seed of the world.
        target: False leaves out the moving disc and the sound, and nothing else: the background-only control.
        shard: (i, n) takes every n-th clip of the sorted list, starting with the i-th.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    import pandas as pd

    tables = [truth_of(clips_of(config)[0], config, target=target).iloc[:0]]  # gives an empty shard its columns
    for clip in each_of_shard(clips_of(config), shard, out, "clips"):
        path = out / "UCF-101" / clip.path
        if not _is_current(path, clip, config, target):
            write_bytes(path, _encode(clip, config, target))
        tables.append(truth_of(clip, config, target=target))
    write_parquet(part_path(out, "truth", shard), pd.concat(tables).assign(recipe=_recipe_of_set(config, target)))


def finish_demo(out: Path, config: DemoConfig, shards: int, *, target: bool = True) -> None:
    """Remove clips of older settings, write the split lists, merge the shards' tables into `out/truth.parquet`.

    Raises:
        DataError: a shard is missing or was made with other settings, or a foreign file is in the way.
    """
    import pandas as pd

    if shards < 1:
        raise DataError(f"--merge {shards}: there must be at least one shard")
    clips = clips_of(config)
    parts = [_read_part(out, (shard, shards), _recipe_of_set(config, target)) for shard in range(shards)]
    stale = [clip for clip in clips if not _is_current(out / "UCF-101" / clip.path, clip, config, target)]
    if stale:
        raise DataError(
            f"{out}: {len(stale)} clip(s) are gone or of other settings, e.g. {stale[0].path}; run every --shard again"
        )
    _remove_leftovers(out / "UCF-101", {clip.path for clip in clips})
    truth = pd.concat(parts).sort_values(["class", "group", "video_id", "frame"], ignore_index=True)
    for name, lines in split_lists(config).items():
        write_text(out / "splits" / name, "".join(f"{line}\n" for line in lines))
    # Last: later stages take this table as the sign that the data set is whole.
    write_parquet(out / "truth.parquet", truth[list(TRUTH_COLUMNS)])


def _read_part(out: Path, shard: Shard, recipe: str) -> pd.DataFrame:
    path = part_path(out, "truth", shard)
    table = read_parquet(path, (*TRUTH_COLUMNS, "recipe")) if path.is_file() else None
    if table is None or not (table["recipe"] == recipe).all():
        state = "is missing" if table is None else "was made with other settings"
        raise DataError(
            f"{path}: {state}; run the command with --shard {shard[0]}/{shard[1]} and the same options first"
        )
    return table


def _is_ours(path: Path) -> bool:
    """Whether this generator wrote a file: by the mark in its header, or by its name if it is empty."""
    if path.stat().st_size:
        return _mark_in(path) is not None
    class_name = path.parent.name
    return class_name in CLASSES and re.fullmatch(rf"v_{class_name}_g\d{{2,}}_c\d{{2,}}", path.stem) is not None


def _remove_leftovers(folder: Path, expected: set[str]) -> None:
    """Delete temporary files of killed runs and clips of older settings, but nothing this generator did not write."""
    for temporary in folder.glob("*/.v_*.avi.*.tmp"):
        temporary.unlink()
    for path in sorted(folder.glob("*/*.avi")):
        if path.relative_to(folder).as_posix() in expected:
            continue
        if not _is_ours(path):
            raise DataError(f"{path}: is not a generated clip; move it away or choose another --out")
        path.unlink()
