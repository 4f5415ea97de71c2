"""Bad instances are refused with a message that names the field, the place and the mend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.mapping.instance import infeasible_reason, instance_from_fields, read_instance


def _fields(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "lat_ms": [[1.0, 4.0], [2.0, 3.0], [5.0, 1.0]],
        "mem_mb": [10.0, 20.0, 30.0],
        "cap_mb": [30.0, 40.0],
        "traffic_mb": [2.0, 4.0],
        "hops": [[0, 2], [2, 0]],
        "hop_ms": 0.1,
        "ms_per_mb": 0.25,
    }
    return {key: value for key, value in {**fields, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cap_mb": None}, ["cap_mb", "missing"]),
        ({"hop_ms": None}, ["hop_ms", "missing"]),
        ({"lat_ms": [[1.0, float("nan")], [2.0, 3.0], [5.0, 1.0]]}, ["lat_ms[0][1]", "nan"]),
        ({"lat_ms": [[1.0, -2.0], [2.0, 3.0], [5.0, 1.0]]}, ["lat_ms[0][1]", "-2"]),
        ({"lat_ms": [[1.0, 2.0], [2.0], [5.0, 1.0]]}, ["lat_ms", "one length"]),
        ({"lat_ms": []}, ["0 segments"]),
        ({"lat_ms": [[], []]}, ["0 slots"]),
        ({"lat_ms": "fast"}, ["lat_ms"]),
        ({"hops": [[0, 2], [2, 0], [1, 1]]}, ["hops", "3 x 2", "square"]),
        ({"hops": [[1, 2], [2, 0]]}, ["hops[0][0]=1"]),
        ({"hops": [[0]]}, ["hops", "1 x 1", "2 x 2"]),
        ({"traffic_mb": [2.0, -4.0]}, ["traffic_mb[1]", "-4"]),
        ({"traffic_mb": [2.0]}, ["traffic_mb", "shape 1", "2"]),
        ({"mem_mb": [1.0, float("inf"), 2.0]}, ["mem_mb[1]", "inf"]),
        ({"mem_mb": 3.0}, ["mem_mb", "0 dimensions"]),
        ({"ms_per_mb": "slow"}, ["ms_per_mb", "slow"]),
        ({"hop_ms": -1}, ["hop_ms", "-1"]),
    ],
)
def test_bad_fields_are_named(changes: dict[str, Any], words: list[str]) -> None:
    """Every message holds the field and the offending value or shape."""
    with pytest.raises(DataError) as caught:
        instance_from_fields(_fields(**changes))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_segment_that_fits_nowhere_is_named_with_sizes() -> None:
    """The reason names the segment, its size and the largest slot; a total that is too large is told as well."""
    instance = instance_from_fields(_fields(mem_mb=[10.0, 50.0, 30.0]))
    assert infeasible_reason(instance) == "segment 1 needs 50 MB; the largest slot it can run on has 40 MB"
    instance = instance_from_fields(_fields(mem_mb=[30.0, 30.0, 30.0]))
    assert infeasible_reason(instance) == "the segments need 90 MB together; all slots have 70 MB"
    assert infeasible_reason(instance_from_fields(_fields())) is None


def test_the_file_is_named(tmp_path: Path) -> None:
    """What is not an object, or no JSON, or absent, is told with the path."""
    path = tmp_path / "instance.json"
    for text in ("[1, 2]", "{", '{"lat_ms": [[1]]}'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"instance\.json"):
            read_instance(path)
    with pytest.raises(DataError, match="no such file"):
        read_instance(tmp_path / "absent.json")


@pytest.mark.slow
def test_command_answers_and_refuses(tmp_path: Path) -> None:
    """Exit 0 with an answer; exit 2 and one line for bad input, with the answer file still telling the reason."""
    good, bad, out = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "out.json"
    good.write_text(json.dumps(_fields()))
    bad.write_text(json.dumps(_fields(mem_mb=[10.0, 50.0, 30.0])))
    command = [sys.executable, "-m", "scripts.solve_mapping"]
    tail = ["--out", str(out), "--objective", "serial", "--iterations", "20000"]
    done = subprocess.run([*command, str(good), *tail, "--pictures", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(out.read_text())
    keys = {"mapping", "value", "lower_bound", "gap", "strategy", "seconds", "seconds_startup", "per_slot", "incumbent"}
    assert keys <= answer.keys()
    # Everything on slot 0 does not fit; 0 and 1 there, 2 on slot 1 costs 1 + 2 + 1 + 2 * (0.1 + 1) = 6.2 ms.
    assert answer["mapping"] == [0, 0, 1]
    assert answer["value"] == pytest.approx(6.2)
    assert answer["gap"] <= 2e-4
    assert (tmp_path / "gantt.svg").read_text().startswith("<svg")
    refused = subprocess.run([*command, str(bad), *tail], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "segment 1 needs 50 MB" in refused.stderr
    assert "segment 1" in json.loads(out.read_text())["reason"]
