"""Generate the demo data set: UCF101-named AVI files with sound, split lists and the target's boxes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.config.loading import load_preset
from pipeline.errors import ConfigError


def main() -> None:
    """Parse the arguments and write a shard, merge the shards, or do both at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--preset", default="demo", help="a file of configs/presets (default: demo)")
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument("--shard", metavar="i/n", help="write only the clips of this shard, 0 <= i < n")
    stage.add_argument("--merge", metavar="n", type=int, help="join the tables of n shards and write the split lists")
    parser.add_argument("--without-target", action="store_true", help="leave out the moving disc and the sound")
    parser.add_argument("--with-bad", action="store_true", help="add damaged files to the training groups")
    arguments = parser.parse_args()

    preset = load_preset(arguments.preset)
    if preset.data_source != "demo":
        raise ConfigError(f"preset={arguments.preset}: reads a folder of clips, there is nothing to generate")
    config = preset.demo.model_copy(update={"with_bad": True}) if arguments.with_bad else preset.demo
    print(f"preset {arguments.preset} | data generated, seed {config.seed} | output {arguments.out}", flush=True)

    from pipeline.data.demo_ucf101 import finish_demo, write_demo
    from pipeline.data.shards import parse_shard

    target = not arguments.without_target
    if arguments.merge is None:
        write_demo(arguments.out, config, target=target, shard=parse_shard(arguments.shard or "0/1"))
    if arguments.shard is None:
        finish_demo(arguments.out, config, 1 if arguments.merge is None else arguments.merge, target=target)


if __name__ == "__main__":
    sys.exit(exit_code(main))
