"""Work done ahead by threads, handed out in order, with an end to the threads whatever happens."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from typing import Generic, Protocol, TypeVar, final

S = TypeVar("S")
T = TypeVar("T")
S_contra = TypeVar("S_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)
_LOOK_AGAIN_SECONDS = 0.5


class Worker(Protocol[S_contra, T_co]):
    """What one thread works with: makes an item of a task, and is closed when the thread ends."""

    def __call__(self, task: S_contra) -> T_co: ...

    def close(self) -> None: ...


class _Shared(Generic[S, T]):
    """What the threads and the caller share: tasks taken in order, and results put down by their numbers.

    The condition's lock is re-entrant: the garbage collector may call `close` in a thread that holds it.
    """

    def __init__(
        self, tasks: Callable[[], Generator[S, None, None]], depth: int, num_threads: int, on_close: Callable[[], object] | None
    ) -> None:
        self._make_tasks, self._depth, self._num_running, self._on_close = tasks, depth, num_threads, on_close
        self._taking = threading.Lock()  # held while the next task is made, which may take long
        self._changed = threading.Condition()
        self._tasks: Generator[S, None, None] | None = None
        self._results: dict[int, tuple[T | None, BaseException | None]] = {}
        self._num_taken = self._num_handed_out = 0
        self._is_exhausted = self._is_closed = False

    def take(self) -> tuple[int, S] | None:
        """Return the next task and its number once there is room for its result, None where there is nothing more to do."""
        with self._taking:
            with self._changed:
                self._changed.wait_for(lambda: self._is_over() or self._num_taken - self._num_handed_out < self._depth)
                if self._is_over():
                    return None
                number = self._num_taken
            try:
                if self._tasks is None:
                    self._tasks = self._make_tasks()
                task = next(self._tasks)
            except StopIteration:
                with self._changed:
                    self._is_exhausted = True
                    self._changed.notify_all()
                return None
            except BaseException as error:
                with self._changed:
                    self._is_exhausted, self._num_taken = True, number + 1
                self.put(number, None, error)
                return None
            with self._changed:
                self._num_taken = number + 1
            return number, task

    def _is_over(self) -> bool:
        return self._is_closed or self._is_exhausted

    def put(self, number: int, item: T | None, error: BaseException | None) -> None:
        with self._changed:
            if not self._is_closed:
                self._results[number] = item, error
            # After a failure nothing that follows will be handed out.
            self._is_exhausted |= error is not None
            self._changed.notify_all()

    def get(self) -> T:
        """Return the next item. Raises `StopIteration` after the last, or what its task raised."""
        with self._changed:
            number = self._num_handed_out
            while not (number in self._results or self._is_closed or (self._is_exhausted and self._num_taken <= number)):
                # The handler of a signal may close this between the look and the wait, in this very thread: nobody would wake it then.
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            if number not in self._results:
                raise StopIteration
            item, error = self._results.pop(number)
            self._num_handed_out += 1
            self._changed.notify_all()
        if error is not None:
            self.close()
            raise error
        return item  # type: ignore[return-value]

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._results.clear()
            self._changed.notify_all()
        if self._on_close is not None:
            self._on_close()

    def leave(self) -> None:
        """Note the end of a thread. The last one ends the tasks."""
        with self._changed:
            self._num_running -= 1
            is_last = self._num_running == 0
        if is_last and self._tasks is not None:
            self._tasks.close()


@final
class Prefetcher(Generic[S, T]):
    """What workers make of tasks, in the order of the tasks, up to `depth` items ahead by `num_threads` threads.

    With depth 0 each is made when it is asked for, in the caller's thread. An exception reaches the caller after the items before it.
    The threads start with the first item asked for and end, having closed workers and tasks, with the last item, an error, `close()`, when
    this object is dropped, and when the interpreter exits.

    on_close: called before threads are waited for, perhaps more than once: what tells tasks that wait for something to end.
    """

    def __init__(
        self,
        tasks: Callable[[], Generator[S, None, None]],
        worker: Callable[[], Worker[S, T]],
        depth: int,
        num_threads: int = 1,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self._tasks, self._worker, self._depth, self._on_close = tasks, worker, depth, on_close
        self._num_threads = min(num_threads, depth)
        self._shared: _Shared[S, T] | None = None
        self._items: Generator[T, None, None] | None = None
        self._end: Callable[[], object] | None = None

    def __iter__(self) -> Prefetcher[S, T]:
        return self

    def __next__(self) -> T:
        if self._end is None:
            self._start()
        if self._items is not None:
            return next(self._items)
        assert self._shared is not None
        return self._shared.get()

    def stop(self) -> None:
        """End the iteration, without waiting for the threads. May be called from any thread and from a signal handler."""
        if self._shared is not None:
            self._shared.close()

    def close(self) -> None:
        """End the threads and wait for them: at most until the items being made are made. What follows is the end of the iteration."""
        if self._end is None:
            self._depth = 0
            self._start()
        assert self._end is not None
        self._end()

    def _start(self) -> None:
        if self._depth == 0:
            self._items = _made(self._tasks, self._worker)
            self._end = self._items.close
            return
        # The threads must not know this object, or dropping it would not drop it.
        shared = self._shared = _Shared[S, T](self._tasks, self._depth, self._num_threads, self._on_close)
        threads = [
            threading.Thread(target=_work, args=(shared, self._worker), name="sparrow-reader", daemon=True)
            for _ in range(self._num_threads)
        ]
        # Daemons that the finalizer ends and joins: at exit Python calls finalizers only after waiting for all other threads.
        self._end = weakref.finalize(self, _stop, shared, threads)
        for thread in threads:
            thread.start()


def _made(tasks: Callable[[], Generator[S, None, None]], worker: Callable[[], Worker[S, T]]) -> Generator[T, None, None]:
    work, items = worker(), tasks()
    try:
        for task in items:
            yield work(task)
            del task
    finally:
        items.close()
        work.close()


def _work(shared: _Shared[S, T], worker: Callable[[], Worker[S, T]]) -> None:
    try:
        work = worker()
        try:
            while (taken := shared.take()) is not None:
                number, task = taken
                del taken
                try:
                    shared.put(number, work(task), None)
                except BaseException as error:
                    shared.put(number, None, error)
                del task
        finally:
            work.close()
    finally:
        shared.leave()


def _stop(shared: _Shared[S, T], threads: list[threading.Thread]) -> None:
    shared.close()
    for thread in threads:
        if thread is not threading.current_thread() and thread.is_alive():
            thread.join()
