"""Every environment variable and thread budget of Sparrow, in one place.

| variable               | default             | meaning                                                                       |
|------------------------|---------------------|-------------------------------------------------------------------------------|
| SPARROW_DATA           | ../shared/data      | folder of real data sets for examples, tests and benchmarks                   |
| SPARROW_OPS_LIBRARY    | (beside the package)| path of the compiled operator library, for people who build it themselves     |
| SPARROW_READER_THREADS | 1                   | threads a reader decodes with, beside the training thread                     |

A function argument takes precedence over its variable.
"""

import os
import pathlib

from sparrow.errors import ConfigError

# The checkout, when there is one: src/sparrow/knobs.py -> three levels up.
_CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def data_folder() -> pathlib.Path:
    """Return the folder of real data sets (SPARROW_DATA). It may not exist: say so, with this path, where it is needed."""
    value = os.environ.get("SPARROW_DATA")
    return pathlib.Path(value) if value else _CHECKOUT.parent / "shared" / "data"


def ops_library() -> pathlib.Path | None:
    """Return the operator library named by SPARROW_OPS_LIBRARY, or None to take the installed one."""
    value = os.environ.get("SPARROW_OPS_LIBRARY")
    return pathlib.Path(value) if value else None


def reader_threads() -> int:
    """Return how many threads a reader decodes with (SPARROW_READER_THREADS), at least 1."""
    value = os.environ.get("SPARROW_READER_THREADS", "1")
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"SPARROW_READER_THREADS is {value!r}; expected a whole number of at least 1")
    return int(value)
