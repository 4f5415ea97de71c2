"""How often Python looks for objects that refer to each other in circles."""

from __future__ import annotations

import gc

NEW_OBJECTS = 50_000


def collect_rarely() -> None:
    """Look after 50,000 new objects instead of a few hundred.

    Importing torch makes about a million objects that all stay, and a training step thousands that go by their
    reference counts: looking through them takes an eighth of the time a job needs to start.
    """
    gc.set_threshold(NEW_OBJECTS, 20, 100)
