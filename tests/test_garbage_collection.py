"""Python collects rarely in every script, and circles that hold memory still go."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

from pipeline.garbage_collection import NEW_OBJECTS, collect_rarely

ASK = """
import gc, sys
from pipeline.command_line import exit_code
sys.exit(exit_code(lambda: print(gc.get_threshold()[0])))
"""


def test_every_script_collects_rarely():
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert int(done.stdout) == NEW_OBJECTS


def test_circles_are_still_collected():
    class Node:
        pass

    before = gc.get_threshold()
    try:
        collect_rarely()
        one, other = Node(), Node()
        one.other, other.one = other, one
        gone = weakref.ref(one)
        del one, other
        kept = [[] for _ in range(2 * NEW_OBJECTS)]
        assert gone() is None
        assert len(kept) == 2 * NEW_OBJECTS
    finally:
        gc.set_threshold(*before)
