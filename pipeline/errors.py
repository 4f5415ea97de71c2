"""Errors that are the user's to mend: a bad argument, config key or data file.

The command line prints their message without a traceback and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Something the user gave cannot be used; the message names it, its value and the mend."""


class ConfigError(InputError):
    """A configuration key, value or file that cannot be used."""


class DataError(InputError):
    """A data file or folder that is missing, damaged or inconsistent."""


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` if a candidate is close to `word`, else an empty string."""
    names = list(candidates)
    close = [name for name in names if name.startswith(word)] or difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
