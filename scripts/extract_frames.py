"""Extract frames, packed cache and manifest: `python -m scripts.extract_frames --raw DIR --out DIR`.

--raw holds Class/v_<Name>_gXX_cYY.avi; --from-frames starts from a JPEG tree OUT/frames instead. Without
--shard and --merge everything is done at once. A run that was stopped resumes where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.errors import ConfigError


def main() -> None:
    """Parse the arguments and do one shard, the merge, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, help="folder of Class/*.avi")
    parser.add_argument("--out", type=Path, required=True, help="data folder: frames, packed, splits, manifest.parquet")
    parser.add_argument("--splits", type=Path, help="folder of classInd.txt, trainlist01.txt, testlist01.txt")
    parser.add_argument("--short-side", type=int, default=128, help="short side of packed frames, pixels (128)")
    parser.add_argument(
        "--by-time", action="store_true", help="videos are cut in time: without --splits list all of them"
    )
    parser.add_argument("--from-frames", action="store_true", help="start from the JPEG tree OUT/frames")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--shard", metavar="i/n", help="extract only the videos of this shard, 0 <= i < n")
    steps.add_argument("--merge", type=int, metavar="n", help="join the tables of n shards to manifest.parquet")
    arguments = parser.parse_args()
    if arguments.short_side < 1:
        raise ConfigError(f"--short-side {arguments.short_side}: must be at least 1 pixel")
    if arguments.merge is None and (arguments.raw is None) != arguments.from_frames:
        raise ConfigError("give either --raw DIR or --from-frames")
    print(f"raw {arguments.raw or arguments.out / 'frames'} | output {arguments.out}", flush=True)

    from pipeline.data.frames import extract_shard, merge_manifest, pack_tree
    from pipeline.data.shards import parse_shard

    shard = parse_shard(arguments.shard or "0/1")
    listing = {"splits": arguments.splits, "by_time": arguments.by_time}
    if arguments.merge is None:
        if arguments.from_frames:
            pack_tree(arguments.out, arguments.short_side, shard, **listing)
        else:
            extract_shard(arguments.raw, arguments.out, arguments.short_side, shard, **listing)
    if arguments.shard is None:
        merge_manifest(arguments.out, arguments.merge or 1, **listing)


if __name__ == "__main__":
    sys.exit(exit_code(main))
