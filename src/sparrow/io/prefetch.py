"""Making items ahead in one thread, with an end to that thread whatever happens."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Generic, TypeVar, final

T = TypeVar("T")


class _Channel(Generic[T]):
    """A bounded queue of one writer and one reader that either side may end.

    The condition's lock is re-entrant: the garbage collector may call `close` in a thread that holds it.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._finished = False
        self._error: BaseException | None = None

    def has_room(self) -> bool:
        """Wait until another item may be made. Returns False once the reader has closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            return not self._closed

    def put(self, item: T) -> None:
        with self._changed:
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def get(self) -> T:
        """Return the next item. Raises `StopIteration` after the last, or the writer's exception, once."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._finished or self._closed)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


@final
class Prefetcher(Generic[T]):
    """The items of `make()`, up to `depth` of them made ahead by a thread; depth 0 makes each when asked for, in the caller's thread.

    An exception of `make` reaches the caller after the items before it. The thread starts with the first item asked for and ends, having
    closed the generator, with the last item, an error, `close()`, when this object is dropped, and when the interpreter exits.
    """

    def __init__(self, make: Callable[[], Generator[T, None, None]], depth: int) -> None:
        self._make = make
        self._depth = depth
        self._channel: _Channel[T] | None = None
        self._items: Generator[T, None, None] | None = None
        self._end: Callable[[], object] | None = None

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        if self._end is None:
            self._start()
        if self._items is not None:
            return next(self._items)
        assert self._channel is not None
        return self._channel.get()

    def close(self) -> None:
        """End the thread and wait for it: at most until the item being made is made. What follows is the end of the iteration."""
        if self._end is None:
            self._depth = 0
            self._start()
        assert self._end is not None
        self._end()

    def _start(self) -> None:
        if self._depth == 0:
            self._items = self._make()
            self._end = self._items.close
            return
        # The thread must not know this object, or dropping it would not drop it.
        channel = self._channel = _Channel(self._depth)
        thread = threading.Thread(target=_fill, args=(channel, self._make), name="sparrow-reader", daemon=True)
        # A daemon that the finalizer ends and joins: at exit Python calls finalizers only after waiting for all other threads.
        self._end = weakref.finalize(self, _stop, channel, thread)
        thread.start()


def _fill(channel: _Channel[T], make: Callable[[], Generator[T, None, None]]) -> None:
    error: BaseException | None = None
    try:
        with closing(make()) as items:
            while channel.has_room():
                try:
                    item = next(items)
                except StopIteration:
                    break
                channel.put(item)
                del item
    except BaseException as raised:
        error = raised
    channel.finish(error)


def _stop(channel: _Channel[T], thread: threading.Thread) -> None:
    channel.close()
    if thread is not threading.current_thread() and thread.is_alive():
        thread.join()
