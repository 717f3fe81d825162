"""Ranks of streams that end together, though each has another number of batches: lock step, every row once, and what stays."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch import Tensor
from torch.distributed import FileStore, HashStore

from sparrow.errors import ConfigError, DataError
from sparrow.io import Agreement, SharedRows
from sparrow.io.streams import KafkaDataset, WatchedFolder
from sparrow.io.streams.in_step import columns_of, empty_batch
from sparrow.io.streams.ledger import owner
from sparrow.types import Batch, Ragged
from streams_support import MockKafka, arrow_message, wait_until

FAST = {"fetch.wait.max.ms": 10, "log_level": 2}
Make = Callable[..., KafkaDataset | WatchedFolder]


def table_of(ids: list[int]) -> pa.Table:
    lists = pa.array([[(one, 0.5)] * (one % 3) for one in ids], pa.map_(pa.int64(), pa.float32()))
    words, halves = pa.array(map(str, ids), pa.string()), pa.array([one // 2 for one in ids], pa.int64())
    return pa.table({"x": pa.array(ids, pa.int64()), "l": lists, "s": words, "half": halves})


@pytest.fixture(params=["messages", "files"])
def world(request: pytest.FixtureRequest, kafka: MockKafka, topic: str, tmp_path: Path) -> tuple[Callable[[list[list[int]]], None], Make]:
    """Return functions that add rows to each of three ranks, and that make a rank's stream."""
    numbers = itertools.count()

    def produce(of_ranks: list[list[int]]) -> None:
        parts = [(rank, ids[begin : begin + 3]) for rank, ids in enumerate(of_ranks) for begin in range(0, len(ids), 3)]
        kafka.produce(topic, [(rank, arrow_message(table_of(ids))) for rank, ids in parts])

    def land(of_ranks: list[list[int]]) -> None:
        for rank, ids in enumerate(of_ranks):
            name = next(name for name in (f"{next(numbers)}.parquet" for _ in itertools.count()) if owner(("", name), 3) == rank)
            parquet.write_table(table_of(ids), tmp_path / f".{name}", row_group_size=3)
            (tmp_path / f".{name}").rename(tmp_path / name)

    def messages(rank: int, world_size: int = 3, **options: Any) -> KafkaDataset:
        columns = options.pop("columns", ["x", "l", "s"])
        options = {"batch_size": 4, "servers": kafka.servers, "config": FAST, "end": "now", **options}
        return KafkaDataset(topic, columns, rank=rank, world_size=world_size, **options)

    def files(rank: int, world_size: int = 3, **options: Any) -> WatchedFolder:
        columns = options.pop("columns", ["x", "l", "s"])
        options = {"batch_size": 4, "pattern": "*.parquet", "end": "now", "poll_seconds": 0.01, **options}
        return WatchedFolder(tmp_path, columns, rank=rank, world_size=world_size, **options)

    if request.param == "files":
        return land, files
    kafka.produce(topic, [(3, arrow_message(table_of([])))])  # so that the topic is there
    return produce, messages


def numbers_of(batch: Batch) -> list[int]:
    column = batch["x"]
    assert isinstance(column, Tensor)
    return column.tolist()


def in_lock_step(streams: list[Any], epochs: int = 1) -> list[list[list[Batch]]]:
    """Iterate ranks as threads that meet at every step, as at a collective; return the batches of each epoch of each rank."""
    meeting = threading.Barrier(len(streams), timeout=60)
    steps: list[list[list[Batch]]] = [[] for _ in streams]
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            for _ in range(epochs):
                steps[rank].append([])
                for batch in streams[rank]:
                    meeting.wait()
                    steps[rank][-1].append(batch)
                meeting.wait()
        except BaseException as error:
            errors.append(error)
            meeting.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return steps


SIZES = [[37, 3, 0], [0, 0, 80], [5, 5, 5], [0, 0, 0], [41, 60, 1]]


