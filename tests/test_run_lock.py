"""A live run is told from a killed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.run_lock import is_running

HOLD_AND_WAIT = """
import sys
from pathlib import Path
from pipeline.run_lock import hold_run_lock
hold_run_lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_is_held_while_the_process_lives_and_not_after_a_kill(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    command = [sys.executable, "-c", HOLD_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_running(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
    assert not is_running(tmp_path)
