"""Topics to batches, through a broker: what is read, from where, until when, and what happens to messages that are no rows."""

import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparrow.errors import BackendError, CheckpointError, ConfigError, DataError
from sparrow.io import Cost
from sparrow.io.streams import KafkaDataset
from sparrow.io.streams.broker import connect_confluent
from sparrow.types import Batch, ColumnSpec, Ragged
from streams_support import MockKafka, arrow_message, ids_message, json_message, wait_until
from tests_support import run_python

ID = ColumnSpec("id", dtype=torch.int64)
FAST = {"fetch.wait.max.ms": 10, "log_level": 2}


def ids_of(batch: Batch) -> list[int]:
    column = batch["id"]
    assert isinstance(column, Tensor)
    return column.tolist()


def dataset(kafka: MockKafka, topic: Any, **options: Any) -> KafkaDataset:
    return KafkaDataset(topic, [ID], **{"batch_size": 8, "servers": kafka.servers, "config": FAST, "end": "now", **options})


def all_ids(stream: KafkaDataset) -> list[int]:
    return [one for batch in stream for one in ids_of(batch)]


_TOPICS = itertools.count()


def lists_message(ids: list[int]) -> bytes:
    """Of each number, itself, and it as often as the rest by 3 says."""
    lists = pa.array([[one] * (one % 3) for one in ids], pa.list_(pa.int64()))
    return arrow_message(pa.table({"id": pa.array(ids, pa.int64()), "l": lists}))


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=12),
    st.integers(1, 9),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=3),
    st.sampled_from([{1, 4}, {0, 1, 3}, None, set()]),
    st.none() | st.integers(1, 8),
)
def test_every_row_once_whatever_stops_and_ranks(
    kafka: MockKafka,
    messages: list[tuple[int, int]],
    batch_size: int,
    world_size: int,
    stops: list[tuple[int, int]],
    wanted: set[int] | None,
    limit: int | None,
) -> None:
    """`messages`: (partition, rows). `stops`: after how many batches all ranks stop, and how many ranks go on.

    wanted: rests by 5 of the rows that are read, None for all. limit: of the values of lists in a batch.
    """
    topic = f"any{next(_TOPICS)}"
    kafka.produce(topic, [(0, lists_message([]))])  # so that the topic is there
    where = None if wanted is None else lambda batch: np.isin(batch["id"].to_numpy() % 5, list(wanted))
    options: dict[str, Any] = {"where": where, "cost": None if limit is None else Cost(["l"], limit)}
    numbers = itertools.count()
    produced = [[next(numbers) for _ in range(size)] for _, size in messages]
    kafka.produce(topic, [(partition, lists_message(ids)) for (partition, _), ids in zip(messages, produced, strict=True)])
    seen: list[int] = []
    states: list[dict[str, Any]] = []
    for num_batches, world_now in [(stop, world) for (stop, _), world in zip(stops, [world_size, *(w for _, w in stops)], strict=False)] + [
        (sys.maxsize, stops[-1][1] if stops else world_size)
    ]:
        ranks = [
            KafkaDataset(
                topic, ["id", "l"], batch_size=batch_size, servers=kafka.servers, config=FAST, end="now",
                rank=rank, world_size=world_now, **options,
            )
            for rank in range(world_now)
        ]  # fmt: skip
        for stream in ranks:
            if states:
                stream.load_state_dict(states)
            with stream:
                for batch in itertools.islice(stream, num_batches):
                    ids = ids_of(batch)
                    assert len(ids) <= batch_size
                    assert limit is None or len(ids) == 1 or sum(one % 3 for one in ids) <= limit
                    seen += ids
        states = [json.loads(json.dumps(stream.state_dict())) for stream in ranks]
    assert Counter(seen) == Counter(one for ids in produced for one in ids if wanted is None or one % 5 in wanted)
    # Messages of which nothing is left are consumed too.
    counts = Counter([0, *(partition for partition, _ in messages)])
    positions = {partition: (offset, row) for state in states for partition, offset, row in state["positions"][topic]}
    assert positions == {partition: (counts[partition], 0) for partition in range(4)}


