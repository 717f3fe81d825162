"""A thread that makes items ahead of a reader, and that ends although its source never does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar, final

from sparrow.io.prefetch import Prefetcher

T = TypeVar("T")


@final
class Reader(Generic[T]):
    """The items of `make(stopping)`, up to `depth` of them made ahead by a thread: a `Prefetcher` that can be told to end while it waits.

    `make` must end soon once `stopping` is set. When the thread begins and ends, and where exceptions arrive, is as of a `Prefetcher`.
    """

    def __init__(self, make: Callable[[threading.Event], Generator[T, None, None]], depth: int) -> None:
        self._stopping = stopping = threading.Event()
        # The thread must not know this object, or dropping it would not drop it.
        self._items = Prefetcher[T, T](lambda: make(stopping), lambda: _AsMade[T](), depth, on_close=stopping.set)

    @property
    def was_stopped(self) -> bool:
        """Whether the items ended by `stop` or `close` and not by themselves."""
        return self._stopping.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait for so long, or until told to end; return whether it was."""
        return self._stopping.wait(seconds)

    def __iter__(self) -> Reader[T]:
        return self

    def __next__(self) -> T:
        if self.was_stopped:
            raise StopIteration
        return next(self._items)

    def stop(self) -> None:
        """End the items now, without waiting for the thread. May be called from any thread and from a signal handler."""
        self._stopping.set()
        self._items.stop()

    def close(self) -> None:
        """End the items and wait for the thread."""
        self._stopping.set()
        self._items.close()


class _AsMade(Generic[T]):
    """The thread's work: none, since making the next task is all."""

    def __call__(self, task: T) -> T:
        return task

    def close(self) -> None:
        pass
