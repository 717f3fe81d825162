"""From a connection to batches: positions at the start, messages in the order they arrive, full batches and late ones."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from sparrow.errors import DataError
from sparrow.io.cutting import Cost
from sparrow.io.pieces import Piece
from sparrow.io.row_work import WorkError
from sparrow.io.streams.broker import AwayError, Broker, Message, OffsetGoneError
from sparrow.io.streams.liveness import Liveness
from sparrow.io.streams.partitions import Partition, Position
from sparrow.io.streams.payloads import AbstractPayloads, Parsed, PoisonError
from sparrow.io.streams.rows import Batcher, Handout, Mark, Place
from sparrow.io.streams.start import StartRule, require_held

# How long a thread may take to notice that it is to stop.
_POLL_SECONDS = 0.1
# Between questions to a broker that is quiet, and to one that is away; and how long to wait for an answer.
_PROBE_SECONDS = 5.0
_BUSY_PROBE_SECONDS = 60.0
_RETRY_SECONDS = 0.2
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message whose rows are not decoded yet; None where it has none to give."""

    mark: Mark
    parsed: Parsed | None


@final
class Poller:
    """One iteration over the partitions of a rank, in the reader's thread. The count may be read from any."""

    def __init__(
        self,
        partitions: Sequence[Partition],
        positions: dict[Partition, Position],
        start: StartRule,
        payloads: AbstractPayloads,
        liveness: Liveness,
        *,
        batch_size: int,
        flush_seconds: float,
        ends_now: bool,
        skips: bool,
        num_partitions: Mapping[str, int],
        cost: Cost | None = None,
    ) -> None:
        self.num_unread_partitions = 0
        self._partitions, self._positions, self._start = partitions, positions, start
        self._payloads, self._liveness = payloads, liveness
        self._batch_size, self._cost, self._flush_seconds = batch_size, cost, flush_seconds
        self._ends_now, self._skips, self._num_partitions = ends_now, skips, num_partitions
        self._ends: dict[Partition, int] = {}  # where partitions that are still read end, with ends_now
        self._resumed: dict[Partition, Position] = {}  # partitions of which a message was handed out in part
        self._batcher = Batcher(batch_size, cost)
        self._waiting: list[_Waiting] = []
        self._num_waiting_rows = 0
        self._probe_at = time.monotonic()

    def batches(self, broker: Broker, stopping: threading.Event) -> Iterator[Handout]:
        """Yield what to hand out, until the end or until `stopping`."""
        self._liveness.answered()
        try:
            yield from self._batches(broker, stopping)
        finally:
            self._liveness.answered()  # nobody waits for a broker any more

    def _batches(self, broker: Broker, stopping: threading.Event) -> Iterator[Handout]:
        begun = self._begin(broker, stopping)
        if begun is None:
            return
        yield Handout(None, begun)
        while not stopping.is_set() and not (self._ends_now and not self._ends):
            for message in self._poll(broker):
                self._add(message, broker)
                if self._num_rows >= self._batch_size:
                    yield from self._decoded()
            if self._cost is not None and self._waiting:
                # Fewer rows than a batch may hold may cost as much as it may: that is known once they are decoded.
                yield from self._decoded()
            if time.monotonic() >= self._deadline:
                yield from self._decoded()
                # What waited longest may have been of no row that is left.
                yield from self._batcher.empty_parts()
                if time.monotonic() >= self._deadline:
                    yield from self._batcher.rest()
        if not stopping.is_set():
            self._decode()
            yield from self._batcher.rest()

    @property
    def _num_rows(self) -> int:
        return self._batcher.num_rows + self._num_waiting_rows

    @property
    def _deadline(self) -> float:
        oldest = self._batcher.oldest
        if oldest is None and self._waiting:
            oldest = self._waiting[0].mark.arrived
        return float("inf") if oldest is None else oldest + self._flush_seconds

    def _decoded(self) -> Iterator[Handout]:
        self._decode()
        yield from self._batcher.full()

    # Where to begin.

    def _begin(self, broker: Broker, stopping: threading.Event) -> dict[Partition, Place] | None:
        """Assign the partitions and return their places; None where told to stop before a broker answered."""
        for partition in self._partitions:
            while True:
                if stopping.is_set():
                    return None
                try:
                    low, high = broker.watermarks(partition, _ANSWER_SECONDS)
                    if partition not in self._positions:
                        self._positions[partition] = self._start.position(partition, broker, low, high, _ANSWER_SECONDS)
                    break
                except AwayError:
                    self._liveness.lost()
                    stopping.wait(_RETRY_SECONDS)
            self._liveness.answered()
            position = self._positions[partition]
            require_held(partition, position, low, high)
            if position.row:
                self._resumed[partition] = position
            if self._ends_now and position.offset < high:
                self._ends[partition] = high
        wanted = self._ends if self._ends_now else self._partitions
        broker.assign({partition: self._positions[partition].offset for partition in wanted})
        return {partition: Place(position.offset, position.row) for partition, position in self._positions.items()}

    # What arrives.

    def _poll(self, broker: Broker) -> list[Message]:
        now = time.monotonic()
        try:
            messages = broker.poll(max(0.0, min(_POLL_SECONDS, self._deadline - now)))
        except OffsetGoneError as error:
            raise self._gone(error.partition, broker) from None
        if messages:
            self._liveness.answered()
        elif broker.is_down:
            self._liveness.lost()
        # Questions may take long, so only while no row waits, but for one a minute.
        is_idle = not messages and not self._num_rows
        if now >= self._probe_at + (0.0 if is_idle else _BUSY_PROBE_SECONDS):
            self._probe(broker)
            self._probe_at = time.monotonic() + (_RETRY_SECONDS if self._liveness.is_lost else _PROBE_SECONDS)
        return messages

    def _probe(self, broker: Broker) -> None:
        """Ask how many partitions there are now: a broker that answers is not away."""
        try:
            now = {topic: broker.num_partitions(topic, _ANSWER_SECONDS) for topic in self._num_partitions}
        except AwayError:
            self._liveness.lost()
            return
        self._liveness.answered()
        self.num_unread_partitions = sum(max(0, count - self._num_partitions[topic]) for topic, count in now.items())

    def _gone(self, partition: Partition, broker: Broker) -> Exception:
        """Return the error that says what a broker holds instead of the position of `partition`."""
        try:
            low, high = broker.watermarks(partition, _ANSWER_SECONDS)
            require_held(partition, self._positions[partition], low, high)
        except AwayError as error:
            return DataError(f"{partition}: the position is gone from the broker, which does not say what it holds ({error}); try again")
        except DataError as error:
            return error
        return DataError(
            f"{partition}: the position is gone from the broker, which holds offsets {low} to {high}; start again from the state"
        )

    def _add(self, message: Message, broker: Broker) -> None:
        partition, offset = message.partition, message.offset
        if self._ends_now:
            end = self._ends.get(partition)
            if end is None:
                return
            if offset >= end or (offset == end - 1 and not message.is_end):
                del self._ends[partition]
                broker.pause(partition)
            if offset >= end:
                return
        if message.is_end:
            return
        path = f"{partition} offset {offset}"
        self._positions[partition] = Position(offset + 1, 0)
        first_row = self._first_row(partition, offset)
        mark = Mark(partition, offset, path, first_row, 0, True, time.monotonic())
        try:
            parsed = self._parse(message, first_row, path)
        except PoisonError as error:
            self._waiting.append(_Waiting(self._refused(mark, error), None))
            return
        self._waiting.append(_Waiting(replace(mark, num_rows=parsed.num_rows), parsed))
        self._num_waiting_rows += parsed.num_rows

    def _first_row(self, partition: Partition, offset: int) -> int:
        resumed = self._resumed.pop(partition, None)
        if resumed is None:
            return 0
        if offset != resumed.offset:
            raise DataError(
                f"{partition}: row {resumed.row} of offset {resumed.offset} is wanted next, but the broker gives offset {offset}: "
                "compaction removed the message, its other rows are lost; start anew with no state to go on without them"
            )
        return resumed.row

    def _parse(self, message: Message, first_row: int, path: str) -> Parsed:
        if message.value is None:
            raise PoisonError("has no value: it is a tombstone; produce rows to this topic, or leave such messages out")
        parsed = self._payloads.parse(message.value, path)
        if first_row > parsed.num_rows:
            raise PoisonError(f"row {first_row} is wanted next, but it holds {parsed.num_rows}: it is not what it was; start anew")
        return parsed.since(first_row)

    def _refused(self, mark: Mark, error: PoisonError) -> Mark:
        """Return the mark of a message that is left out; raise `DataError` where none is."""
        if not self._skips:
            raise DataError(f'{mark.path}: {error}; or leave such messages out with on_error="skip"') from None
        return replace(mark, num_rows=0, num_skipped=1)

    def _decode(self) -> None:
        """Make columns of all messages that wait."""
        for _, group in itertools.groupby(self._waiting, lambda waiting: id(waiting.parsed.plans) if waiting.parsed else None):
            self._decode_together(list(group))
        self._waiting, self._num_waiting_rows = [], 0

    def _decode_together(self, group: list[_Waiting]) -> None:
        """Make columns of messages of equal plans; where that fails, of each half, until the message that is wrong stands alone."""
        full = [one.parsed for one in group if one.parsed is not None and one.parsed.num_rows]
        marks, path = [one.mark for one in group], _path_of(group)
        try:
            if not full:
                self._batcher.add(None, marks)
                return
            columns, kept = self._payloads.columns(full, path)
        except WorkError:
            self._require_work(group)
            raise
        except PoisonError as error:
            if len(group) > 1:
                self._decode_together(group[: len(group) // 2])
                self._decode_together(group[len(group) // 2 :])
                return
            self._batcher.add(None, [self._refused(group[0].mark, error)])
            return
        marks = marks if kept is None else _kept_of(marks, kept)
        num_rows = sum(mark.num_rows for mark in marks)
        self._batcher.add(Piece(path, 0, 0, num_rows, columns) if num_rows else None, marks)

    def _require_work(self, group: list[_Waiting]) -> None:
        """Raise the `WorkError` of the first message that a user's functions fail on by itself, if there is one."""
        for mark, parsed in ((one.mark, one.parsed) for one in group):
            if parsed is not None and parsed.num_rows:
                with contextlib.suppress(PoisonError):
                    self._payloads.columns([parsed], mark.path)


def _path_of(group: list[_Waiting]) -> str:
    first, last = group[0].mark.path, group[-1].mark.path
    return first if len(group) == 1 else f"{first} and {len(group) - 1} more up to {last}"


def _kept_of(marks: list[Mark], kept: Any) -> list[Mark]:
    """Return the marks of rows of which only some are left. kept: int64, as numbers into all of them."""
    begins = [0, *itertools.accumulate(mark.num_rows for mark in marks)]
    bounds = np.searchsorted(kept, begins).tolist()
    left = []
    for mark, begin, low, high in zip(marks, begins, bounds, bounds[1:], strict=False):
        is_whole = high - low == mark.num_rows
        left.append(mark if is_whole else replace(mark, num_rows=high - low, rows=kept[low:high] - begin + mark.first_row))
    return left
