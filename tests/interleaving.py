"""Triton's interpreter with races: programs of a kernel take turns at memory, in an order drawn by chance, and see stale values.

The interpreter runs one program after the other, so it shows no race. Here every load, store and atomic is cut into pieces of a few
lanes; before each piece another program may go on; and a load may return what its word held at any time since the kernel began, as a
cache that nobody invalidates would. That is more than a GPU does: what holds here needs no fence and no order but those of kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import triton.runtime.interpreter as interpreter

_STALE = 0.3
_MOST_PIECES = 3


class _Program:
    def __init__(self, run: Callable[[], None], grid_index: tuple[int, int, int]) -> None:
        self.grid_index = grid_index
        self.may_run, self.error = threading.Semaphore(0), None
        self.done = False
        self._run = run
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        self.may_run.acquire()
        try:
            self._run()
        except BaseException as error:
            self.error = error
        self.done = True
        _races.stopped.release()


class _Races:
    """Stands for the native half of the interpreter: `load`, `store`, `atomic_cas`, `atomic_rmw` race, the rest is its own."""

    def __init__(self) -> None:
        self.native = interpreter._interpreter
        self.stopped = threading.Semaphore(0)
        self.current: _Program | None = None
        self.random = np.random.default_rng(0)
        self.resident: int | None = None
        self.earlier: dict[int, list[int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    def run(self, programs: list[tuple[Callable[[], None], tuple[int, int, int]]]) -> None:
        self.earlier.clear()
        waiting = [_Program(*program) for program in programs]
        if self.resident is not None:
            waiting = [waiting[place] for place in self.random.permutation(len(waiting))]
        living: list[_Program] = []
        while living or waiting:
            while waiting and (self.resident is None or len(living) < self.resident):
                living.append(waiting.pop())
            self.current = living[self.random.integers(len(living))]
            interpreter.interpreter_builder.grid_idx = self.current.grid_index
            self.current.may_run.release()
            self.stopped.acquire()
            if self.current.error is not None:
                raise self.current.error
            if self.current.done:
                living.remove(self.current)

    def _pieces(self, size: int) -> Iterator[np.ndarray]:
        """Yield indices of lanes, after others had their turn."""
        own = self.current
        for piece in np.array_split(self.random.permutation(size), self.random.integers(1, _MOST_PIECES + 1)):
            if own is not None:
                self.stopped.release()
                own.may_run.acquire()
            yield piece

    def _remember(self, addresses: np.ndarray) -> None:
        for word in np.unique(addresses & ~np.uint64(7)).tolist():
            self.earlier.setdefault(word, []).append(ctypes.c_uint64.from_address(word).value)

    def load(self, pointers: np.ndarray, mask: np.ndarray, other: np.ndarray, dtype: Any) -> np.ndarray:
        flat, kept, others = (np.broadcast_to(array, pointers.shape).ravel() for array in (pointers, mask, other))
        values = np.empty(flat.shape, dtype)
        for piece in self._pieces(flat.size):
            values[piece] = self.native.load(flat[piece], kept[piece], others[piece], dtype)
            for lane in piece[kept[piece]].tolist():
                address = int(flat[lane])
                stale = self.earlier.get(address & ~7)
                if stale and self.random.random() < _STALE:
                    word = np.uint64(stale[self.random.integers(len(stale))])
                    values[lane] = np.frombuffer(word.tobytes(), dtype)[(address & 7) // np.dtype(dtype).itemsize]
        return values.reshape(pointers.shape)

    def store(self, pointers: np.ndarray, values: np.ndarray, mask: np.ndarray) -> None:
        flat, given, kept = (np.broadcast_to(array, pointers.shape).ravel() for array in (pointers, values, mask))
        for piece in self._pieces(flat.size):
            self._remember(flat[piece][kept[piece]])
            self.native.store(flat[piece], given[piece], kept[piece])

    def atomic_cas(self, pointers: np.ndarray, compare: np.ndarray, values: np.ndarray, order: Any) -> np.ndarray:
        flat, wanted, given = (np.broadcast_to(array, pointers.shape).ravel() for array in (pointers, compare, values))
        old = np.empty(flat.shape, wanted.dtype)
        for piece in self._pieces(flat.size):
            self._remember(flat[piece])
            old[piece] = self.native.atomic_cas(flat[piece], wanted[piece], given[piece], order)
        return old.reshape(pointers.shape)

    def atomic_rmw(self, operation: Any, pointers: np.ndarray, values: np.ndarray, mask: np.ndarray, order: Any) -> np.ndarray:
        flat, given, kept = (np.broadcast_to(array, pointers.shape).ravel() for array in (pointers, values, mask))
        old = np.zeros(flat.shape, given.dtype)
        for piece in self._pieces(flat.size):
            self._remember(flat[piece][kept[piece]])
            old[piece] = self.native.atomic_rmw(operation, flat[piece], given[piece], kept[piece], order)
        return old.reshape(pointers.shape)


_races = _Races()


@contextlib.contextmanager
def races(seed: int, resident: int | None = None) -> Iterator[None]:
    """Let the programs of every kernel started inside race, in an order that follows from `seed`.

    resident: so many programs run at a time, and the others begin, in any order, where one has ended: as on a GPU with few processors. A
    program that waits for one that has not begun then waits for ever.
    """
    builder, executor = interpreter.interpreter_builder, interpreter.GridExecutor
    launch, set_grid_dim = executor.__call__, builder.set_grid_dim
    launched: list[Any] = []

    def racing_launch(self: Any, *arguments: Any, **named: Any) -> None:
        launched.append(self)
        function = self.fn
        try:
            launch(self, *arguments, **named)
        finally:
            self.fn = function
            launched.pop()

    def collect(*grid: int) -> None:
        """The arguments are ready and the programs are about to be called, one by one: only the call of the last one runs them."""
        set_grid_dim(*grid)
        own, programs = launched[-1], []
        function = own.fn

        def call(**arguments: Any) -> None:
            programs.append((lambda: function(**arguments), builder.grid_idx))
            if len(programs) == grid[0] * grid[1] * grid[2]:
                _races.run(programs)

        own.fn = call

    _races.random = np.random.default_rng(seed)
    _races.resident = resident
    executor.__call__, builder.set_grid_dim, interpreter._interpreter = racing_launch, collect, _races
    try:
        yield
    finally:
        executor.__call__, interpreter._interpreter = launch, _races.native
        del builder.set_grid_dim
        _races.current = None