def test_batches_are_cut_by_rows_and_name_where_rows_came_from(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(2, ids_message(range(5))), (2, ids_message(range(5, 10))), (2, ids_message(range(10, 13)))])
    batches = list(dataset(kafka, topic))
    assert [ids_of(batch) for batch in batches] == [list(range(8)), list(range(8, 13))]
    assert [(span.path, span.first_row, span.num_rows) for span in batches[0].origin] == [
        (f"{topic}[2] offset 0", 0, 5),
        (f"{topic}[2] offset 1", 0, 3),
    ]
    assert batches[1].locate(1) == f"{topic}[2] offset 1, row 4"


def test_weights_stay_with_their_values_across_messages_and_batches(kafka: MockKafka, topic: str) -> None:
    rows = [[(number, number / 2), (-number, 1.0)][: number % 3] for number in range(20)]
    tags = [pa.array(rows[begin : begin + 5], pa.map_(pa.int64(), pa.float32())) for begin in range(0, 20, 5)]
    kafka.produce(topic, [(0, arrow_message(pa.table({"tags": one}))) for one in tags])
    seen = []
    for batch in KafkaDataset(topic, ["tags"], batch_size=4, servers=kafka.servers, config=FAST, end="now"):
        column = batch["tags"]
        assert isinstance(column, Ragged)
        assert column.weights is not None
        pairs = list(zip(column.values.tolist(), column.weights.tolist(), strict=True))
        seen += [pairs[begin:end] for begin, end in itertools.pairwise(column.offsets[0].tolist())]
    assert seen == rows


def test_json_objects_and_arrays(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, json_message({"id": 1, "more": {}})), (0, json_message([{"id": 2}, {"id": 3}])), (0, json_message([]))])
    stream = dataset(kafka, topic, format="json")
    assert all_ids(stream) == [1, 2, 3]
    assert stream.state_dict()["positions"][topic][0] == [0, 3, 0]


def test_a_part_filled_batch_comes_within_a_second(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([1]))])
    with dataset(kafka, topic, end="never", batch_size=1000, flush_seconds=0.3, start="earliest") as stream:
        batches = iter(stream)
        assert ids_of(next(batches)) == [1]
        seconds = []
        for one in (2, 3, 4):
            began = time.monotonic()
            kafka.produce(topic, [(1, ids_message([one]))])
            assert ids_of(next(batches)) == [one]
            seconds.append(time.monotonic() - began)
        assert min(seconds) >= 0.3
        assert min(seconds) < 1.0  # the least, since others may have the processor meanwhile


def test_full_batches_do_not_wait(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message(range(16)))])
    with dataset(kafka, topic, end="never", flush_seconds=3600) as stream:
        assert [ids_of(batch) for batch in itertools.islice(stream, 2)] == [list(range(8)), list(range(8, 16))]


def test_now_ends_at_what_there_was_and_the_next_iteration_goes_on(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([1])), (3, ids_message([2]))])
    stream = dataset(kafka, topic)
    batches = iter(stream)
    first = next(batches)
    kafka.produce(topic, [(0, ids_message([3])), (1, ids_message([4]))])
    assert sorted(ids_of(first) + [one for batch in batches for one in ids_of(batch)]) == [1, 2]
    assert stream.epoch == 1
    assert sorted(all_ids(stream)) == [3, 4]
    assert stream.epoch == 2
    assert all_ids(stream) == []
    assert stream.num_rows is None


# Where it starts.


def test_latest_keeps_what_comes_after_its_first_batch_was_asked_for(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([1]))])
    stream = dataset(kafka, topic, start="latest")
    assert all_ids(stream) == []
    kafka.produce(topic, [(0, ids_message([2]))])
    resumed = dataset(kafka, topic, start="latest")
    resumed.load_state_dict(stream.state_dict())
    assert all_ids(resumed) == [2]


