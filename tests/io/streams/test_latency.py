"""How long a row waits for its batch, by a clock that moves only when somebody waits: no test of this depends on the machine."""

import itertools
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparrow.io.streams.broker import Message
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
    is_down: bool = False
    num_given: int = 0
    num_questions: int = field(default=0)

    def watermarks(self, partition: Partition, timeout: float) -> tuple[int, int]:
        return 0, 0

    def assign(self, offsets: Any) -> None:
        assert offsets == {PARTITION: 0}

    def num_partitions(self, topic: str, timeout: float) -> int:
        self.clock.now += ANSWER_SECONDS
        self.num_questions += 1
        return 1

    def poll(self, timeout: float) -> list[Message]:
        waiting = self.arrivals[self.num_given :]
        until = self.clock.now + timeout
        self.clock.now = max(self.clock.now, min([until, *(at for at, _ in waiting[:1])]))
        given = [value for at, value in waiting if at <= self.clock.now]
        self.num_given += len(given)
        first = self.num_given - len(given)
        return [Message(PARTITION, first + index, value, False) for index, value in enumerate(given)]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.1, 0.4, 0.5, 0.7, 3.0, 11.0]), st.integers(1, 5)), min_size=1, max_size=40),
    st.integers(1, 9),
    st.sampled_from([0.05, 0.5, 0.9]),
)
def test_no_row_waits_longer_than_it_was_allowed(gaps: list[tuple[float, int]], batch_size: int, flush_seconds: float) -> None:
    """`gaps`: seconds since the message before, and its rows. A batch is full, or its first row has waited as long as it may."""
    clock, numbers = Clock(), itertools.count()
    times = itertools.accumulate((gap for gap, _ in gaps), initial=clock.now)
    next(times)
    arrivals = [(at, [next(numbers) for _ in range(size)]) for at, (_, size) in zip(times, gaps, strict=True)]
    arrived = {row: at for at, rows in arrivals for row in rows}
    broker = Broker(clock, [(at, ids_message(rows)) for at, rows in arrivals])
    payloads, stopping, seen = ArrowPayloads([ColumnSpec("id")]), threading.Event(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparrow.io.streams.poll.time", SimpleNamespace(monotonic=clock.monotonic))
        poller = Poller(
            [PARTITION], {}, parse_start("earliest", ["t"]), payloads, Liveness(clock.monotonic), batch_size=batch_size,
            flush_seconds=flush_seconds, ends_now=False, skips=False, num_partitions={"t": 1},
        )  # fmt: skip
        for batch, _, _ in poller.batches(broker, stopping):  # type: ignore[arg-type]
            if batch is None:
                continue
            ids = batch["id"]
            assert isinstance(ids, Tensor)
            rows = ids.tolist()
            waits = [clock.now - arrived[row] for row in rows]
            assert max(waits) <= flush_seconds + 2 * ANSWER_SECONDS
            assert len(rows) == batch_size or max(waits) >= flush_seconds - 1e-6
            seen += rows
            if len(seen) == len(arrived):
                stopping.set()
    assert seen == list(range(len(arrived)))
    assert broker.num_questions <= 1 + (clock.now - 1000.0) / 5.0
