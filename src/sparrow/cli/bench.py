"""`sparrow bench`: the benchmarks of a checkout, by their own command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from sparrow import knobs
from sparrow.errors import ConfigError


def run_benchmarks(name: str, arguments: Sequence[str]) -> int:
    """Run `python -m benchmarks NAME ARGUMENTS` in this process; return its exit code. Raises `ConfigError` without a checkout."""
    folder = _checkout()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module("benchmarks.__main__").main([name, *arguments])


def _checkout() -> Path:
    for folder in (knobs.checkout(), Path.cwd()):
        if (folder / "benchmarks" / "operators.py").is_file() and (folder / "src" / "sparrow" / "ops").is_dir():
            return folder
    raise ConfigError(
        "sparrow bench runs benchmarks/ of a checkout, and an installed package has none; clone the repository and run it in its folder"
    )
