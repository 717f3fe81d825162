"""A thread that makes items ahead of a reader, and that ends although its source never does."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Generic, TypeVar, final

T = TypeVar("T")


class _Queue(Generic[T]):
    """A bounded queue of one writer and one reader.

    `stopping` tells the writer to end. The condition's lock is re-entrant: a signal handler or the garbage collector may call `stop`
    in a thread that holds it.
    """

    def __init__(self, depth: int) -> None:
        self.stopping = threading.Event()
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._error: BaseException | None = None

    def wait_for_room(self) -> bool:
        """Wait until another item may be made. Returns False once stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping.is_set() or len(self._items) < self._depth)
            return not self.stopping.is_set()

    def put(self, item: T) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def get(self) -> T:
        """Return the next item. Raises `StopIteration` after the last and once stopped, or the writer's exception, once."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._finished or self.stopping.is_set())
            if self.stopping.is_set():
                raise StopIteration
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def stop(self) -> None:
        with self._changed:
            self.stopping.set()
            self._items.clear()
            self._changed.notify_all()


@final
class Reader(Generic[T]):
    """The items of `make(stopping)`, up to `depth` of them made ahead by a thread.

    `make` must end soon once `stopping` is set. An exception of it reaches the caller after the items before it. The thread starts with
    the first item asked for and ends, having closed the generator, with the last item, an error, `stop()`, `close()`, when this object
    is dropped, and when the interpreter exits.
    """

    def __init__(self, make: Callable[[threading.Event], Generator[T, None, None]], depth: int) -> None:
        self._make = make
        self._queue: _Queue[T] = _Queue(depth)
        self._end: Callable[[], object] | None = None

    @property
    def was_stopped(self) -> bool:
        """Whether the items ended by `stop` or `close` and not by themselves."""
        return self._queue.stopping.is_set()

    def __iter__(self) -> Reader[T]:
        return self

    def __next__(self) -> T:
        if self._end is None and not self.was_stopped:
            # The thread must not know this object, or dropping it would not drop it.
            thread = threading.Thread(target=_fill, args=(self._queue, self._make), name="sparrow-stream", daemon=True)
            # A daemon that the finalizer ends and joins: at exit Python calls finalizers only after waiting for all other threads.
            self._end = weakref.finalize(self, _stop_and_join, self._queue, thread)
            thread.start()
        return self._queue.get()

    def stop(self) -> None:
        """End the items now, without waiting for the thread. May be called from any thread and from a signal handler."""
        self._queue.stop()

    def close(self) -> None:
        """End the items and wait for the thread."""
        self._queue.stop()
        if self._end is not None:
            self._end()


def _fill(queue: _Queue[T], make: Callable[[threading.Event], Generator[T, None, None]]) -> None:
    error: BaseException | None = None
    try:
        with closing(make(queue.stopping)) as items:
            while queue.wait_for_room():
                try:
                    item = next(items)
                except StopIteration:
                    break
                queue.put(item)
                del item
    except BaseException as raised:
        error = raised
    queue.finish(error)


def _stop_and_join(queue: _Queue[T], thread: threading.Thread) -> None:
    queue.stop()
    if thread is not threading.current_thread() and thread.is_alive():
        thread.join()