def test_offsets(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(partition, ids_message([10 * partition + offset])) for partition in range(4) for offset in range(3)])
    assert sorted(all_ids(dataset(kafka, topic, start={0: 1, 1: 3, 2: 0, 3: 2}))) == [1, 2, 20, 21, 22, 32]
    starts = {(topic, partition): 2 for partition in range(4)}
    assert sorted(all_ids(dataset(kafka, topic, start=starts))) == [2, 12, 22, 32]
    with pytest.raises(ConfigError, match=rf"start names no offset for {topic}\[2\]"):
        all_ids(dataset(kafka, topic, start={0: 1, 1: 3}))


def test_an_offset_beyond_the_end_is_an_error(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([1]))])
    with pytest.raises(
        DataError, match=rf"{topic}\[0\]: offset 5 is wanted next, but the broker holds only offsets before 1 \(from 0 on\)"
    ):
        all_ids(dataset(kafka, topic, start={0: 5, 1: 0, 2: 0, 3: 0}))


def test_checkpoint_needs_a_state_and_begins_new_partitions_at_their_first_row(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([1])), (1, ids_message([2]))])
    with pytest.raises(ConfigError, match="no state was loaded"):
        all_ids(dataset(kafka, topic, start="checkpoint"))
    stream = dataset(kafka, topic)
    assert sorted(all_ids(stream)) == [1, 2]
    state = stream.state_dict()
    # As if the topic had had three partitions then.
    state["num_partitions"][topic] = 3
    del state["positions"][topic][3]
    kafka.produce(topic, [(0, ids_message([3])), (3, ids_message([4]))])
    resumed = dataset(kafka, topic, start="checkpoint")
    resumed.load_state_dict(state)
    assert sorted(all_ids(resumed)) == [3, 4]


class FakeConsumer:
    """A real consumer, but for what librdkafka's mock broker does not do: times, and messages that retention deleted."""

    def __init__(self, settings: dict[str, Any], offsets: dict[int, int], low: int = 0) -> None:
        self._real = connect_confluent(settings)
        self._offsets, self._low = offsets, low
        self.asked: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def offsets_for_times(self, wanted: list[Any], timeout: float) -> list[Any]:
        self.asked += [(one.partition, one.offset) for one in wanted]
        return [confluent_kafka.TopicPartition(one.topic, one.partition, self._offsets[one.partition]) for one in wanted]

    def get_watermark_offsets(self, partition: Any, timeout: float, cached: bool) -> tuple[int, int]:
        low, high = self._real.get_watermark_offsets(partition, timeout=timeout, cached=cached)
        return max(low, self._low), high


def test_timestamps(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(partition, ids_message([10 * partition + offset])) for partition in range(4) for offset in range(3)])
    made: list[FakeConsumer] = []

    def connect(settings: dict[str, Any]) -> FakeConsumer:
        made.append(FakeConsumer(settings, {0: 1, 1: -1, 2: 0, 3: 2}))  # partition 1 has nothing of that time or later
        return made[-1]

    stream = dataset(kafka, topic, start={"timestamp_ms": 1_700_000_000_000}, connect=connect)
    assert sorted(all_ids(stream)) == [1, 2, 20, 21, 22, 32]
    assert [asked for consumer in made for asked in consumer.asked] == [(partition, 1_700_000_000_000) for partition in range(4)]


def test_a_position_that_retention_deleted_is_an_error_and_no_jump(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([one])) for one in range(10)])
    stream = dataset(kafka, topic, batch_size=2)
    assert ids_of(next(iter(stream))) == [0, 1]
    stream.close()
    later = dataset(kafka, topic, connect=lambda settings: FakeConsumer(settings, {}, low=5))
    later.load_state_dict(stream.state_dict())
    with pytest.raises(
        DataError, match=rf"{topic}\[0\]: offset 2 is wanted next, but the broker holds only offsets from 5 on: retention"
    ) as gone:
        all_ids(later)
    assert "keep messages longer" in str(gone.value)
    assert later.state_dict() == stream.state_dict()