def rows_by_rank(sizes: list[int]) -> list[list[int]]:
    ends = list(itertools.accumulate(sizes))
    return [list(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_short_ranks_end_when_none_has_a_row_left(world: Any, sizes: list[int]) -> None:
    produce, make = world
    rows = rows_by_rank(sizes)
    produce(rows)
    store = HashStore()
    streams = [make(rank, agree=Agreement(store, "s", timeout_s=60)) for rank in range(3)]
    steps = in_lock_step(streams)
    assert len({len(one[0]) for one in steps}) == 1
    for rank, (batches,) in enumerate(steps):
        assert [row for batch in batches for row in numbers_of(batch)] == rows[rank]
        for batch in batches:
            # A batch without rows is like others of its columns.
            full = next((one for (others,) in steps for one in others if one.num_samples), batch)
            assert columns_of(batch) == columns_of(full)
            lists = batch["l"]
            assert isinstance(lists, Ragged)
            lists.check("l")
            assert lists.weights is not None
    assert [stream.epoch for stream in streams] == [1, 1, 1]
    # All is consumed, and another iteration finds what came since.
    more = rows_by_rank([3, 0, 9])
    produce(more)
    steps = in_lock_step(streams)
    assert Counter(row for (batches,) in steps for batch in batches for row in numbers_of(batch)) == Counter(itertools.chain(*more))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_drop_leaves_to_the_next_iteration_what_not_all_have(world: Any, sizes: list[int]) -> None:
    produce, make = world
    rows = rows_by_rank(sizes)
    produce(rows)
    store = HashStore()
    streams = [make(rank, agree=Agreement(store, "s", timeout_s=60), tail="drop") for rank in range(3)]
    steps = in_lock_step(streams)
    num_steps = min(-(-size // 4) for size in sizes)
    assert [len(batches) for (batches,) in steps] == [num_steps] * 3
    seen = [[row for batch in batches for row in numbers_of(batch)] for (batches,) in steps]
    assert seen == [of_rank[: 4 * num_steps] for of_rank in rows]
    # By another number of ranks, which do not wait for each other.
    states = [stream.state_dict() for stream in streams]
    ranks = [make(rank, world_size=2) for rank in range(2)]
    for stream in ranks:
        stream.load_state_dict(states)
    rest = [row for stream in ranks for batch in stream for row in numbers_of(batch)]
    assert Counter(itertools.chain(*seen, rest)) == Counter(range(sum(sizes)))


def test_what_a_filter_leaves_may_differ_from_rank_to_rank(world: Any) -> None:
    produce, make = world
    rows = rows_by_rank([30, 30, 30])
    produce(rows)
    store = HashStore()

    def where(batch: Any) -> Any:
        return np.isin(batch["x"].to_numpy(), [*range(7, 30), 44])

    shared = [SharedRows("two", ["half"], key="half")]
    streams = [
        make(rank, columns=["x", "half"], agree=Agreement(store, "s", timeout_s=60), where=where, groups=shared) for rank in range(3)
    ]
    steps = in_lock_step(streams)
    assert [[numbers_of(batch) for batch in batches if batch.num_samples] for (batches,) in steps] == [
        [list(range(begin, min(30, begin + 4))) for begin in range(7, 30, 4)],
        [[44]],
        [],
    ]
    assert all([batch.groups["two"].num_rows for batch in batches] == [0] * 6 for (batches,) in steps[2:])
    assert [stream.num_filtered for stream in streams] == [7, 29, 30]
    again = make(2, columns=["x", "half"], where=where)
    again.load_state_dict(streams[2].state_dict())
    assert (list(again), again.num_filtered) == ([], 0)


def test_latest_begins_where_it_first_looked_though_no_batch_was_taken(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, arrow_message(table_of([1, 2]))), (1, arrow_message(table_of([3])))])
    store = HashStore()
    streams = [
        KafkaDataset(
            topic, ["x"], batch_size=4, servers=kafka.servers, config=FAST, end="now", start="latest", rank=rank, world_size=2,
            agree=Agreement(store, "s", timeout_s=60), tail="drop",
        )
        for rank in range(2)
    ]  # fmt: skip
    assert in_lock_step(streams) == [[[]], [[]]]
    kafka.produce(topic, [(0, arrow_message(table_of([4])))])
    assert in_lock_step(streams) == [[[]], [[]]]  # the second rank has none
    kafka.produce(topic, [(0, arrow_message(table_of([5]))), (1, arrow_message(table_of([6])))])
    assert [[numbers_of(batch) for batch in batches] for (batches,) in in_lock_step(streams)] == [[[4, 5]], [[6]]]


def test_a_rank_that_waits_for_others_can_be_interrupted(world: Any, tmp_path: Path) -> None:
    produce, make = world
    produce(rows_by_rank([9, 9, 9]))
    store = FileStore(str(tmp_path / ".store"), 3)
    stream = make(0, agree=Agreement(store, "s", timeout_s=600))
    seen: list[Batch] = []
    waiting = threading.Thread(target=lambda: seen.extend(stream))
    before = set(threading.enumerate())
    waiting.start()
    # It has read all that it has, and asked for the marks of others.
    wait_until(lambda: not [one for one in set(threading.enumerate()) - before if one.name == "sparrow-reader"])
    stream.interrupt()
    waiting.join(30)
    assert not waiting.is_alive()
    assert (seen, stream.epoch) == ([], 0)
    assert [numbers_of(batch) for batch in resumed(stream, make)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def resumed(stream: Any, make: Make) -> Any:
    fresh = make(0)
    fresh.load_state_dict(stream.state_dict())
    return fresh


def test_a_rank_that_says_nothing_is_named(world: Any) -> None:
    produce, make = world
    produce(rows_by_rank([9, 9, 9]))
    with pytest.raises(DataError, match=r"rank [12] has said nothing about its batches for 0\.2 s \(TimeoutError\)"):
        list(make(0, agree=Agreement(HashStore(), "s", timeout_s=0.2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agree": 5}, "agree is 5; give an Agreement of sparrow.io"),
        ({"tail": "drop"}, "tail='drop' is for ranks that end together: give agree="),
        ({"tail": "pad"}, "tail is 'pad'; expected one of 'short', 'drop'"),
        ({"agree": Agreement(None, "s"), "end": "never"}, "agree is for end=\"now\", and end is 'never'"),
    ],
)
def test_options_that_could_not_work(world: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world[1](0, **options)


def test_columns_told_are_columns_made() -> None:
    offsets = torch.tensor([0, 1, 3])
    batch = Batch.of({
        "dense": torch.zeros(2, dtype=torch.bool),
        "wide": torch.zeros(2, 5, dtype=torch.bfloat16),
        "list": Ragged(torch.zeros(3, dtype=torch.int32), (offsets,)),
        "weighted": Ragged(torch.zeros(3, dtype=torch.int64), (offsets,), torch.zeros(3)),
        "words": Ragged(torch.zeros(3, dtype=torch.uint8), (torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3]))),
    })  # fmt: skip
    made = empty_batch(columns_of(batch))
    assert columns_of(made) == columns_of(batch)
    assert made.num_samples == 0
    for name in batch:
        column, expected = made[name], batch[name]
        if isinstance(expected, Tensor):
            assert isinstance(column, Tensor)
            assert (column.dtype, column.shape) == (expected.dtype, (0, *expected.shape[1:]))
        else:
            assert isinstance(column, Ragged)
            assert column.check(name).is_bytes == expected.is_bytes
            assert (column.values.dtype, column.num_rows, len(column.offsets)) == (expected.values.dtype, 0, len(expected.offsets))
            assert (column.weights is None) == (expected.weights is None)
