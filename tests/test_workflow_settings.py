"""Settings of a snakemake call that cannot be meant are refused before anything is planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.workflow_settings import TABLES, resolve_workflow


@pytest.mark.parametrize("pair", TABLES)
def test_measured_tables_come_in_pairs_and_exist(pair: tuple[str, str], tmp_path: Path) -> None:
    first, second = pair
    table = tmp_path / "table.parquet"
    table.touch()
    for given, lacking in (pair, (second, first)):
        with pytest.raises(ConfigError, match=f"{given}=.*is read with {lacking} only; give --config {lacking}=FILE"):
            resolve_workflow({given: str(table)})
    with pytest.raises(ConfigError, match=rf"{second}=.*nowhere\.csv: no such file"):
        resolve_workflow({first: str(table), second: str(tmp_path / "nowhere.csv")})
    settings = resolve_workflow({first: str(table), second: str(table)})
    assert getattr(settings, first) == getattr(settings, second) == str(table)