def test_retention_of_a_real_log(kafka: MockKafka, topic: str) -> None:
    """The broker keeps 5 MB a partition."""
    large = arrow_message(pa.table({"id": np.arange(50_000)}))
    kafka.produce(topic, [(0, ids_message(range(8)))])
    stream = dataset(kafka, topic)
    assert all_ids(stream) == list(range(8))
    kafka.produce(topic, [(0, large)] * 20)
    later = dataset(kafka, topic)
    later.load_state_dict(stream.state_dict())
    with pytest.raises(
        DataError, match=rf"{topic}\[0\]: offset 1 is wanted next, but the broker holds only offsets from \d+ on: retention"
    ):
        all_ids(later)


def test_retention_that_overtakes_a_reader(kafka: MockKafka, topic: str) -> None:
    """While nobody takes batches, the broker deletes what comes next: the broker's own refusal, in the middle of an iteration."""
    large = arrow_message(pa.table({"id": np.arange(50_000)}))
    kafka.produce(topic, [(0, large)] * 3)
    config = {**FAST, "queued.max.messages.kbytes": 1, "fetch.message.max.bytes": 1000}
    with dataset(kafka, topic, batch_size=50_000, prefetch=1, end="never", config=config) as stream:
        batches = iter(stream)
        seen = [next(batches).num_samples]
        kafka.produce(topic, [(0, large)] * 40)
        with pytest.raises(
            DataError, match=rf"{topic}\[0\]: offset \d+ is wanted next, but the broker holds only offsets from \d+ on: retention"
        ):
            seen.extend(batch.num_samples for batch in batches)
        (_, offset, row) = stream.state_dict()["positions"][topic][0]
        assert (offset, row) == (len(seen), 0)
        assert len(seen) < 30


def test_a_position_gone_while_reading_is_the_same_error(kafka: MockKafka, topic: str) -> None:
    """The broker refuses the fetch: librdkafka's own answer, with watermarks that did not tell at first."""
    kafka.produce(topic, [(0, ids_message([1]))])

    class Late(FakeConsumer):
        num_asked = 0

        def get_watermark_offsets(self, partition: Any, timeout: float, cached: bool) -> tuple[int, int]:
            self.num_asked += 1
            low, high = super().get_watermark_offsets(partition, timeout, cached)
            return (low, high) if self.num_asked > 4 else (low, 100)

    stream = dataset(kafka, topic, start={0: 7, 1: 0, 2: 0, 3: 0}, end="never", connect=lambda settings: Late(settings, {}))
    with pytest.raises(DataError, match=rf"{topic}\[0\]: offset 7 is wanted next, but the broker holds only offsets before 1"):
        all_ids(stream)


def test_a_message_of_which_rows_are_wanted_must_be_what_it_was(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message(range(5))), (0, ids_message(range(5, 10)))])
    stream = dataset(kafka, topic)
    state = {**stream.state_dict(), "positions": {topic: [[0, 0, 7]]}}
    stream.load_state_dict(state)
    with pytest.raises(DataError, match=rf"{topic}\[0\] offset 0: row 7 is wanted next, but it holds 5"):
        all_ids(stream)

    class Compacted(FakeConsumer):
        def poll(self, timeout: float) -> Any:
            message = self._real.poll(timeout)
            return None if message is not None and message.offset() == 0 and not message.error() else message

    compacted = dataset(kafka, topic, connect=lambda settings: Compacted(settings, {}), config={**FAST, "fetch.message.max.bytes": 1})
    compacted.load_state_dict({**state, "positions": {topic: [[0, 0, 3]]}})
    with pytest.raises(DataError, match=r"row 3 of offset 0 is wanted next, but the broker gives offset 1: compaction"):
        all_ids(compacted)


