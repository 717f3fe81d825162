"""What every stream does alike: hand out batches, keep the place of the last one, end when asked."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Literal, TypeVar

from sparrow.errors import ConfigError
from sparrow.io.agreement import Agreement
from sparrow.io.cutting import Cost
from sparrow.io.grouping import Sharing, share_rows
from sparrow.io.row_work import RowWork
from sparrow.io.streams.in_step import InStep, StreamTail
from sparrow.io.streams.reader import Reader
from sparrow.io.streams.rows import Handout, Place
from sparrow.types import Batch, ColumnSpec

End = Literal["never", "now"]
OnError = Literal["error", "skip"]
Self = TypeVar("Self", bound="AbstractStream")


class AbstractStream(ABC):
    """Batches of a source that goes on. A subclass reads in `_read`, in a thread, and keeps places in `_advance`, in the caller's."""

    def __init__(
        self,
        *,
        specs: tuple[ColumnSpec, ...],
        batch_size: int,
        cost: Cost | None,
        work: RowWork | None,
        in_step: InStep | None,
        prefetch: int,
        groups: Sharing | None,
    ) -> None:
        require_int("batch_size", batch_size, 1)
        require_int("prefetch", prefetch, 1)
        require_cost(cost, specs)
        self._specs, self._work, self._groups, self._in_step = specs, work, groups, in_step
        self._batch_size, self._cost = batch_size, cost
        self._prefetch = prefetch
        self._epoch = 0
        self._num_skipped = 0
        self._reader: Reader[Handout] | None = None

    @abstractmethod
    def _read(self, stopping: threading.Event) -> Generator[Handout, None, None]:
        """Yield from the place of the last batch handed out, until the end or until `stopping`. Runs in the reader's thread."""

    @abstractmethod
    def _advance(self, after: dict[Any, Place]) -> None:
        """Take over the places after what was just handed out."""

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns asked for."""
        return self._specs

    @property
    def epoch(self) -> int:
        """Times the stream has reached its end; with `end="never"` always 0."""
        return self._epoch

    @property
    def batch_size(self) -> int:
        """Rows of a full batch."""
        return self._batch_size

    @property
    def skipped(self) -> int:
        """Bad messages or files left out since this was made, up to the last batch handed out."""
        return self._num_skipped

    @property
    def num_filtered(self) -> int:
        """How many rows `where` left out so far, those read ahead included, and once more each time they are read again."""
        return 0 if self._work is None else self._work.num_filtered.value

    @property
    def num_rows(self) -> None:
        """None: how many rows will come is not known."""
        return None

    def __iter__(self) -> Iterator[Batch]:
        self.close()
        self._reader = reader = Reader(self._read, self._prefetch)
        return self._batches(reader)

    def _batches(self, reader: Reader[Handout]) -> Iterator[Batch]:
        try:
            for batch, moves in _alone(reader) if self._in_step is None else self._in_step.steps(reader):
                self._require_current(reader)
                if batch is not None and self._groups is not None:
                    batch = share_rows(batch, self._groups)
                for _, after, num_skipped in moves:
                    self._advance(after)
                    self._num_skipped += num_skipped
                if batch is not None:
                    yield batch
                    del batch
                    self._require_current(reader)
            if not reader.was_stopped:
                self._epoch += 1
        finally:
            reader.close()

    def _require_current(self, reader: Reader[Handout]) -> None:
        if self._reader is not reader:
            raise ConfigError(
                "another iteration of this stream began, or its state was loaded; use one iterator at a time, or make two streams"
            )

    def _forget_iteration(self) -> None:
        self.close()
        self._reader = None

    def interrupt(self) -> None:
        """End the iteration in progress as if the stream had ended, the place kept and `epoch` not counted; another `iter` goes on.

        Returns at once. May be called from another thread and from a signal handler while an iteration waits for rows.
        """
        if self._reader is not None:
            self._reader.stop()

    def close(self) -> None:
        """End the iteration in progress and wait until its thread has closed files and connections. Another `iter` goes on from there."""
        if self._reader is not None:
            self._reader.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _alone(reader: Reader[Handout]) -> Iterator[tuple[Batch | None, list[Handout]]]:
    for handout in reader:
        yield handout.batch, [handout._replace(batch=None)]
        del handout


def in_step_of(agree: Agreement | None, tail: StreamTail, end: End, rank: int, world_size: int) -> InStep | None:
    """Return how ranks end together, None where each ends by itself. Raises `ConfigError` for what cannot be."""
    require_ranks(rank, world_size)
    require_one_of("tail", tail, ("short", "drop"))
    if agree is None:
        if tail != "short":
            raise ConfigError(f"tail={tail!r} is for ranks that end together: give agree=Agreement(store, name), or leave it out")
        return None
    if not isinstance(agree, Agreement):
        raise ConfigError(f"agree is {agree!r}; give an Agreement of sparrow.io, or leave it out")
    if end != "now":
        raise ConfigError(f'agree is for end="now", and end is {end!r}: a stream that goes on has no end to agree on; leave it out')
    return None if world_size == 1 else InStep(agree, tail, rank, world_size)


def require_int(name: str, value: int, least: int) -> None:
    """Raise `ConfigError` unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")


def require_ranks(rank: int, world_size: int) -> None:
    """Raise `ConfigError` unless `rank` is one of `world_size`."""
    require_int("world_size", world_size, 1)
    require_int("rank", rank, 0)
    if rank >= world_size:
        raise ConfigError(f"rank is {rank}, world_size {world_size}; ranks count from 0 to {world_size - 1}")


def require_cost(cost: Cost | None, specs: tuple[ColumnSpec, ...]) -> None:
    """Raise `ConfigError` unless `cost` is None, or a cost of columns that are read."""
    if cost is None:
        return
    if not isinstance(cost, Cost):
        raise ConfigError(f"cost is {cost!r}; give a Cost of sparrow.io, or leave it out")
    cost.require_read(specs)


def require_seconds(name: str, value: float) -> None:
    """Raise `ConfigError` unless `value` is a finite number of seconds above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {value!r}; expected seconds, more than 0")


def require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless `value` is one of `known`."""
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")
