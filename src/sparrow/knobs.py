"""Every environment variable of Sparrow, in one place.

| variable               | default             | meaning                                                                       |
|------------------------|---------------------|-------------------------------------------------------------------------------|
| SPARROW_DATA           | ../shared/data      | folder of real data sets for examples, tests and benchmarks                   |
| SPARROW_ISA            | (the processor's)   | baseline, avx2 or avx512: instruction set of the operators; all give equal bits|
| SPARROW_OPS_LIBRARY    | (beside the package)| path of the compiled operator library, for people who build it themselves     |
| SPARROW_CACHE          | ~/.cache/sparrow    | folder for what is measured once on a machine: tiles of GPU kernels           |
| SPARROW_REQUIRE_CUDA   | (unset)             | 1: a test that needs a GPU fails where there is none, instead of being skipped|

A function argument takes precedence over its variable.
"""

import os
import pathlib

# The checkout, when there is one: src/sparrow/knobs.py -> three levels up.
_CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def checkout() -> pathlib.Path:
    """Return where the repository lies if this package runs from a checkout; of an installed one, a folder that means nothing."""
    return _CHECKOUT


def data_folder() -> pathlib.Path:
    """Return the folder of real data sets (SPARROW_DATA). It may not exist: say so, with this path, where it is needed."""
    value = os.environ.get("SPARROW_DATA")
    return pathlib.Path(value) if value else _CHECKOUT.parent / "shared" / "data"


def ops_library() -> pathlib.Path | None:
    """Return the operator library named by SPARROW_OPS_LIBRARY, or None to take the installed one."""
    value = os.environ.get("SPARROW_OPS_LIBRARY")
    return pathlib.Path(value) if value else None


def instruction_set() -> str | None:
    """Return the instruction set that SPARROW_ISA asks for, or None to take the best that the processor runs."""
    return os.environ.get("SPARROW_ISA") or None


def cache_folder() -> pathlib.Path:
    """Return the folder for what is measured once on a machine (SPARROW_CACHE; else in XDG_CACHE_HOME). It may not exist."""
    value = os.environ.get("SPARROW_CACHE")
    if value:
        return pathlib.Path(value)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sparrow"


def require_cuda() -> bool:
    """Return whether tests that need a GPU are to fail where there is none (SPARROW_REQUIRE_CUDA=1)."""
    return os.environ.get("SPARROW_REQUIRE_CUDA") == "1"