# Messages that are no rows.

HOSTILE: dict[str, tuple[str, Any, str]] = {
    "tombstone": ("arrow", None, "it is a tombstone"),
    "empty": ("arrow", b"", "the message is empty"),
    "truncated": ("arrow", ids_message([1, 2])[:-20], "damaged"),
    "cut between batches": ("arrow", ids_message([1, 2])[:-8], "no end marker"),
    "other columns": ("arrow", arrow_message(pa.table({"x": [1]})), "no column 'id'"),
    "other types": ("arrow", arrow_message(pa.table({"id": ["a"]})), "column 'id' has type string"),
    "null": ("arrow", arrow_message(pa.table({"id": pa.array([1, None], pa.int64())})), "column 'id', row 1: a null"),
    "no JSON": ("json", b"\x00", "is not JSON"),
    "empty JSON": ("json", b"", "is not JSON"),
    "JSON tombstone": ("json", None, "it is a tombstone"),
    "no UTF-8": ("json", b"\xff", "is not UTF-8"),
    "huge": ("json", json_message({"id": 10**30}), "column 'id', row 0"),
    "null JSON": ("json", json_message([{"id": 1}, {"id": None}]), "column 'id', row 1: a null"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_poison(kafka: MockKafka, topic: str, name: str) -> None:
    """Among good messages: an error that names it and loses nothing, or left out, counted once, and the rest complete."""
    kind, value, reason = HOSTILE[name]
    good = [ids_message([one]) if kind == "arrow" else json_message({"id": one}) for one in range(30)]
    kafka.produce(topic, [(1, message) for message in [*good[:13], value, *good[13:]]])
    stream = dataset(kafka, topic, format=kind)
    seen: list[int] = []
    with pytest.raises(DataError) as error:
        seen.extend(one for batch in stream for one in ids_of(batch))
    assert f"{topic}[1] offset 13: " in str(error.value)
    assert reason in str(error.value)
    assert 'on_error="skip"' in str(error.value)
    assert seen == list(range(8))
    resumed = dataset(kafka, topic, format=kind, on_error="skip")
    resumed.load_state_dict(stream.state_dict())
    assert all_ids(resumed) == list(range(8, 30))
    assert resumed.counters == {"skipped": 1, "filtered_rows": 0, "stalled_seconds": 0.0, "unread_partitions": 0}
    assert resumed.state_dict()["positions"][topic][1] == [1, 31, 0]
    assert all_ids(resumed) == []
    assert resumed.skipped == 1


def test_the_first_message_decides_of_those_that_come_with_it_too(kafka: MockKafka, topic: str) -> None:
    """Nothing is known of types before the first poll, and all of these arrive by it."""
    messages = [arrow_message(pa.table({"id": pa.array([one], kind)})) for one, kind in enumerate([pa.int32(), pa.int64(), pa.int32()])]
    kafka.produce(topic, [(0, message) for message in messages])

    def stream(**options: Any) -> KafkaDataset:
        return KafkaDataset(topic, ["id"], **{"batch_size": 8, "servers": kafka.servers, "config": FAST, "end": "now", **options})

    with pytest.raises(DataError, match=r"offset 1: column 'id' has type int64 and would be .*, but the messages before gave"):
        list(stream())
    lenient = stream(on_error="skip")
    (batch,) = lenient
    assert ids_of(batch) == [0, 2]
    assert lenient.skipped == 1
    column = batch["id"]
    assert isinstance(column, Tensor)
    assert column.dtype == torch.int32


def test_only_poison(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, b"poison")] * 50)
    stream = dataset(kafka, topic, on_error="skip")
    assert all_ids(stream) == []
    assert stream.skipped == 50
    assert stream.state_dict()["positions"][topic][0] == [0, 50, 0]


