"""Watched folders that are on no local disk: what lands in memory, behind a URL, or below another root, each file once."""

import io
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs, parquet
from torch import Tensor

from sparrow.errors import ConfigError, DataError
from sparrow.io.streams import WatchedFolder
from sparrow.types import Batch, ColumnSpec
from streams_support import wait_until


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def land(memory: Any, path: str, ids: list[int], *, piece_rows: int = 100) -> None:
    """As to an object store: a file is there with its last byte."""
    sink = io.BytesIO()
    parquet.write_table(pa.table({"id": pa.array(ids, pa.int64())}), sink, row_group_size=piece_rows)
    memory.pipe(path, sink.getvalue())


def written(memory: Any, path: str, seconds_ago: float) -> None:
    memory.store[path].modified = datetime.now(tz=timezone.utc) - timedelta(seconds=seconds_ago)


def watch(path: str = "memory://in", **options: Any) -> WatchedFolder:
    defaults = {"batch_size": 4, "end": "now", "settle": "stable", "stable_seconds": 1e-6, "poll_seconds": 0.01, "pattern": "*.parquet"}
    return WatchedFolder(path, ["id"], **{**defaults, "flush_seconds": 0.02, **options})


def ids_of(batch: Batch) -> list[int]:
    column = batch["id"]
    assert isinstance(column, Tensor)
    return column.tolist()


def all_ids(stream: WatchedFolder) -> list[int]:
    return [one for batch in stream for one in ids_of(batch)]


