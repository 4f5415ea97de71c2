"""Groups of variants: names, what a variant changes, and what a preset leaves out."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigError
from pipeline.experiments import available, find_experiment, load_catalogue, members, resolve_experiment, variant_of
from pipeline.report.experiments_md import render

GROUP, BASE = "ablation_pruning", "EXP-P1V-3-ast-no-hw"


def test_members_are_named_after_their_base() -> None:
    names = list(members(GROUP, "bench"))
    assert {variant_of(name) for name in names} == set(load_catalogue().groups[GROUP].variants)
    assert all(name.startswith(f"{BASE}__") for name in names)
    assert not set(names) & set(available("bench")), "no variant is an experiment of its own"


@pytest.mark.parametrize("preset", ["tiny", "bench"])
def test_every_member_resolves_and_starts_alike(preset: str) -> None:
    for name, entry in members(GROUP, preset).items():
        run = resolve_experiment(name, preset, 0)
        assert run.experiment == name
        assert not run.ast.gates, name
        assert entry.init_from == ("EXP-P1V-1-dense-multiscale" if variant_of(name) != "dense-equal-macs" else None)
        if variant_of(name) not in ("keep-0.25", "keep-0.1"):
            assert run.ast.keep_shares()[-1] == 0.5, name


def test_a_preset_that_gives_no_sizes_has_no_such_member() -> None:
    known = {variant_of(name) for name in members(GROUP, "demo")}
    assert "evit" in known
    assert not known & {"dense-equal-macs", "tome-each-block"}


def test_the_preset_s_sizes_win() -> None:
    run = resolve_experiment(f"{BASE}__tome-each-block", "bench", 0)
    assert run.ast.prune_layers == [1, 2, 3]
    assert run.ast.selector == "merge"


def test_an_unknown_variant_is_suggested() -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{BASE}__evit'"):
        find_experiment(f"{BASE}__evi")


def test_the_list_of_experiments_names_the_group() -> None:
    text = render(load_catalogue())
    assert "snakemake --cores all ablation_pruning --config preset=bench" in text
    assert f"`{BASE}__frame-uniform`" in text