# A broker that is away.


def test_a_broker_away_is_waited_for_and_counted(topic: str) -> None:
    broker = MockKafka()
    try:
        broker.produce(topic, [(0, ids_message([1]))])
        with dataset(broker, topic, end="never", flush_seconds=0.05) as stream:
            batches = iter(stream)
            assert ids_of(next(batches)) == [1]
            assert stream.stalled_seconds == 0
            seen: list[int] = []
            reading = threading.Thread(target=lambda: seen.extend(ids_of(next(batches))))
            broker.stop_answering()
            reading.start()
            wait_until(lambda: stream.stalled_seconds > 2)
            assert reading.is_alive()
            broker.answer_again()
            broker.produce(topic, [(0, ids_message([2]))])
            reading.join(30)
            assert seen == [2]
            after = stream.stalled_seconds
            assert after > 2
            broker.produce(topic, [(0, ids_message([3]))])
            assert ids_of(next(batches)) == [3]
            assert stream.stalled_seconds == after
    finally:
        broker.close()


def test_a_broker_away_at_the_start_of_an_iteration_can_be_interrupted(topic: str) -> None:
    broker = MockKafka()
    try:
        broker.produce(topic, [(0, ids_message([1]))])
        stream = dataset(broker, topic)
        broker.stop_answering()
        seen: list[Batch] = []
        reading = threading.Thread(target=lambda: seen.extend(stream))
        reading.start()
        wait_until(lambda: stream.stalled_seconds > 1)
        stream.interrupt()
        reading.join(30)
        assert not reading.is_alive()
        assert (seen, stream.epoch) == ([], 0)
        broker.answer_again()
        assert all_ids(stream) == [1]
    finally:
        broker.close()


def test_no_broker_at_all() -> None:
    with pytest.raises(BackendError, match=r"no answer from 127.0.0.1:1 within 0.5 s"):
        KafkaDataset("t", [ID], batch_size=1, servers="127.0.0.1:1", connect_seconds=0.5, config={"log_level": 0})


def test_an_unknown_topic(kafka: MockKafka) -> None:
    with pytest.raises(DataError, match=r"topic 'nowhere' cannot be read from .*Unknown topic"):
        dataset(kafka, "nowhere")


# Being a dataset.


def live_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "sparrow-reader"}


def test_threads_end_however_an_iteration_ends(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message(range(40)))])
    before = live_threads()

    def begin() -> tuple[KafkaDataset, Iterator[Batch]]:
        stream = dataset(kafka, topic, end="never")
        batches = iter(stream)
        next(batches)
        assert live_threads() - before
        return stream, batches

    stream, batches = begin()
    stream.close()
    assert live_threads() == before
    assert list(batches) == []
    with begin()[0]:
        pass
    assert live_threads() == before
    stream, batches = begin()
    del batches
    assert live_threads() == before
    stream, batches = begin()
    following = next(iter(stream))
    assert ids_of(following) == list(range(8, 16))
    with pytest.raises(ConfigError, match="another iteration of this stream began"):
        next(batches)
    stream.load_state_dict(stream.state_dict())
    assert live_threads() == before