def test_files_come_by_folder_and_name_and_are_named_by_their_url(memory: Any) -> None:
    land(memory, "/in/hour=02/a.parquet", [6, 7])
    land(memory, "/in/hour=01/b.parquet", [3, 4, 5])
    land(memory, "/in/hour=01/a.parquet", [0, 1, 2])
    land(memory, "/in/hour=01/_temporary/c.parquet", [8])
    land(memory, "/in/hour=01/d.parquet.tmp", [9])
    for stream in (watch(), watch("/in", filesystem=memory), watch("in/", filesystem=memory)):
        batches = list(stream)
        assert [ids_of(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert batches[1].locate(1).endswith("in/hour=01/b.parquet, row 2")
    assert next(iter(watch())).locate(0).startswith("memory://in/hour=01/a.parquet")


def test_a_file_is_left_alone_until_its_writer_has_been_quiet(memory: Any) -> None:
    land(memory, "/in/a.parquet", [1])
    land(memory, "/in/b.parquet", [2])
    written(memory, "/in/a.parquet", 4000)
    stream = watch(stable_seconds=3600)
    assert all_ids(stream) == [1]
    written(memory, "/in/b.parquet", 3601)
    assert all_ids(stream) == [2]
    assert all_ids(stream) == []
    # What shows only now that its upload is over, which began before some that are consumed, is new after a restart too.
    land(memory, "/in/0.parquet", [3])
    written(memory, "/in/0.parquet", 3595)
    resumed = watch(stable_seconds=3600)
    resumed.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert all_ids(resumed) == []
    written(memory, "/in/0.parquet", 3605)
    assert all_ids(resumed) == [3]


def test_a_state_of_other_rules_is_refused(memory: Any) -> None:
    """By them other files would count as consumed."""
    land(memory, "/in/a.parquet", [1])
    state = watch().state_dict()
    for options, message in [
        ({"settle": "success"}, r"settle='stable', stable_seconds=1e-06, pattern='\*.parquet', but this reads with settle='success'"),
        ({"stable_seconds": 5.0}, r"but this reads with settle='stable', stable_seconds=5, "),
        ({"pattern": "a*"}, r"pattern='a\*': other files would pass for consumed"),
    ]:
        with pytest.raises(ConfigError, match=message):
            watch(**options).load_state_dict(state)


def test_keys_of_partition_folders_are_columns(memory: Any) -> None:
    land(memory, "/in/ds=1/hour=02/a.parquet", [1])
    land(memory, "/in/ds=2/hour=03/a.parquet", [2])
    columns = ["id", ColumnSpec("hour", dtype=torch.int64)]
    stream = WatchedFolder("memory://in", columns, batch_size=4, end="now", settle="stable", stable_seconds=1e-6, pattern="*")
    (batch,) = stream
    hours = batch["hour"]
    assert isinstance(hours, Tensor)
    assert (ids_of(batch), hours.tolist()) == ([1, 2], [2, 3])


def test_a_folder_is_whole_with_its_marker(memory: Any) -> None:
    land(memory, "/in/hour=01/a.parquet", [1])
    land(memory, "/in/hour=02/a.parquet", [2])
    memory.pipe("/in/hour=02/_SUCCESS", b"")
    stream = watch(settle="success")
    assert all_ids(stream) == [2]
    memory.pipe("/in/hour=01/_SUCCESS", b"")
    assert all_ids(stream) == [1]


def test_what_lands_is_seen_though_a_client_keeps_listings(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of S3 and GCS do: `find` gives what it gave, until it is told otherwise."""
    kept: dict[str, Any] = {}
    really_find = type(memory).find

    def find(self: Any, path: str, **options: Any) -> Any:
        if path not in kept:
            kept[path] = really_find(self, path, **options)
        return kept[path]

    monkeypatch.setattr(type(memory), "find", find)
    monkeypatch.setattr(type(memory), "invalidate_cache", lambda self, path=None: kept.clear())
    land(memory, "/in/a.parquet", [1])
    stream = watch()
    assert all_ids(stream) == [1]
    land(memory, "/in/b.parquet", [2])
    assert all_ids(stream) == [2]


@pytest.mark.parametrize("happens", ["is gone before all of it was read", "changed while it was read"])
def test_a_file_that_changes_while_it_is_read(memory: Any, happens: str) -> None:
    land(memory, "/in/a.parquet", list(range(400)), piece_rows=10)
    land(memory, "/in/b.parquet", [-1])
    for on_error in ("error", "skip"):
        stream = watch(prefetch=1, on_error=on_error)
        batches = iter(stream)
        seen = ids_of(next(batches))
        before = memory.store["/in/a.parquet"]
        if "gone" in happens:
            memory.rm("/in/a.parquet")
        else:
            land(memory, "/in/a.parquet", list(range(400)), piece_rows=10)  # of the same size
            written(memory, "/in/a.parquet", -5)
        if on_error == "error":
            with pytest.raises(DataError, match=rf"in/a.parquet: {happens}"):
                seen += [one for batch in batches for one in ids_of(batch)]
            assert seen == list(range(len(seen)))
        else:
            seen += [one for batch in batches for one in ids_of(batch)]
            assert seen == [*range(len(seen) - 1), -1]
            assert stream.skipped == 1
        memory.store["/in/a.parquet"] = before


def test_damaged_files_are_an_error_or_counted(memory: Any) -> None:
    land(memory, "/in/a.parquet", [1])
    memory.pipe("/in/b.parquet", b"PAR1")
    land(memory, "/in/c.parquet", [2])
    with pytest.raises(DataError, match=r"memory://in/b.parquet: .*on_error"):
        all_ids(watch())
    stream = watch(on_error="skip")
    assert all_ids(stream) == [1, 2]
    assert stream.counters == {"skipped": 1, "filtered_rows": 0, "stalled_seconds": 0.0}


def test_a_store_that_does_not_answer_is_waited_for(memory: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    land(memory, "/in/a.parquet", [1])
    with watch(end="never") as stream:
        batches = iter(stream)
        assert ids_of(next(batches)) == [1]

        def down(self: Any, path: str, **options: Any) -> Any:
            raise RuntimeError("no route to the store")

        with monkeypatch.context() as patch:
            patch.setattr(type(memory), "find", down)
            seen: list[int] = []
            reading = threading.Thread(target=lambda: seen.extend(ids_of(next(batches))))
            reading.start()
            wait_until(lambda: stream.stalled_seconds > 0.1)
            land(memory, "/in/b.parquet", [2])
        reading.join(30)
        assert seen == [2]
    assert [record.getMessage() for record in caplog.records] == [
        "memory://in/ cannot be listed (no route to the store); waiting until it can"
    ]


@pytest.mark.parametrize("num_failures", [1, 5])
def test_a_store_that_fails_while_a_file_is_read_makes_no_file_bad(memory: Any, monkeypatch: pytest.MonkeyPatch, num_failures: int) -> None:
    """Nothing is left out, nothing comes twice, and a stall is counted where it does not answer either."""
    for name in "abc":
        land(memory, f"/in/{name}.parquet", list(range(40)), piece_rows=10)
    failures = iter(range(num_failures))
    kind = type(memory)
    really_open, really_info = kind._open, kind.info

    def fail(what: str, path: str) -> None:
        if path.endswith("b.parquet") and next(failures, None) is not None:
            raise RuntimeError(f"{what}: no route to the store")

    def opened(self: Any, path: str, *arguments: Any, **options: Any) -> Any:
        fail("open", path)
        return really_open(self, path, *arguments, **options)

    def info(self: Any, path: str, **options: Any) -> Any:
        if num_failures > 1:
            fail("info", path)
        return really_info(self, path, **options)

    monkeypatch.setattr(kind, "_open", opened)
    monkeypatch.setattr(kind, "info", info)
    stream = watch(on_error="skip")
    assert all_ids(stream) == list(range(40)) * 3
    assert next(failures, None) is None
    assert stream.skipped == 0
    assert (stream.stalled_seconds > 0) == (num_failures > 1)


def test_ranks_read_at_once_while_files_land(memory: Any) -> None:
    streams = [watch(end="never", rank=rank, world_size=3) for rank in range(3)]
    seen: list[list[int]] = [[] for _ in streams]

    def read(rank: int) -> None:
        for batch in streams[rank]:
            seen[rank] += ids_of(batch)

    memory.mkdir("/in")
    readers = [threading.Thread(target=read, args=(rank,)) for rank in range(3)]
    for reader in readers:
        reader.start()
    for index in range(60):
        land(memory, f"/in/hour={index % 4}/{index * 7 % 60}.parquet", list(range(10 * index, 10 * index + index % 9)))
    expected = sorted(10 * index + row for index in range(60) for row in range(index % 9))
    wait_until(lambda: sum(map(len, seen)) >= len(expected))
    for stream in streams:
        stream.interrupt()
    for reader in readers:
        reader.join(30)
    assert sorted(itertools.chain.from_iterable(seen)) == expected
    assert all(seen)
    rest = [watch(rank=rank, world_size=2) for rank in range(2)]
    for stream in rest:
        stream.load_state_dict([one.state_dict() for one in streams])
        assert all_ids(stream) == []


def test_a_store_without_folders_may_be_emptied(memory: Any) -> None:
    land(memory, "/in/a.parquet", [1])
    stream = watch()
    assert all_ids(stream) == [1]
    memory.rm("/in", recursive=True)
    assert all_ids(stream) == []
    land(memory, "/in/b.parquet", [2])
    assert all_ids(stream) == [2]


def test_other_roots_of_pyarrow(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "hour").mkdir()
    parquet.write_table(pa.table({"id": [1]}), root / "hour" / "a.parquet")
    below = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    stream = watch("in", filesystem=below)
    assert all_ids(stream) == [1]
    assert all_ids(watch("", filesystem=below)) == [1]
    assert all_ids(watch(f"file://{root}", settle="rename")) == [1]
    # It has folders, so one that is missing is no empty one.
    with pytest.raises(DataError, match="nowhere: no such folder"):
        watch("nowhere", filesystem=below)
    with watch("in", filesystem=below, end="never") as stream:
        batches = iter(stream)
        assert ids_of(next(batches)) == [1]
        root.rename(tmp_path / "away")
        seen: list[int] = []
        reading = threading.Thread(target=lambda: seen.extend(ids_of(next(batches))))
        reading.start()
        wait_until(lambda: stream.stalled_seconds > 0.1)
        parquet.write_table(pa.table({"id": [2]}), tmp_path / "away" / "b.parquet")
        (tmp_path / "away").rename(root)
        reading.join(30)
        assert seen == [2]


def test_renaming_is_for_local_folders(memory: Any) -> None:
    with pytest.raises(ConfigError, match=r'memory://in/: settle="rename" needs a local folder'):
        watch(settle="rename")


_CASES = (
    st.permutations(range(10)),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 4), st.booleans()), min_size=1, max_size=6),
    st.lists(st.integers(0, 7), min_size=10, max_size=10),
    st.sampled_from(["stable", "success"]),
    st.sampled_from([10 * 10**9, 20 * 10**6]),
)


@settings(max_examples=25, deadline=None)
@given(*_CASES)
def test_each_row_once_whatever_lands_and_stops(
    order: list[int], phases: list[tuple[int, int, int, bool]], sizes: list[int], settle: Any, slack_ns: int
) -> None:
    """`phases`: how many files land, after how many batches the ranks stop, how many ranks go on, and whether what states cover is deleted.

    `slack_ns`: with 20 ms, files soon count as long landed.
    """
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparrow.io.streams.backlog.CLOCK_SLACK_NS", slack_ns)
        each_row_once(memory, order, phases, sizes, settle)


def each_row_once(memory: Any, order: list[int], phases: list[tuple[int, int, int, bool]], sizes: list[int], settle: Any) -> None:
    numbers, waiting = itertools.count(), list(order)
    expected: list[int] = []
    seen: list[int] = []
    states: list[dict[str, Any]] = []
    for num_landing, num_batches, world_size, deletes in [*phases, (10, 10**6, 2, False)]:
        for _ in range(min(num_landing, len(waiting))):
            name = waiting.pop()
            ids = [next(numbers) for _ in range(sizes[name])]
            expected += ids
            land(memory, f"/in/hour={name}/{name}.parquet", ids, piece_rows=2)
            memory.pipe(f"/in/hour={name}/_SUCCESS", b"")
        streams = [watch(settle=settle, rank=rank, world_size=world_size) for rank in range(world_size)]
        for stream in streams:
            if states:
                stream.load_state_dict(states)
            with stream:
                for batch in itertools.islice(stream, num_batches):
                    seen += ids_of(batch)
        states = json.loads(json.dumps([stream.state_dict() for stream in streams][::-1]))
        if deletes:
            for path in {f"/in/{folder}/{name}" for state in states for folder, names in state["done"].items() for name in names}:
                memory.store.pop(path, None)
    assert Counter(seen) == Counter(expected)


@pytest.mark.nightly
@settings(max_examples=2000, deadline=None)
@given(*_CASES)
def test_each_row_once_at_length(
    order: list[int], phases: list[tuple[int, int, int, bool]], sizes: list[int], settle: Any, slack_ns: int
) -> None:
    test_each_row_once_whatever_lands_and_stops.hypothesis.inner_test(order, phases, sizes, settle, slack_ns)  # type: ignore[attr-defined]
