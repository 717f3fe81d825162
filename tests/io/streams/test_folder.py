"""Files that land, one way or another: each read once, whole, by folder and name."""

import itertools
import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import orc, parquet
from torch import Tensor

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.io import Cost
from sparrow.io.streams import WatchedFolder
from sparrow.types import Batch, ColumnSpec, Ragged
from streams_support import wait_until


def write(path: Path, ids: list[int], stripe_rows: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = pa.array([[one] * (one % 3) for one in ids], pa.list_(pa.int64()))
    table = pa.table({"id": pa.array(ids, pa.int64()), "more": pa.array([str(one) for one in ids], pa.string()), "l": lists})
    orc.write_table(table, str(path), batch_size=stripe_rows, stripe_size=512, compression="uncompressed")


def land(path: Path, ids: list[int], **options: Any) -> None:
    """As a writer should: under a name that is passed over, then renamed."""
    unfinished = path.with_name(f".{path.name}")
    write(unfinished, ids, **options)
    unfinished.rename(path)


def ids_of(batch: Batch) -> list[int]:
    column = batch["id"]
    assert isinstance(column, Tensor)
    return column.tolist()


def watch(path: Path, **options: Any) -> WatchedFolder:
    return WatchedFolder(path, ["id"], **{"batch_size": 4, "end": "now", "poll_seconds": 0.01, "flush_seconds": 0.02, **options})


def all_ids(stream: WatchedFolder) -> list[int]:
    return [one for batch in stream for one in ids_of(batch)]


def reloaded(stream: WatchedFolder, path: Path, **options: Any) -> WatchedFolder:
    fresh = watch(path, **options)
    fresh.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    return fresh


@pytest.mark.parametrize("settle", ["rename", "success"])
def test_files_come_by_folder_and_name_in_batches_across_them(tmp_path: Path, settle: Any) -> None:
    for hour, name, ids in [("hour=02", "a.orc", [6, 7]), ("hour=01", "b.orc", [3, 4, 5]), ("hour=01", "a.orc", [0, 1, 2])]:
        land(tmp_path / "ds=1" / hour / name, ids)
        (tmp_path / "ds=1" / hour / "_SUCCESS").touch()
    batches = list(watch(tmp_path, settle=settle))
    assert [ids_of(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    path = tmp_path / "ds=1" / "hour=01" / "b.orc"
    assert batches[1].locate(1) == f"{path}, row 2"


def test_weights_stay_with_their_values_across_files_and_batches(tmp_path: Path) -> None:
    rows = [[(number, number / 2), (-number, 1.0)][: number % 3] for number in range(20)]
    for begin in range(0, 20, 5):
        table = pa.table({"tags": pa.array(rows[begin : begin + 5], pa.map_(pa.int64(), pa.float32()))})
        parquet.write_table(table, tmp_path / f".{begin:02}", row_group_size=3)
        (tmp_path / f".{begin:02}").rename(tmp_path / f"{begin:02}.parquet")
    seen = []
    for batch in WatchedFolder(tmp_path, ["tags"], batch_size=4, pattern="*.parquet", end="now"):
        tags = batch["tags"]
        assert isinstance(tags, Ragged)
        assert tags.weights is not None
        tags.check("tags")
        pairs = list(zip(tags.values.tolist(), tags.weights.tolist(), strict=True))
        seen += [pairs[begin:end] for begin, end in itertools.pairwise(tags.offsets[0].tolist())]
    assert seen == rows


def test_what_is_not_there_yet_is_passed_over(tmp_path: Path) -> None:
    for name in (".a.orc", "_b.orc", "c.orc.tmp", "d.orc.inprogress", "e.txt", "_temporary/f.orc", ".staging/g.orc", "h.tmp/i.orc"):
        write(tmp_path / name, [1])
    land(tmp_path / "z.orc", [2])
    stream = watch(tmp_path)
    assert all_ids(stream) == [2]
    (tmp_path / "c.orc.tmp").rename(tmp_path / "c.orc")
    assert all_ids(stream) == [1]
    assert all_ids(watch(tmp_path, pattern="e.*")) == [1]


def test_a_folder_is_whole_with_its_marker(tmp_path: Path) -> None:
    land(tmp_path / "hour=01" / "a.orc", [1])
    land(tmp_path / "hour=02" / "a.orc", [2])
    (tmp_path / "hour=02" / "_SUCCESS").touch()
    stream = watch(tmp_path, settle="success")
    assert all_ids(stream) == [2]
    land(tmp_path / "hour=01" / "b.orc", [3])
    (tmp_path / "hour=01" / "_SUCCESS").touch()
    assert all_ids(stream) == [1, 3]  # later than one that sorts behind it
    assert all_ids(reloaded(stream, tmp_path, settle="success")) == []


def test_files_are_picked_up_as_they_land(tmp_path: Path) -> None:
    with watch(tmp_path, end="never") as stream:
        batches = iter(stream)
        for one in (5, 3, 4):
            land(tmp_path / f"{one}.orc", [one])
            assert ids_of(next(batches)) == [one]
        assert stream.num_rows is None
        assert stream.epoch == 0


@settings(max_examples=25)
@given(
    st.permutations(range(8)),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 9),
    st.lists(st.integers(0, 7), min_size=8, max_size=8),
    st.sampled_from(["rename", "success"]),
    st.sampled_from([10 * 10**9, 20 * 10**6]),
    st.sampled_from([{1, 4}, {0, 1, 3}, None, set()]),
    st.none() | st.integers(1, 8),
)
def test_each_row_once_whatever_lands_and_stops(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    phases: list[tuple[int, int, bool]],
    batch_size: int,
    sizes: list[int],
    settle: Any,
    slack_ns: int,
    wanted: set[int] | None,
    limit: int | None,
) -> None:
    """`phases`: how many files land, after how many batches the process stops, and whether files its state covers are deleted then.

    slack_ns: with 20 ms, files soon count as long landed. wanted: rests by 5 of the rows that are read, None for all. limit: of the values
    of lists in a batch.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparrow.io.streams.backlog.CLOCK_SLACK_NS", slack_ns)
        where = None if wanted is None else lambda batch: np.isin(batch["id"].to_numpy() % 5, list(wanted))
        options = {"settle": settle, "where": where, "cost": None if limit is None else Cost(["l"], limit)}
        seen, landed = read_all(tmp_path_factory.mktemp("landing"), order, phases, batch_size, sizes, options)
    ids = [one for batch in seen for one in batch]
    assert Counter(ids) == Counter(one for one in landed if wanted is None or one % 5 in wanted)
    assert all(len(batch) <= batch_size for batch in seen)
    assert limit is None or all(len(batch) == 1 or sum(one % 3 for one in batch) <= limit for batch in seen)


def read_all(
    root: Path, order: list[int], phases: list[tuple[int, int, bool]], batch_size: int, sizes: list[int], options: dict[str, Any]
) -> tuple[list[list[int]], list[int]]:
    """Return the rows of each batch, and all that landed."""
    numbers = itertools.count()
    waiting = list(order)
    expected: list[int] = []
    seen: list[list[int]] = []
    state: dict[str, Any] | None = None

    def land_next() -> None:
        name = waiting.pop()
        ids = [next(numbers) for _ in range(sizes[name])]
        folder = root / f"hour={name % 3}-{name}"
        land(folder / f"{name}.orc", ids, stripe_rows=2)
        (folder / "_SUCCESS").touch()
        expected.extend(ids)

    for num_landing, num_batches, deletes in [*phases, (8, 10**6, False)]:
        for _ in range(min(num_landing, len(waiting))):
            land_next()
        stream = WatchedFolder(root, ["id", "l"], batch_size=batch_size, end="now", poll_seconds=0.01, flush_seconds=0.02, **options)
        if state is not None:
            stream.load_state_dict(state)
        with stream:
            seen += [ids_of(batch) for batch in itertools.islice(stream, num_batches)]
        state = json.loads(json.dumps(stream.state_dict()))
        assert len(json.dumps(state)) < 100_000
        if deletes and state is not None:
            for folder, names in state["done"].items():
                for name in names:
                    (root / folder / name).unlink(missing_ok=True)
    return seen, expected


def test_the_state_stands_behind_the_last_batch_handed_out(tmp_path: Path) -> None:
    land(tmp_path / "a.orc", list(range(6)))
    land(tmp_path / "b.orc", [])
    land(tmp_path / "c.orc", list(range(6, 12)))
    stream = watch(tmp_path)
    batches = iter(stream)
    assert ids_of(next(batches)) == [0, 1, 2, 3]
    assert ids_of(next(batches)) == [4, 5, 6, 7]
    stream.close()
    os.unlink(tmp_path / "a.orc")  # consumed: nobody misses it
    assert all_ids(reloaded(stream, tmp_path)) == [8, 9, 10, 11]


def test_a_file_consumed_to_its_end_may_go_at_once(tmp_path: Path) -> None:
    land(tmp_path / "a.orc", list(range(4)))
    stream = watch(tmp_path)
    assert ids_of(next(iter(stream))) == [0, 1, 2, 3]
    stream.close()
    os.unlink(tmp_path / "a.orc")
    assert all_ids(reloaded(stream, tmp_path)) == []


def read_until(stream: WatchedFolder, seen: list[int]) -> None:
    seen.extend(one for batch in stream for one in ids_of(batch))


@pytest.mark.parametrize("settle", ["rename", "success"])
@pytest.mark.parametrize("happens", ["gone", "replaced", "grown"])
def test_a_file_that_changes_between_two_parts_of_it(tmp_path: Path, settle: Any, happens: str) -> None:
    """Between a stop and the resumption."""
    path = tmp_path / "hour" / "a.orc"
    land(path, list(range(6)))
    (path.parent / "_SUCCESS").touch()
    stream = watch(tmp_path, settle=settle)
    assert ids_of(next(iter(stream))) == [0, 1, 2, 3]
    stream.close()
    if happens == "gone":
        os.unlink(path)
    elif happens == "replaced":
        land(path, list(range(100)))
    else:
        with open(path, "ab") as file:
            file.write(b"more")
    with pytest.raises(DataError, match=r"hour.*(is gone, and only a part of it was read|changed since a part of it was read).*on_error"):
        all_ids(reloaded(stream, tmp_path, settle=settle))
    resumed = reloaded(stream, tmp_path, settle=settle, on_error="skip")
    assert all_ids(resumed) == []
    assert resumed.counters == {"skipped": 1, "filtered_rows": 0, "stalled_seconds": 0.0}
    assert all_ids(reloaded(resumed, tmp_path, settle=settle)) == []


@pytest.mark.parametrize("happens", ["is gone before all of it was read", "changed while it was read"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, happens: str) -> None:
    path = tmp_path / "a.orc"
    land(path, list(range(4000)), stripe_rows=10)
    land(tmp_path / "b.orc", [-1])
    seen: list[int] = []
    stream = watch(tmp_path, prefetch=1)
    batches = iter(stream)
    seen += ids_of(next(batches))
    if "gone" in happens:
        os.unlink(path)
    else:
        land(path, list(range(5000)))
    with pytest.raises(DataError, match=rf"a\.orc: {happens}"):
        seen.extend(one for batch in batches for one in ids_of(batch))
    assert seen == list(range(len(seen)))
    assert len(seen) < 200
    # The other way: the rest left out, the next file read.
    land(tmp_path / "a2.orc", list(range(4000)), stripe_rows=10)
    path = tmp_path / "a2.orc"
    os.rename(tmp_path / "b.orc", tmp_path / "c.orc")
    (tmp_path / "a.orc").unlink(missing_ok=True)
    lenient = watch(tmp_path, prefetch=1, on_error="skip")
    batches = iter(lenient)
    some = ids_of(next(batches))
    os.unlink(path)
    some += [one for batch in batches for one in ids_of(batch)]
    assert some == [*range(len(some) - 1), -1]
    assert lenient.skipped == 1


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "columns", "types"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    land(tmp_path / "a.orc", [1, 2, 3, 4])
    bad = tmp_path / "b.orc"
    if damage == "columns":
        orc.write_table(pa.table({"x": [1]}), str(bad))
    elif damage == "types":
        orc.write_table(pa.table({"id": [1.5]}), str(bad))
    else:
        land(bad, [9])
        bad.write_bytes({"empty": b"", "truncated": bad.read_bytes()[:-20], "text": b"not a file of rows"}[damage])
    land(tmp_path / "c.orc", [5, 6, 7, 8])
    seen: list[int] = []
    stream = watch(tmp_path)
    with pytest.raises(DataError, match=r"b\.orc: .*on_error"):
        read_until(stream, seen)
    assert seen == [1, 2, 3, 4]
    resumed = reloaded(stream, tmp_path, on_error="skip")
    assert all_ids(resumed) == [5, 6, 7, 8]
    assert resumed.skipped == 1
    assert all_ids(reloaded(resumed, tmp_path)) == []


def test_rows_before_the_damage_are_handed_out(tmp_path: Path) -> None:
    ids = pa.array(range(4000), pa.int64())
    parquet.write_table(pa.table({"id": ids}), str(tmp_path / "a.parquet"), row_group_size=1000, use_dictionary=False, compression="none")
    path = tmp_path / "a.parquet"
    third = parquet.ParquetFile(path).metadata.row_group(2).column(0)
    content = bytearray(path.read_bytes())
    content[third.data_page_offset : third.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    stream = watch(tmp_path, pattern="*.parquet", on_error="skip")
    assert all_ids(stream) == list(range(2000))
    assert stream.skipped == 1


def test_a_folder_that_is_away_is_waited_for(tmp_path: Path) -> None:
    root, away = tmp_path / "in", tmp_path / "away"
    land(root / "a.orc", [1])
    with watch(root, end="never") as stream:
        batches = iter(stream)
        assert ids_of(next(batches)) == [1]
        root.rename(away)
        seen: list[int] = []
        reading = threading.Thread(target=lambda: seen.extend(ids_of(next(batches))))
        reading.start()
        wait_until(lambda: stream.stalled_seconds > 0.1)
        land(away / "b.orc", [2])
        away.rename(root)
        reading.join(30)
        assert seen == [2]  # and not the first again
        assert stream.counters["stalled_seconds"] >= 0.1


def test_threads_end_and_a_wait_can_be_interrupted(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    stream = watch(tmp_path, end="never", poll_seconds=3600)
    seen: list[Batch] = []
    reading = threading.Thread(target=lambda: seen.extend(stream))
    reading.start()
    wait_until(lambda: any(thread.name == "sparrow-reader" for thread in set(threading.enumerate()) - before))
    stream.interrupt()
    reading.join(30)
    assert set(threading.enumerate()) == before
    assert (seen, stream.epoch) == ([], 0)


def test_doubt_is_an_error_or_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparrow.io.streams.backlog.CLOCK_SLACK_NS", -60 * 10**9)  # all that is there counts as long seen
    land(tmp_path / "a.orc", [1])
    stream = watch(tmp_path)
    assert all_ids(stream) == [1]
    state = {**stream.state_dict(), "since_ns": 1, "until_ns": 2, "low": None}
    os.utime(tmp_path / "a.orc", ns=(0, 0))
    monkeypatch.undo()
    again = watch(tmp_path)
    again.load_state_dict(state)
    with pytest.raises(DataError, match=r"a\.orc: landed since the state was saved, but was written over 86400 s before"):
        all_ids(again)
    lenient = watch(tmp_path, on_error="skip")
    lenient.load_state_dict(state)
    assert all_ids(lenient) == []
    assert lenient.skipped == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"settle": "copy"}, "settle is 'copy'"),
        ({"poll_seconds": 0}, "poll_seconds is 0"),
        ({"flush_seconds": -1}, "flush_seconds is -1"),
        ({"late_seconds": True}, "late_seconds is True"),
        ({"end": "later"}, "end is 'later'"),
        ({"on_error": "warn"}, "on_error is 'warn'"),
        ({"prefetch": 0}, "prefetch is 0"),
    ],
)
def test_options_that_could_not_work(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        watch(tmp_path, **options)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        watch(tmp_path / "nowhere")


def test_states_of_something_else(tmp_path: Path) -> None:
    land(tmp_path / "a.orc", [1])
    stream = watch(tmp_path)
    assert all_ids(stream) == [1]
    state = stream.state_dict()
    for wrong, kind in [
        (None, CheckpointError),
        ({}, CheckpointError),
        ({**state, "epoch": -1}, CheckpointError),
        ({**state, "shapes": [1]}, CheckpointError),
        ({**state, "columns": 1}, CheckpointError),
        ({**state, "columns": ["x"], "shapes": {}}, ConfigError),
        ({**state, "done": 5}, CheckpointError),
    ]:
        with pytest.raises(kind):
            stream.load_state_dict(wrong)
    assert stream.state_dict() == state
    assert WatchedFolder(tmp_path, [ColumnSpec("id", dtype=torch.float64)], batch_size=1, end="now").columns[0].name == "id"