def test_what_is_read_ahead_is_bounded(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([one])) for one in range(400)])
    asked: list[int] = []

    class Counting(FakeConsumer):
        def poll(self, timeout: float) -> Any:
            message = self._real.poll(timeout)
            if message is not None and not message.error():
                asked.append(message.offset())
            return message

        def consume(self, num_messages: int, timeout: float) -> list[Any]:
            return []

    with dataset(kafka, topic, end="never", prefetch=2, connect=lambda settings: Counting(settings, {})) as stream:
        batches = iter(stream)
        assert ids_of(next(batches)) == list(range(8))
        wait_until(lambda: len(asked) >= 24)
        # One batch handed out, two waiting, and none begun while there is no room.
        assert len(asked) == 24
        assert stream.state_dict()["positions"][topic][0] == [0, 8, 0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2, world_size 2"),
        ({"flush_seconds": 0}, "flush_seconds is 0"),
        ({"end": "soon"}, "end is 'soon'"),
        ({"on_error": "ignore"}, "on_error is 'ignore'"),
        ({"format": "csv"}, "format is 'csv'"),
        ({"types": {"id": pa.int64()}}, 'types is for format="json"'),
        ({"types": {"di": pa.int64()}, "format": "json"}, r"types names \['di'\]"),
        ({"start": "newest"}, "start is 'newest'"),
        ({"start": {}}, "start is {}"),
        ({"start": {0: -1}}, r"start\[0\] is -1"),
        ({"start": {"0": 1}}, "start has the key '0'"),
        ({"servers": None}, "no brokers"),
        ({"config": {"auto.offset.reset": "latest"}}, "positions are kept in checkpoints"),
        ({"config": {"bootstrap.servers": "x"}}, "not both"),
        ({"config": {"no.such.setting": 1}}, "Kafka's settings are refused: .*no.such.setting"),
    ],
)
def test_options_that_could_not_work(kafka: MockKafka, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataset(kafka, "any", **options)


@pytest.mark.parametrize("topics", [(), "", ["a", "a"], [1]])
def test_topics_that_could_not_be(kafka: MockKafka, topics: Any) -> None:
    with pytest.raises(ConfigError, match="topics"):
        dataset(kafka, topics)


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(BackendError, match=r"pip install 'sparrow-rec\[stream\]'"):
        KafkaDataset("t", [ID], batch_size=1, servers="localhost:1")


def test_states_of_something_else(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message([1]))])
    stream = dataset(kafka, topic)
    assert all_ids(stream) == [1]
    state = stream.state_dict()
    for wrong, kind, message in [
        ([], CheckpointError, "list of states is empty"),
        (7, CheckpointError, "is a int, expected a dict"),
        ({**state, "columns": ["x"], "shapes": {}}, ConfigError, "belongs to columns"),
        ({**state, "num_partitions": {topic: 4, "other": 1}}, ConfigError, r"belongs to topics \['other'\] too"),
        ({**state, "num_partitions": {topic: 9}}, ConfigError, "had 9 partitions when the state was saved and has 4 now"),
        ({**state, "shapes": {"dense torch.float32 [rows]": [0]}}, ConfigError, "was dense torch.float32"),
        ({**state, "rank": 1, "world_size": 2, "positions": {}}, ConfigError, r"was read by rank 0 of 2"),
    ]:
        with pytest.raises(kind, match=message):
            stream.load_state_dict(wrong)
    assert stream.state_dict() == state


def test_what_is_skipped_is_counted_once_however_often_it_is_read_ahead(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, ids_message(range(4))), (0, b"poison"), (0, ids_message(range(4, 8)))])
    stream = dataset(kafka, topic, batch_size=2, on_error="skip")
    counts = []
    for number in range(4):
        assert ids_of(next(iter(stream))) == [2 * number, 2 * number + 1]
        counts.append(stream.skipped)
        stream.close()
    # With the first batch behind it.
    assert counts == [0, 0, 1, 1]


@pytest.mark.parametrize("last", ["", "raise SystemExit(0)", "batches.close()", "del batches"])
def test_the_interpreter_exits_while_a_stream_waits(kafka: MockKafka, topic: str, last: str) -> None:
    kafka.produce(topic, [(0, ids_message([1]))])
    code = f"""
from sparrow.io.streams import KafkaDataset
stream = KafkaDataset({topic!r}, ["id"], batch_size=8, servers={kafka.servers!r}, flush_seconds=0.05)
batches = iter(stream)
print(next(batches)["id"].tolist(), flush=True)
{last}
"""
    assert run_python(code, timeout_seconds=60) == "[1]\n"
