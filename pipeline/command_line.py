"""The flags, banner and exit codes that all scripts share.

Exit codes: 0 done; 2 bad arguments, configuration or data, told in one message; 1 a bug, with its traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .garbage_collection import collect_rarely

# Most scripts take `exit_code` alone and should start without the configuration's models.
if TYPE_CHECKING:
    from .config.cascade import CascadeConfig
    from .config.sections import RunConfig


def run_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the common flags of every script that makes a run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cfg", type=Path, help="experiment file, or a run folder's resolved config.yaml")
    parser.add_argument("--preset", default=None, help="a file of configs/presets (default: demo)")
    parser.add_argument("--experiment", help="an ID of configs/experiments.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one key; repeatable")
    parser.add_argument("--out", type=Path, help="output folder (default: results/<preset>/<experiment>/seed<k>)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="accelerator (default: auto)")
    parser.add_argument("--seed", type=int, help="seed (default: 0)")
    return parser


def run_from_arguments(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    """Resolve the run configuration and the output folder, and print the banner.

    Raises:
        ConfigError: no or contradictory sources, or a bad key or value.
    """
    from .artifacts import write_yaml
    from .config.loading import is_resolved, parse_assignment

    assignments = dict(parse_assignment(text) for text in arguments.set)
    if arguments.device is not None:
        assignments["training.device"] = arguments.device
    run = _resolve(arguments, assignments)
    out = arguments.out or Path("results") / run.preset / run.experiment / f"seed{run.seed}"
    if arguments.cfg is None or not is_resolved(arguments.cfg):
        write_yaml(out / "config.yaml", run.model_dump())
    print(f"preset {run.preset} | data {run.data.root} | output {out}", flush=True)
    return run, out


def _resolve(arguments: argparse.Namespace, assignments: dict) -> RunConfig:
    from .config.loading import is_resolved, load_resolved, resolve_run
    from .experiments import name_of, resolve_experiment

    preset = arguments.preset or "demo"
    seed = arguments.seed or 0
    if arguments.experiment is not None and arguments.cfg is not None:
        raise InputError(f"--experiment {arguments.experiment} and --cfg {arguments.cfg} contradict; give one")
    if arguments.experiment is not None:
        return resolve_experiment(arguments.experiment, preset, seed, assignments)
    if arguments.cfg is None:
        raise InputError("give --cfg FILE (e.g. configs/ast2_ucf101_dense.yaml) or --experiment ID")
    if is_resolved(arguments.cfg):
        if arguments.preset is not None or arguments.seed is not None or assignments:
            raise InputError(
                f"{arguments.cfg}: is a resolved config; --preset, --seed, --set and --device would contradict it"
            )
        return load_resolved(arguments.cfg)
    name = name_of(arguments.cfg, assignments)
    if name.startswith("adhoc/"):
        return resolve_run(preset, arguments.cfg, None, assignments, experiment=name, seed=seed)
    return resolve_experiment(name, preset, seed)


def cascade_from_arguments(arguments: argparse.Namespace, default: str) -> tuple[CascadeConfig, Path]:
    """As `run_from_arguments`, for a script of the cascade.

    Args:
        arguments: of `run_parser`.
        default: the experiment that a bare `--cfg` stands for, since all of the cascade share one file.

    Raises:
        ConfigError: no or contradictory sources, or a bad key or value.
    """
    from .artifacts import write_yaml
    from .config.loading import is_resolved, parse_assignment

    assignments = dict(parse_assignment(text) for text in arguments.set)
    if arguments.device is not None:
        assignments["training.device"] = arguments.device
    run = _resolve_cascade(arguments, default, assignments)
    out = arguments.out or Path("results") / run.preset / run.experiment / f"seed{run.seed}"
    if arguments.cfg is None or not is_resolved(arguments.cfg):
        write_yaml(out / "config.yaml", run.model_dump(mode="json"))
    print(f"preset {run.preset} | data {run.data.root} | output {out}", flush=True)
    return run, out


def _resolve_cascade(arguments: argparse.Namespace, default: str, assignments: dict) -> CascadeConfig:
    from .config.cascade_loading import load_resolved_cascade, resolve_cascade
    from .config.loading import is_resolved
    from .experiments import resolve_cascade_experiment

    preset, seed = arguments.preset or "demo", arguments.seed or 0
    if arguments.experiment is not None and arguments.cfg is not None:
        raise InputError(f"--experiment {arguments.experiment} and --cfg {arguments.cfg} contradict; give one")
    if arguments.experiment is None and arguments.cfg is None:
        raise InputError("give --cfg FILE (e.g. configs/swec_cascade.yaml) or --experiment ID")
    if arguments.cfg is None:
        return resolve_cascade_experiment(arguments.experiment, preset, seed, assignments)
    if is_resolved(arguments.cfg):
        if arguments.preset is not None or arguments.seed is not None or assignments:
            raise InputError(
                f"{arguments.cfg}: is a resolved config; --preset, --seed, --set and --device would contradict it"
            )
        return load_resolved_cascade(arguments.cfg)
    return resolve_cascade(preset, arguments.cfg, None, assignments, experiment=default, seed=seed)


def exit_code(main: Callable[[], None]) -> int:
    """Run a script's main function and turn what the user can mend into exit code 2."""
    collect_rarely()
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
