"""Filters and transforms on Arrow data, in the reader threads."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from pyarrow import parquet

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset, Shuffle
from sparrow.types import ColumnSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """100 rows in 4 files of row groups of 7: x numbers them, l repeats the number 0 to 2 times, s spells it."""
    folder = tmp_path_factory.mktemp("work")
    for part in range(4):
        rows = range(25 * part, 25 * part + 25)
        lists = pa.array([[row] * (row % 3) for row in rows], pa.list_(pa.int64()))
        table = pa.table(
            {"x": list(rows), "l": lists, "s": [str(row) for row in rows], "maybe": [None if row % 5 else row for row in rows]}
        )
        parquet.write_table(table, folder / f"{part}.parquet", row_group_size=7)
    return folder


def _rows(batches):
    rows = []
    for batch in batches:
        for sample, row in enumerate(batch["x"].tolist()):
            path, _, in_file = batch.locate(sample).partition(", row ")
            assert 25 * int(path[-len("0.parquet") :][0]) + int(in_file) == row
            rows.append(row)
        if "l" in batch:
            assert batch["l"].check("l").lengths().tolist() == [row % 3 for row in batch["x"].tolist()]
    return rows


_ODD = [row for row in range(100) if row % 2]


@pytest.mark.parametrize(
    "where",
    [
        pc.bit_wise_and(pc.field("x"), 1) == 1,
        lambda batch: pc.equal(pc.bit_wise_and(batch["x"], 1), 1),
        lambda batch: batch["x"].to_numpy() % 2 == 1,
        lambda batch: torch.from_numpy(batch["x"].to_numpy().copy()) % 2 == 1,
    ],
    ids=["expression", "arrow", "numpy", "torch"],
)
@pytest.mark.parametrize("shuffle", [None, Shuffle(3, 4, 3)])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_rows_are_left_out_and_counted(folder, where, shuffle, num_threads):
    dataset = Dataset(folder, ["x", "l"], batch_size=6, where=where, shuffle=shuffle, num_threads=num_threads, prefetch=3)
    batches = list(dataset)
    assert [batch.num_samples for batch in batches] == [6] * 8 + [2]
    rows = _rows(batches)
    assert (sorted(rows), rows == _ODD) == (_ODD, shuffle is None)
    assert dataset.num_filtered == 50
    assert dataset.num_rows == 100


@pytest.mark.parametrize("shuffle", [None, Shuffle(3, 2, 3)])
def test_resuming_goes_on_behind_the_last_row_handed_out(folder, shuffle):
    where = pc.field("x") >= 10
    for stop in range(14):
        dataset = Dataset(folder, ["x", "l"], batch_size=7, where=where, shuffle=shuffle)
        seen = _rows(batch for _, batch in zip(range(stop), dataset, strict=False))
        resumed = Dataset(folder, ["x", "l"], batch_size=4, where=where, shuffle=shuffle)
        resumed.load_state_dict(json.loads(json.dumps(dataset.state_dict())))
        assert sorted(seen + (_rows(resumed) if resumed.epoch == 0 else [])) == list(range(10, 100))


def test_nulls_are_not_true_and_nothing_may_be_left(folder):
    assert _rows(Dataset(folder, ["x"], batch_size=9, where=pc.field("maybe") >= 0, also_read=["maybe"])) == list(range(0, 100, 5))
    nothing = Dataset(folder, ["x"], batch_size=9, where=lambda batch: np.zeros(batch.num_rows, dtype=bool))
    assert list(nothing) == []
    assert (nothing.epoch, nothing.num_filtered) == (1, 100)


def test_a_transform_makes_the_columns(folder):
    def twice(batch):
        return pa.record_batch({"x": batch["x"], "double": pc.multiply(batch["x"], 2), "length": pc.list_value_length(batch["l"])})

    columns = ["x", ColumnSpec("double", dtype=torch.float32), "length"]
    for where in (None, pc.field("x") < 30):
        dataset = Dataset(folder, columns, batch_size=8, transform=twice, also_read=["l"], where=where)
        for batch in dataset:
            assert batch["double"].tolist() == [2.0 * row for row in batch["x"].tolist()]
            assert batch["length"].tolist() == [row % 3 for row in batch["x"].tolist()]
        assert dataset.num_filtered == (0 if where is None else 70)
    with pytest.raises(DataError, match=r"0.parquet: no column 'tripel' \(as transform= returns them\)"):
        Dataset(folder, ["tripel"], batch_size=8, transform=twice, also_read=["x", "l"])


def test_partition_keys_can_be_asked_about(tmp_path):
    for day in (1, 2, 3):
        (tmp_path / f"ds={day}").mkdir()
        parquet.write_table(pa.table({"x": [day] * day}), tmp_path / f"ds={day}" / "0.parquet")
    dataset = Dataset(tmp_path, ["x", ColumnSpec("ds", dtype=torch.int64)], batch_size=9, where=pc.field("ds") != 2)
    (batch,) = dataset
    assert batch["x"].tolist() == batch["ds"].tolist() == [1, 3, 3, 3]


def test_an_error_behind_a_filter_names_the_row_of_the_file(folder):
    columns = ["x", ColumnSpec("maybe", dtype=torch.int64)]
    dataset = Dataset(
        folder, columns, batch_size=100, where=(pc.field("x") % 5 == 0) | (pc.field("x") == 11) if False else pc.field("x") > 10
    )
    with pytest.raises(DataError, match=r"0.parquet: column 'maybe', row 11: a null"):
        list(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": lambda batch: batch["y"]}, r"0.parquet: row group 0: where= failed \(KeyError"),
        (
            {"where": lambda batch: np.ones(3, dtype=bool)},
            r"where= returned bool of shape \[3\]; expected .* each of 7 rows",
        ),
        ({"where": lambda batch: batch["x"].to_numpy()}, r"where= returned int64"),
        ({"where": pc.field("y") > 1}, r"where= failed \(ArrowInvalid"),
    ],
)
def test_a_filter_that_is_wrong_says_where(folder, options, message):
    with pytest.raises(DataError, match=message):
        list(Dataset(folder, ["x"], batch_size=5, **options))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda batch: batch.slice(0, 2) if batch.num_rows else batch, "made 2 rows of 7; it must keep the rows"),
        (lambda batch: None, "transform= returned NoneType; expected a pyarrow.RecordBatch"),
        (
            lambda batch: 1 / batch.num_rows,
            r"0.parquet: no rows: transform= failed \(ZeroDivisionError: .* an empty one too",
        ),
    ],
)
def test_a_transform_that_is_wrong_says_where(folder, transform, message):
    with pytest.raises(DataError, match=message):
        list(Dataset(folder, ["x"], batch_size=5, transform=transform))


def test_a_function_that_is_wrong_is_never_a_reason_to_leave_rows_out(folder):
    def refuses(batch):
        if 30 in batch["x"].to_pylist():
            raise DataError("row 30 is not as it should be")
        return batch

    def wider(batch):
        return pa.record_batch({"x": pc.cast(batch["x"], pa.float64()) if 30 in batch["x"].to_pylist() else batch["x"]})

    for options, message in (
        ({"where": lambda batch: batch["x"].to_numpy() < 1 / (30 not in batch["x"].to_pylist())}, "where= failed .ZeroDivisionError"),
        ({"transform": refuses}, "transform= failed .DataError: row 30 is not as it should be"),
        ({"transform": wider}, "transform= made column 'x' of type int64 of no rows, and here one of type double; it must make the same"),
    ):
        dataset = Dataset(folder, ["x"], batch_size=5, on_error="skip", **options)
        with pytest.raises(DataError, match=rf"1.parquet: row group 0: {message}"):
            list(dataset)
        assert dataset.skipped == []


def test_a_transform_that_makes_other_columns_of_a_later_file_is_an_error(tmp_path):
    for name, dtype in (("0", pa.int64()), ("1", pa.float64())):
        parquet.write_table(pa.table({"a": pa.array([1, 2], dtype)}), tmp_path / f"{name}.parquet")
    dataset = Dataset(
        tmp_path, ["x"], batch_size=5, also_read=["a"], on_error="skip", transform=lambda batch: pa.record_batch({"x": batch["a"]})
    )
    with pytest.raises(DataError, match=r"1.parquet: .*'x'"):
        list(dataset)
    assert dataset.skipped == []


def test_a_column_that_a_transform_makes_twice_is_named(folder):
    with pytest.raises(DataError, match=r"column 'x' stands there more than once"):
        Dataset(folder, ["x"], batch_size=5, transform=lambda batch: batch.append_column("x", batch["x"]))


def test_options_that_do_nothing_are_refused(folder):
    for options, message in (
        ({"where": 3}, "where is 3"),
        ({"transform": "x"}, "transform is 'x'"),
        ({"also_read": ["l"]}, "also_read names columns for where= or transform="),
        ({"also_read": "l", "where": len}, "also_read is 'l'"),
        ({"where": len, "rank": 0, "world_size": 2}, "with where the ranks may have different numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            Dataset(folder, ["x"], batch_size=5, **options)
    with pytest.raises(DataError, match="no column 'll', which also_read names"):
        Dataset(folder, ["x"], batch_size=5, where=len, also_read=["ll"])
