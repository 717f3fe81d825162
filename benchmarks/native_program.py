"""C++ programs of `native/`: compiled for this processor when first needed, beside the build."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import ROOT

_FLAGS = ("-std=c++17", "-O3", "-march=native", "-DNDEBUG", "-pthread")
_LINES_BYTES = 1 << 30


def compiled(name: str, flags: Sequence[str] = ()) -> Path:
    """Return the program made of `native/NAME.cpp`. Raises `CalledProcessError` where the compiler refuses; its words are on stderr."""
    source = ROOT / "benchmarks" / "native" / f"{name}.cpp"
    digest = hashlib.blake2b("\0".join([source.read_text(), *flags]).encode(), digest_size=6).hexdigest()
    program = ROOT / "build" / "benchmarks" / f"{name}-{digest}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        # Libraries follow the source that needs them.
        subprocess.run([os.environ.get("CXX", "g++"), *_FLAGS, str(source), "-o", str(program), *flags], check=True)
    return program


@functools.cache
def random_line_rate(threads: int) -> float:
    """Return how many random 64-byte lines of a GiB `threads` threads read a second, prefetched."""
    done = subprocess.run([compiled("random_lines"), str(threads), str(_LINES_BYTES)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])
