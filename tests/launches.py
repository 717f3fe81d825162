"""Launches of Triton kernels where there is no GPU, seen by tests: of the interpreter, or of the machine in `ptx` (SPARROW_PTX=1)."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

# (name of the kernel, what launches it, its arguments, by name) -> nothing; it decides whether and when it is launched.
Hook = Callable[[str, Callable[..., None], tuple[Any, ...], dict[str, Any]], None]


@contextlib.contextmanager
def seen_by(hook: Hook) -> Iterator[None]:
    """Give each launch to `hook` instead. Where the device of `strict_device` is installed, inside of that."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        from triton.runtime.interpreter import GridExecutor

        of_grid = GridExecutor.__call__
        GridExecutor.__call__ = lambda self, *args, **named: hook(self.fn.__name__, functools.partial(of_grid, self), args, named)
        try:
            yield
        finally:
            GridExecutor.__call__ = of_grid
    else:
        from triton.runtime.jit import JITFunction

        at = JITFunction.__getitem__
        JITFunction.__getitem__ = lambda kernel, grid: lambda *args, **named: hook(kernel.__name__, at(kernel, grid), args, named)
        try:
            yield
        finally:
            JITFunction.__getitem__ = at


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """Yield the names of kernels launched meanwhile."""
    names: list[str] = []

    def launch(name: str, run: Callable[..., None], args: tuple[Any, ...], named: dict[str, Any]) -> None:
        names.append(name)
        run(*args, **named)

    with seen_by(launch):
        yield names
