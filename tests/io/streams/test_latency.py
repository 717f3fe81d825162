"""How long a row waits for its batch, by a clock that moves only when somebody waits: no test of this depends on the machine."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparrow.io.cutting import Cost
from sparrow.io.row_work import RowWork
from sparrow.io.streams.broker import AwayError, Message
from sparrow.io.streams.liveness import Liveness
from sparrow.io.streams.partitions import Partition
from sparrow.io.streams.payloads import ArrowPayloads
from sparrow.io.streams.poll import Poller
from sparrow.io.streams.start import parse_start
from sparrow.types import ColumnSpec
from streams_support import ids_message

PARTITION = Partition("t", 0)
ANSWER_SECONDS = 0.005


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Broker:
    """Hands out messages from the time they arrive on. A poll lasts until then, or its timeout; a question some milliseconds."""

    clock: Clock
    arrivals: list[tuple[float, bytes]]
    away: tuple[float, float] = (0.0, 0.0)
    num_given: int = 0
    num_questions: int = 0

    @property
    def is_down(self) -> bool:
        return self.away[0] <= self.clock.now < self.away[1]

    def watermarks(self, partition: Partition, timeout: float) -> tuple[int, int]:
        return 0, 0

    def assign(self, offsets: Any) -> None:
        assert offsets == {PARTITION: 0}

    def num_partitions(self, topic: str, timeout: float) -> int:
        self.num_questions += 1
        if self.is_down:
            self.clock.now += timeout
            raise AwayError("no answer")
        self.clock.now += ANSWER_SECONDS
        return 1

    def poll(self, timeout: float) -> list[Message]:
        waiting = self.arrivals[self.num_given :]
        until = self.clock.now + timeout
        arrives = until if self.is_down else min([until, *(at for at, _ in waiting[:1])])
        self.clock.now = max(self.clock.now, arrives)
        given = [value for at, value in waiting if at <= self.clock.now and not self.is_down]
        self.num_given += len(given)
        first = self.num_given - len(given)
        return [Message(PARTITION, first + index, value, False) for index, value in enumerate(given)]


def batches_of(
    clock: Clock,
    broker: Broker,
    liveness: Liveness,
    num_rows: int,
    batch_size: int,
    flush_seconds: float,
    every: int = 1,
    cost: Cost | None = None,
) -> Iterator[list[int]]:
    """Yield the rows of each batch, as it is handed out, until there were `num_rows`. Rows that are no multiple of `every` are left out."""
    work = RowWork.of(None if every == 1 else lambda batch: batch["id"].to_numpy() % every == 0, None, [])
    stopping, num_seen = threading.Event(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparrow.io.streams.poll.time", SimpleNamespace(monotonic=clock.monotonic))
        poller = Poller(
            [PARTITION], {}, parse_start("earliest", ["t"]), ArrowPayloads([ColumnSpec("id")], work), liveness, batch_size=batch_size,
            flush_seconds=flush_seconds, ends_now=False, skips=False, num_partitions={"t": 1}, cost=cost,
        )  # fmt: skip
        for batch, _, _ in poller.batches(broker, stopping):  # type: ignore[arg-type]
            if batch is not None:
                ids = batch["id"]
                assert isinstance(ids, Tensor)
                yield ids.tolist()
                num_seen += batch.num_samples
            if num_seen == num_rows:
                stopping.set()


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.1, 0.4, 0.5, 0.7, 3.0, 11.0]), st.integers(1, 5)), min_size=1, max_size=40),
    st.integers(1, 9),
    st.sampled_from([0.05, 0.5, 0.9]),
    st.integers(1, 4),
    st.none() | st.integers(1, 9),
)
def test_no_row_waits_longer_than_it_was_allowed(
    gaps: list[tuple[float, int]], batch_size: int, flush_seconds: float, every: int, limit: int | None
) -> None:
    """`gaps`: seconds since the message before, and its rows. A batch is full, or its first row has waited as long as it may."""
    clock, numbers = Clock(), itertools.count()
    times = itertools.accumulate((gap for gap, _ in gaps), initial=clock.now)
    next(times)
    arrivals = [(at, [next(numbers) for _ in range(size)]) for at, (_, size) in zip(times, gaps, strict=True)]
    arrived = {row: at for at, rows in arrivals for row in rows}
    broker = Broker(clock, [(at, ids_message(rows)) for at, rows in arrivals])
    wanted = [row for row in arrived if row % every == 0]
    cost = None if limit is None else Cost(["id"], limit)  # a row costs 1
    full = batch_size if limit is None else min(limit, batch_size)
    seen: list[int] = []
    for rows in batches_of(clock, broker, Liveness(clock.monotonic), len(wanted), batch_size, flush_seconds, every, cost):
        waits = [clock.now - arrived[row] for row in rows]
        assert max(waits) <= flush_seconds + 2 * ANSWER_SECONDS
        assert len(rows) == full or max(waits) >= flush_seconds - 1e-6
        seen += rows
    assert seen == wanted
    assert broker.num_questions <= 1 + (clock.now - 1000.0) / 5.0


@pytest.mark.parametrize("waiting_rows", [0, 3])
def test_a_broker_away_for_a_minute_costs_a_minute_and_no_row(waiting_rows: int) -> None:
    """What had arrived before is handed out on time; what arrives meanwhile comes when the broker is back; the minute is counted."""
    clock = Clock()
    began = clock.now
    before, meanwhile = list(range(waiting_rows)), [100, 101]
    arrivals = [(began + 10.0, before)] if before else []
    broker = Broker(clock, [(at, ids_message(rows)) for at, rows in [*arrivals, (began + 40.0, meanwhile)]], (began + 10.1, began + 70.1))
    liveness, handed_out = Liveness(clock.monotonic), []
    for rows in batches_of(clock, broker, liveness, len(before) + 2, 8, 0.5):
        handed_out.append((rows, clock.now - began, liveness.stalled_seconds))
    if before:
        assert handed_out[0][0] == before
        assert handed_out[0][1] == pytest.approx(10.5, abs=0.02)
    rows, at, stalled = handed_out[-1]
    assert rows == meanwhile
    assert at == pytest.approx(70.6, abs=1.2)  # a question that went unanswered may have to end first, which takes a second
    assert 58 <= stalled <= 67  # from the last answer on
    assert len(handed_out) == 1 + bool(before)
