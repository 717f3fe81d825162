"""Every exception a user of Sparrow can meet.

SparrowError
├── ConfigError       a setting, option or argument is wrong: names its path and the nearest valid name
├── DataError         a file, column or row is not what was declared: names file, column, row
├── TableError        an embedding table cannot do what was asked: names table and group
├── CheckpointError   a checkpoint is missing, damaged, or of another model: names file and key
└── BackendError      an operator has no body for this device, or the operator library is not built

On the command line each is one line and exit code 2; `--debug` adds the traceback.
"""

import difflib
from collections.abc import Iterable


class SparrowError(Exception):
    """Base of all errors Sparrow raises on purpose. `str(error)` is one line that names the thing and the fix."""


class ConfigError(SparrowError, ValueError):
    """A setting, option or argument is wrong."""


class DataError(SparrowError, ValueError):
    """A file, column or row is not what was declared."""


class TableError(SparrowError, RuntimeError):
    """An embedding table cannot do what was asked."""


class CheckpointError(SparrowError, RuntimeError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class BackendError(SparrowError, RuntimeError):
    """An operator has no body for this device, or the operator library is not built."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest of `known`, or a list of what is known when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
