"""Filters, transforms and costs of streams: what they leave, what they count, where rows came from, and what goes wrong in them."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from pyarrow import parquet
from torch import Tensor

from sparrow.errors import ConfigError, DataError
from sparrow.io import Cost, SharedRows
from sparrow.io.streams import KafkaDataset, WatchedFolder
from sparrow.types import Batch, ColumnSpec, Ragged
from streams_support import MockKafka, arrow_message, json_message

FAST = {"fetch.wait.max.ms": 10, "log_level": 2}
SIZES = [3, 1, 0, 4, 2, 5, 1, 4]
ROWS = list(range(sum(SIZES)))
# The numbers of the rows of each message or file.
PARTS = [list(range(end - size, end)) for size, end in zip(SIZES, itertools.accumulate(SIZES), strict=True)]

Make = Callable[..., KafkaDataset | WatchedFolder]


def table_of(ids: list[int]) -> pa.Table:
    """x numbers the rows, l repeats the number 0 to 2 times, s spells it."""
    return pa.table({
        "x": pa.array(ids, pa.int64()),
        "l": pa.array([[one] * (one % 3) for one in ids], pa.list_(pa.int64())),
        "s": pa.array(map(str, ids), pa.string()),
        "maybe": pa.array([None if one % 5 else one for one in ids], pa.int64()),
    })  # fmt: skip


def write(folder: Path, number: int, table: pa.Table) -> None:
    parquet.write_table(table, folder / f".{number}", row_group_size=2)
    (folder / f".{number}").rename(folder / f"{number}.parquet")


@pytest.fixture(params=["messages", "files"])
def stream_of(request: pytest.FixtureRequest, kafka: MockKafka, topic: str, tmp_path: Path) -> Make:
    """Return a function that makes a stream of the rows of PARTS, by message or by file."""
    if request.param == "messages":
        kafka.produce(topic, [(0, arrow_message(table_of(ids))) for ids in PARTS])
        return lambda columns, **options: KafkaDataset(
            topic, columns, **{"batch_size": 4, "servers": kafka.servers, "config": FAST, "end": "now", **options}
        )
    for number, ids in enumerate(PARTS):
        write(tmp_path, number, table_of(ids))
    return lambda columns, **options: WatchedFolder(
        tmp_path, columns, **{"batch_size": 4, "pattern": "*.parquet", "end": "now", "poll_seconds": 0.01, **options}
    )


def numbers_of(batch: Batch, name: str = "x") -> list[Any]:
    column = batch[name]
    assert isinstance(column, Tensor)
    return column.tolist()


def rows_of(stream: KafkaDataset | WatchedFolder) -> list[int]:
    """Return the rows left, having looked where they say that they came from."""
    rows = []
    for batch in stream:
        for sample, row in enumerate(numbers_of(batch)):
            path, _, of_part = batch.locate(sample).rpartition(", row ")
            part = int(path.rpartition(" ")[2]) if " offset " in path else int(Path(path).stem)
            assert PARTS[part][int(of_part)] == row
            rows.append(row)
    return rows


def resumed(stream: KafkaDataset | WatchedFolder, make: Make, columns: Any, **options: Any) -> KafkaDataset | WatchedFolder:
    fresh = make(columns, **options)
    fresh.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    return fresh


WHERES = {
    "expression": pc.bit_wise_and(pc.field("x"), 1) == 1,
    "arrow": lambda batch: pc.equal(pc.bit_wise_and(batch["x"], 1), 1),
    "numpy": lambda batch: batch["x"].to_numpy() % 2 == 1,
    "torch": lambda batch: torch.from_numpy(batch["x"].to_numpy().copy()) % 2 == 1,
}


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES)
def test_rows_are_left_out_and_counted(stream_of: Make, where: Any) -> None:
    stream = stream_of(["x", "l"], where=where)
    assert rows_of(stream) == ROWS[1::2]
    assert (stream.num_filtered, stream.skipped) == (len(ROWS[::2]), 0)
    assert stream.counters["filtered_rows"] == len(ROWS[::2])
    again = resumed(stream, stream_of, ["x", "l"], where=where)
    assert (rows_of(again), again.num_filtered) == ([], 0)


@pytest.mark.parametrize("left", [[], [0], [7], ROWS[-1:], [5, 6, 7], ROWS])
def test_a_stop_after_any_batch(stream_of: Make, left: list[int]) -> None:
    def where(batch: Any) -> Any:
        return np.isin(batch["x"].to_numpy(), left)

    for stop in range(len(left) + 1):
        stream = stream_of(["x"], where=where, batch_size=2)
        with stream:
            seen = [row for batch in itertools.islice(stream, stop) for row in numbers_of(batch)]
        assert seen + rows_of(resumed(stream, stream_of, ["x"], where=where, batch_size=3)) == left


def test_another_filter_counts_from_the_next_row_on(stream_of: Make) -> None:
    """Places are those of rows before the filter."""
    stream = stream_of(["x"], where=pc.bit_wise_and(pc.field("x"), 1) == 0, batch_size=3)
    with stream:
        assert numbers_of(next(iter(stream))) == [0, 2, 4]
    assert rows_of(resumed(stream, stream_of, ["x"])) == ROWS[5:]


def test_a_null_is_not_true(stream_of: Make) -> None:
    assert rows_of(stream_of(["x"], where=pc.field("maybe") >= 0, also_read=["maybe"])) == ROWS[::5]


def test_what_is_left_out_may_be_anything(stream_of: Make) -> None:
    """A row that could be no row of a batch is none to blame where it is left out, and named by its number in the part where it is not."""
    columns = ["x", ColumnSpec("maybe", dtype=torch.int64)]
    assert rows_of(stream_of(columns, where=pc.field("maybe") >= 0)) == ROWS[::5]
    # Row 6 is row 2 of part 3, the first that is left there.
    with pytest.raises(DataError, match=r"(offset 3|3\.parquet): column 'maybe', row 2: a null"):
        rows_of(stream_of(columns, where=(pc.field("maybe") >= 0) | (pc.field("x") == 6)))


def test_an_error_after_a_stop_names_the_row_of_the_part(stream_of: Make) -> None:
    """Row 13 is row 3 of part 5, of which rows 0 and 1 are consumed when it is met."""
    columns = ["x", ColumnSpec("maybe", dtype=torch.int64, default=0)]
    stream = stream_of(columns, batch_size=3)
    with stream:
        assert [numbers_of(batch)[-1] for batch in itertools.islice(stream, 4)] == [2, 5, 8, 11]
    strict = resumed(stream, stream_of, ["x", ColumnSpec("maybe", dtype=torch.int64)], where=pc.field("x") == 13)
    with pytest.raises(DataError, match=r"(offset 5|5\.parquet): column 'maybe', row 3: a null"):
        rows_of(strict)


def test_a_transform_makes_the_columns(stream_of: Make) -> None:
    def twice(batch: Any) -> Any:
        return pa.record_batch({"x": batch["x"], "double": pc.multiply(batch["x"], 2), "length": pc.list_value_length(batch["l"])})

    columns = ["x", ColumnSpec("double", dtype=torch.float32), "length"]
    for where, expected in ((None, ROWS), (pc.field("x") > 4, ROWS[5:])):
        stream = stream_of(columns, transform=twice, also_read=["l"], where=where)
        rows = []
        for batch in stream:
            rows += numbers_of(batch)
            assert numbers_of(batch, "double") == [2.0 * row for row in numbers_of(batch)]
            assert numbers_of(batch, "length") == [row % 3 for row in numbers_of(batch)]
        assert rows == expected
        assert stream.num_filtered == len(ROWS) - len(expected)
    with pytest.raises(DataError, match=r"(offset 0|0\.parquet): no column 'tripel' \(as transform= returns them\)"):
        rows_of(stream_of(["tripel"], transform=twice, also_read=["x", "l"]))


def test_batches_end_before_they_cost_too_much(stream_of: Make) -> None:
    expected: list[list[int]] = [[]]
    for row in ROWS:
        if len(expected[-1]) == 6 or sum(one % 3 for one in expected[-1]) + row % 3 > 4:
            expected.append([])
        expected[-1].append(row)
    assert {len(one) for one in expected} - {6}
    assert [numbers_of(batch) for batch in stream_of(["x", "l"], batch_size=6, cost=Cost(["l"], 4))] == expected
    # Rows that are too much by themselves.
    alone = [numbers_of(batch) for batch in stream_of(["x", "l"], cost=Cost(["x", "l"], 1))]
    assert alone == [[row] for row in ROWS]


def test_columns_that_samples_share_are_those_of_rows_left(stream_of: Make) -> None:
    shared = SharedRows("two", ["half"], key="half")

    def halves(batch: Any) -> Any:
        return pa.record_batch({"x": batch["x"], "half": pc.floor(pc.divide(pc.cast(batch["x"], pa.float64()), 2.0))})

    stream = stream_of(["x", "half"], transform=halves, where=pc.field("x") > 3, groups=[shared], batch_size=8)
    batch = next(iter(stream))
    stream.close()
    assert numbers_of(batch) == list(range(4, 12))
    assert numbers_of(batch, "half") == [2.0, 3.0, 4.0, 5.0]


# JSON.


def json_stream(kafka: MockKafka, topic: str, columns: Any, **options: Any) -> KafkaDataset:
    return KafkaDataset(
        topic, columns, **{"batch_size": 4, "servers": kafka.servers, "config": FAST, "end": "now", "format": "json", **options}
    )


def test_json_becomes_arrow_first(kafka: MockKafka, topic: str) -> None:
    rows = [{"x": number, "l": [number] * (number % 3), "s": f"title {number}", "length": "no number"} for number in range(12)]
    kafka.produce(topic, [(0, json_message(rows[begin : begin + 5])) for begin in (0, 5, 10)])
    x, lists = ColumnSpec("x", dtype=torch.int64), ColumnSpec("l", kind="ragged", dtype=torch.int64)
    some = json_stream(kafka, topic, [x], where=pc.field("s") != "title 7", also_read=["s"], types={"s": pa.string()})
    assert [numbers_of(batch) for batch in some] == [[0, 1, 2, 3], [4, 5, 6, 8], [9, 10, 11]]
    assert some.num_filtered == 1

    def lengths(batch: Any) -> Any:
        assert batch.schema.names == ["x", "l"]
        return batch.append_column("length", pc.list_value_length(batch["l"]))

    made = json_stream(
        kafka, topic, [x, lists, "length"], transform=lengths, also_read=["x", "l"], where=pc.field("x") != 3, cost=Cost(["l"], 2)
    )
    batches = list(made)
    assert [row for batch in batches for row in numbers_of(batch)] == [0, 1, 2, *range(4, 12)]
    for batch in batches:
        assert numbers_of(batch, "length") == [row % 3 for row in numbers_of(batch)]
        column = batch["l"]
        assert isinstance(column, Ragged)
        assert column.values.numel() <= 2
        assert column.lengths().tolist() == numbers_of(batch, "length")
    assert batches[-1].locate(batches[-1].num_samples - 1) == f"{topic}[0] offset 2, row 1"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"where": len, "also_read": ["s"]}, ConfigError, r"column 's': JSON does not say .* types="),
        ({"transform": lambda batch: batch}, ConfigError, "transform= is shown the fields that also_read names, and it names none"),
        ({"transform": lambda batch: batch["y"], "also_read": ["x"]}, DataError, r"JSON: no rows: transform= failed \(KeyError"),
        ({"transform": lambda batch: pa.record_batch({"y": batch["x"]}), "also_read": ["x"]}, DataError, "no column 'x' .as transform="),
    ],
)
def test_json_that_cannot_be(kafka: MockKafka, topic: str, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    kafka.produce(topic, [(0, json_message({"x": 1}))])
    with pytest.raises(kind, match=message):
        json_stream(kafka, topic, [ColumnSpec("x", dtype=torch.int64)], **options)


# What goes wrong.


def fails_at(*rows: int) -> Callable[[Any], Any]:
    def where(batch: Any) -> Any:
        found = set(rows).intersection(batch["x"].to_pylist())
        if found:
            raise OSError(f"no answer for row {min(found)}")
        return np.ones(batch.num_rows, dtype=bool)

    return where


def wider(batch: Any) -> Any:
    """A transform whose types depend on the rows."""
    return pa.record_batch({"x": pc.cast(batch["x"], pa.float64()) if 9 in batch["x"].to_pylist() else batch["x"]})


def too_few(batch: Any) -> Any:
    return batch.slice(0, batch.num_rows - 1) if 9 in batch["x"].to_pylist() else batch


def refuses(batch: Any) -> Any:
    if 9 in batch["x"].to_pylist():
        raise DataError("row 9 is not as it should be")
    return batch


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "exception": ({"where": fails_at(9, 11)}, r"where= failed \(OSError: no answer for row 9\); it must work on any record batch"),
    "numbers": (
        {"where": lambda batch: batch["x"].to_numpy() if 9 in batch["x"].to_pylist() else batch["x"].to_numpy() >= 0},
        "where= returned int64",
    ),
    "too few truths": (
        {"where": lambda batch: np.ones(batch.num_rows - (9 in batch["x"].to_pylist()), dtype=bool)},
        r"where= returned bool of shape \[\d+\]; expected a truth value for each of",
    ),
    "transform fails": ({"transform": refuses}, r"transform= failed \(DataError: row 9 is not as it should be\)"),
    "other types": ({"transform": wider}, "transform= made column 'x' of type int64 of no rows, and here one of type double"),
    "too few rows": ({"transform": too_few}, r"transform= made \d+ rows of \d+; it must keep the rows"),
    "no batch": ({"transform": lambda batch: None if 9 in batch["x"].to_pylist() else batch}, "transform= returned NoneType"),
    "no such columns": (
        {"transform": lambda batch: batch.rename_columns(["y"]) if 9 in batch["x"].to_pylist() else batch},
        "transform= made column 'x' of type int64 of no rows, and here none of that name",
    ),
}


@pytest.mark.parametrize("on_error", ["error", "skip"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_function_that_is_wrong_is_never_a_reason_to_leave_rows_out(stream_of: Make, name: str, on_error: str) -> None:
    """Row 9 is in part 4, which is decoded together with others of its time."""
    options, message = HOSTILE[name]
    stream = stream_of(["x"], on_error=on_error, batch_size=7, **options)
    seen: list[int] = []
    with pytest.raises(DataError, match=rf"(offset 4|4\.parquet: row group 0): {message}"):
        seen.extend(row for batch in stream for row in numbers_of(batch))
    assert stream.skipped == 0
    assert seen == ROWS[: len(seen)]
    # Mended, it goes on where it was.
    assert seen + rows_of(resumed(stream, stream_of, ["x"])) == ROWS


def test_a_function_that_fails_on_no_rows(stream_of: Make) -> None:
    def share(batch: Any) -> Any:
        return 1 / batch.num_rows

    with pytest.raises(DataError, match=r"(offset 0|0\.parquet): no rows: transform= failed \(ZeroDivisionError: .* an empty one too"):
        rows_of(stream_of(["x"], transform=share, on_error="skip"))


def test_a_transform_that_makes_other_columns_is_never_a_reason_to_leave_rows_out(stream_of: Make) -> None:
    """Whether it was another in the run before, or forgets one."""

    def as_floats(batch: Any) -> Any:
        return pa.record_batch({"x": pc.cast(batch["x"], pa.float64())})

    stream = stream_of(["x"], transform=lambda batch: batch, on_error="skip")
    with stream:
        assert numbers_of(next(iter(stream))) == [0, 1, 2, 3]
    other = resumed(stream, stream_of, ["x"], transform=as_floats, on_error="skip")
    with pytest.raises(DataError, match=r"(offset 2|3\.parquet): column 'x' .*would be dense torch.float64"):
        rows_of(other)
    assert other.skipped == 0
    assert rows_of(resumed(other, stream_of, ["x"])) == ROWS[4:]
    forgetful = stream_of(["x"], transform=lambda batch: batch.rename_columns(["y"]), on_error="skip")
    with pytest.raises(DataError, match=r"(offset 0|0\.parquet): no column 'x' \(as transform= returns them\)"):
        rows_of(forgetful)
    assert forgetful.skipped == 0


def test_a_filter_that_fails_on_messages_together_names_the_first_and_the_last(kafka: MockKafka, topic: str) -> None:
    kafka.produce(topic, [(0, arrow_message(table_of(ids))) for ids in PARTS])

    def small(batch: Any) -> Any:
        if batch.num_rows > 5:
            raise MemoryError("too many rows")
        return np.ones(batch.num_rows, dtype=bool)

    stream = KafkaDataset(topic, ["x"], batch_size=100, servers=kafka.servers, config=FAST, end="now", where=small, on_error="skip")
    with pytest.raises(DataError, match=r"offset 0 and 7 more up to .*offset 7: where= failed \(MemoryError: too many rows\)"):
        list(stream)
    assert stream.state_dict()["positions"][topic][0] == [0, 0, 0]


def test_poison_among_filtered_messages_is_left_out_and_rows_are_counted_once(kafka: MockKafka, topic: str) -> None:
    """Messages that arrive together are decoded together, and again in halves where one is poison."""
    poison = arrow_message(pa.table({"x": pa.array([1, None, 1001], pa.int64())}))
    messages = [arrow_message(table_of(ids)) for ids in PARTS]
    kafka.produce(topic, [(0, message) for message in [*messages[:5], poison, *messages[5:], arrow_message(pa.table({"y": [1]}))]])
    # The null is left, the odd numbers are not.
    where = pc.field("x").is_null() | (pc.bit_wise_and(pc.field("x"), 1) == 0)
    stream = KafkaDataset(topic, ["x"], batch_size=100, servers=kafka.servers, config=FAST, end="now", where=where, on_error="skip")
    (batch,) = stream
    assert numbers_of(batch) == ROWS[::2]
    assert (stream.skipped, stream.num_filtered) == (2, len(ROWS[1::2]))
    assert stream.state_dict()["positions"][topic][0] == [0, len(messages) + 2, 0]
    strict = KafkaDataset(topic, ["x"], batch_size=4, servers=kafka.servers, config=FAST, end="now", where=where)
    with pytest.raises(DataError, match=r"offset 5: column 'x', row 1: a null.*on_error"):
        list(strict)


def test_parts_without_a_column_that_is_also_read(stream_of: Make, kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    """These are not as declared: they are left out where such are, and no function is asked about them."""
    if (tmp_path / "0.parquet").exists():
        write(tmp_path, 99, pa.table({"x": [-1]}))
    else:
        kafka.produce(topic, [(0, arrow_message(pa.table({"x": [-1]})))])
    options: dict[str, Any] = {"where": pc.field("s") != "7", "also_read": ["s"]}
    with pytest.raises(DataError, match=r"(offset 8|99\.parquet): no column 's', which also_read names.*on_error"):
        rows_of(stream_of(["x"], **options))
    lenient = stream_of(["x"], on_error="skip", **options)
    assert rows_of(lenient) == [row for row in ROWS if row != 7]
    assert lenient.skipped == 1


def test_partition_keys_can_be_asked_about(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        (tmp_path / f"ds={day}").mkdir()
        write(tmp_path / f"ds={day}", 0, pa.table({"x": [day] * day}))
    columns = ["x", ColumnSpec("ds", dtype=torch.int64)]
    stream = WatchedFolder(tmp_path, columns, batch_size=9, pattern="*.parquet", where=pc.field("ds") != 2, end="now")
    (batch,) = stream
    assert numbers_of(batch) == numbers_of(batch, "ds") == [1, 3, 3, 3]
    assert batch.locate(1) == f"{tmp_path}/ds=3/0.parquet, row 0"
    assert stream.num_filtered == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": 3}, "where is 3"),
        ({"transform": "x"}, "transform is 'x'"),
        ({"also_read": ["l"]}, "also_read names columns for where= or transform="),
        ({"also_read": "l", "where": len}, "also_read is 'l'"),
        ({"cost": 7}, "cost is 7; give a Cost of sparrow.io"),
        ({"cost": Cost(["l"], 7)}, "cost counts column 'l', which is not read"),
    ],
)
def test_options_that_could_not_work(stream_of: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stream_of(["x"], **options)
