"""Errors that are the user's to mend: a bad argument, config key or data file.

The command line prints their message without a traceback and exits with 2.
"""

from __future__ import annotations


class InputError(Exception):
    """Something the user gave cannot be used; the message names it, its value and the mend."""


class ConfigError(InputError):
    """A configuration key, value or file that cannot be used."""


class DataError(InputError):
    """A data file or folder that is missing, damaged or inconsistent."""
