"""The flags of the two scripts that fit proxies, and the configuration they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path

from .config.loading import DOCUMENTATION_KEYS, Layer, dotted_to_nested, load_yaml, parse_assignment, validate
from .config.proxy import ProxyConfig

IDENTITY_KEYS = ("preset", "experiment")


def proxy_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that both scripts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, required=True, help="configs/proxy_ms_mem.yaml or configs/proxy_power.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one key; repeatable")
    parser.add_argument("--preset", default="demo", help="names the default output folder (demo)")
    parser.add_argument("--seed", type=int, help="seed (default: the file's)")
    parser.add_argument("--out", type=Path, help="output folder (default: results/<preset>/<experiment>/seed<k>)")
    return parser


def proxy_from_arguments(arguments: argparse.Namespace, experiment: str) -> tuple[ProxyConfig, Path]:
    """The checked configuration and the output folder; prints the banner.

    Raises:
        ConfigError: a bad key or value.
    """
    dropped = (*DOCUMENTATION_KEYS, *IDENTITY_KEYS)
    values = {key: value for key, value in load_yaml(arguments.cfg).items() if key not in dropped}
    assignments = dotted_to_nested(dict(parse_assignment(text) for text in arguments.set))
    seed = {} if arguments.seed is None else {"seed": arguments.seed}
    layers = [Layer(str(arguments.cfg), values), Layer("--seed", seed), Layer("--set", assignments)]
    config = validate(ProxyConfig, layers)
    out = arguments.out or Path("results") / arguments.preset / experiment / f"seed{config.seed}"
    print(f"preset {arguments.preset} | data {config.data.layer_latency} | output {out}", flush=True)
    return config, out
