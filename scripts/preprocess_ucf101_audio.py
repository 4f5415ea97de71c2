"""Log-mel features: `python -m scripts.preprocess_ucf101_audio --cfg configs/preprocess_ucf101_audio.yaml`.

Needs the extracted frames, whose number is the length of the features. Without --shard and --merge everything
is done at once. A run that was stopped resumes where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.config import PreprocessAudioConfig
from pipeline.config.loading import (
    DOCUMENTATION_KEYS,
    Layer,
    dotted_to_nested,
    load_yaml,
    parse_assignment,
    validate,
)


def main() -> None:
    """Parse the arguments and do one shard, the merge, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, required=True, help="e.g. configs/preprocess_ucf101_audio.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="data.x=y", help="override one key; repeatable")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--shard", metavar="i/n", help="only the videos of this shard, 0 <= i < n")
    steps.add_argument("--merge", type=int, metavar="n", help="join the tables of n shards to audio.parquet")
    arguments = parser.parse_args()
    values = {key: value for key, value in load_yaml(arguments.cfg).items() if key not in DOCUMENTATION_KEYS}
    assignments = dotted_to_nested(dict(parse_assignment(text) for text in arguments.set))
    config = validate(PreprocessAudioConfig, [Layer(str(arguments.cfg), values), Layer("--set", assignments)]).data
    print(f"raw {config.raw_video_root} | frames {config.frames_root} | output {config.audio_root}", flush=True)

    from pipeline.data.shards import parse_shard

    shard = parse_shard(arguments.shard or "0/1")

    from pipeline.data.audio import merge_audio, preprocess_shard

    if arguments.merge is None:
        preprocess_shard(config, shard)
    if arguments.shard is None:
        merge_audio(config, arguments.merge or 1)


if __name__ == "__main__":
    sys.exit(exit_code(main))
