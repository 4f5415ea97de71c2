"""Dividing a stage into shards: which items are mine, and joining what the shards wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..artifacts import exclusive, read_parquet, write_parquet
from ..errors import ConfigError, DataError
from ..progress import with_progress

if TYPE_CHECKING:
    import pandas as pd

Item = TypeVar("Item")
Shard = tuple[int, int]


def parse_shard(text: str) -> Shard:
    """`"0/4"` becomes `(0, 4)`.

    Raises:
        ConfigError: not `i/n` with 0 <= i < n.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ConfigError(f"--shard {text}: expected i/n with 0 <= i < n, e.g. 0/4")
    return int(index), int(count)


def of_shard(items: Sequence[Item], shard: Shard) -> list[Item]:
    """The items whose position modulo n is i."""
    index, count = shard
    return list(items[index::count])


def each_of_shard(items: Sequence[Item], shard: Shard, folder: Path, stage: str) -> Iterator[Item]:
    """The items of a shard one by one, with news in `<folder>/shards/progress-<stage>-<i>-of-<n>.json`.

    Only one process at a time works on a shard: a second one waits.
    """
    path = folder / "shards" / f"progress-{stage}-{shard[0]}-of-{shard[1]}.json"
    with exclusive(path.with_suffix(".lock")):
        yield from with_progress(of_shard(items, shard), f"{folder.name} {stage}", "video", path)


def part_path(folder: Path, stage: str, shard: Shard) -> Path:
    """Where a shard of a stage writes its table: `<folder>/shards/<stage>-<i>-of-<n>.parquet`."""
    return folder / "shards" / f"{stage}-{shard[0]}-of-{shard[1]}.parquet"


def write_part(folder: Path, stage: str, shard: Shard, table: pd.DataFrame, statuses: Sequence[str]) -> None:
    """Write the table of one shard, with a summary line unless the merge follows at once (one shard)."""
    write_parquet(part_path(folder, stage, shard), table)
    if shard[1] > 1:
        print(f"shard {shard[0]}/{shard[1]}: {summary_line(table, statuses)}", flush=True)


def join_parts(folder: Path, stage: str, count: int, columns: Sequence[str]) -> pd.DataFrame:
    """The tables of all `count` shards of a stage, one below the other, sorted by `video_id`.

    Raises:
        DataError: a part is missing or lacks one of `columns`, or a video is in two parts.
    """
    import pandas as pd

    paths = [part_path(folder, stage, (index, count)) for index in range(count)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        index = paths.index(missing[0])
        raise DataError(f"{missing[0]}: no such part ({len(missing)} of {count} missing); run --shard {index}/{count}")
    parts = [read_parquet(path, tuple(columns)) for path in paths]
    table = pd.concat([part for part in parts if len(part)] or parts[:1])
    twice = table["video_id"][table["video_id"].duplicated()]
    if len(twice):
        raise DataError(f"{paths[0].parent}: {twice.iloc[0]} is in two parts; run all shards of stage {stage} again")
    return table[list(columns)].sort_values("video_id", ignore_index=True)


def summary_line(table: pd.DataFrame, statuses: Sequence[str]) -> str:
    """`12 videos: 10 ok, 1 truncated (v_a), 1 bad (v_b)`; the first status needs no names."""
    parts = []
    for status in statuses:
        names = list(table.loc[table["status"] == status, "video_id"])
        listed = f" ({name_some(names)})" if names and status != statuses[0] else ""
        parts.append(f"{len(names)} {status}{listed}")
    return f"{len(table)} videos: {', '.join(parts)}"


def name_some(names: Sequence[str], limit: int = 20) -> str:
    """Up to `limit` names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
