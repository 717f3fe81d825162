"""Files and pieces that cannot be read: an error, or left out and counted; never in silence."""

import json

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset
from sparrow.io.formats import Csv, TFRecord
from sparrow.types import ColumnSpec
from tables_on_disk import COLUMNAR
from tfrecord_writer import write_examples

_PIECE = 10


def _write(path, first, num_rows=40, **columns):
    table = pa.table({"x": list(range(first, first + num_rows)), **columns})
    COLUMNAR[path.suffix[1:]](table, path, _PIECE)


def _rows(dataset):
    return [row for batch in dataset for row in batch["x"].tolist()]


@pytest.fixture
def parts(tmp_path):
    """Five files of 40 rows each: one cut off, one of another type, one empty, one that is gone when the reader comes."""
    for index in range(6):
        _write(tmp_path / f"{index}.parquet", 100 * index)
    cut = (tmp_path / "1.parquet").read_bytes()
    (tmp_path / "1.parquet").write_bytes(cut[: len(cut) // 2])
    parquet.write_table(pa.table({"x": ["a", "b"]}), tmp_path / "2.parquet")
    (tmp_path / "3.parquet").write_bytes(b"")
    return tmp_path


_LEFT = [*range(40), *range(400, 440), *range(500, 540)]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_files_that_cannot_be_read_are_left_out_and_counted(parts, prefetch):
    with pytest.raises(DataError, match=r"1.parquet: is truncated"):
        list(Dataset(parts, ["x"], batch_size=7))
    dataset = Dataset(parts, ["x"], batch_size=7, prefetch=prefetch, on_error="skip")
    assert dataset.skipped == []
    assert _rows(dataset) == _LEFT
    assert [(skipped.path, skipped.piece) for skipped in dataset.skipped] == [
        (str(parts / f"{index}.parquet"), None) for index in (1, 2, 3)
    ]
    for skipped, reason in zip(
        dataset.skipped, ["is truncated: it begins", "column 'x' has type string, but int64", "the file is empty"], strict=True
    ):
        assert skipped.reason.startswith(reason)
    assert dataset.num_skipped == {"files": 3, "rows": 0}
    # The next epoch leaves out the same, which is the same three files.
    assert _rows(dataset) == _LEFT
    assert dataset.num_skipped["files"] == 3
    assert Dataset(parts, ["x"], batch_size=7, on_error="skip").num_rows == 122  # the two rows of another type are counted


def test_resuming_leaves_out_the_same(parts):
    for stop in range(18):
        dataset = Dataset(parts, ["x"], batch_size=7, on_error="skip")
        head = [row for _, batch in zip(range(stop), dataset, strict=False) for row in batch["x"].tolist()]
        resumed = Dataset(parts, ["x"], batch_size=9, on_error="skip")
        resumed.load_state_dict(json.loads(json.dumps(dataset.state_dict())))
        assert head + (_rows(resumed) if resumed.epoch == 0 else []) == _LEFT


def test_a_file_that_is_gone_and_one_that_never_was(parts):
    paths = [parts / "0.parquet", parts / "no.parquet", parts / "4.parquet", parts / "no*.parquet"]
    dataset = Dataset(paths, ["x"], batch_size=7, on_error="skip")
    (parts / "4.parquet").unlink()
    assert _rows(dataset) == list(range(40))
    assert [skipped.reason.partition(";")[0] for skipped in dataset.skipped] == [
        "no such file or folder", "no file matches this pattern", "the file is gone since the dataset was made",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"no.parquet: no such file or folder"):
        Dataset(parts / "no.parquet", ["x"], batch_size=1, on_error="skip")


@pytest.mark.parametrize("suffix", COLUMNAR)
def test_one_damaged_piece_is_left_out_and_the_rest_of_its_file_read(tmp_path, suffix, monkeypatch):
    _write(tmp_path / f"0.{suffix}", 0, v=[None if row == 17 else 1 for row in range(40)])
    _write(tmp_path / f"1.{suffix}", 100, v=[1] * 40)
    rest = [*range(10), *range(20, 40), *range(100, 140)]
    for stop in range(5):
        dataset = Dataset(tmp_path, ["x", "v"], batch_size=8, on_error="skip")
        batches = iter(dataset)
        head = [row for _, batch in zip(range(stop), batches, strict=False) for row in batch["x"].tolist()]
        state = dataset.state_dict()
        assert head + [row for batch in batches for row in batch["x"].tolist()] == rest
        (skipped,) = dataset.skipped
        assert skipped.path == str(tmp_path / f"0.{suffix}")
        assert skipped.piece is not None
        assert skipped.piece.endswith(" 1")
        assert "column 'v', row 17: a null" in skipped.reason
        assert dataset.num_skipped == {"pieces": 1, "rows": 10}
        resumed = Dataset(tmp_path, ["x", "v"], batch_size=100, on_error="skip")
        resumed.load_state_dict(state)
        assert head + _rows(resumed) == rest


def test_where_nothing_is_left_it_is_an_error(parts, tmp_path):
    bad = [parts / f"{index}.parquet" for index in (1, 3)]
    with pytest.raises(
        DataError, match=r"1.parquet: is truncated.*; nothing is left to read, 2 files and pieces were left out like this one"
    ):
        Dataset(bad, ["x"], batch_size=1, on_error="skip")
    with pytest.raises(DataError, match=r"0.parquet: no column 'y'; known: .*; nothing is left to read, 6 files"):
        Dataset(parts, ["y"], batch_size=1, on_error="skip")
    dataset = Dataset(parts / "0.parquet", [ColumnSpec("x", dtype=torch.int8, kind="dense")], batch_size=1, on_error="skip")
    assert dataset.num_rows == 40
    _write(tmp_path / "9.parquet", 1000)
    dataset = Dataset(tmp_path / "9.parquet", [ColumnSpec("x", dtype=torch.int8)], batch_size=1, on_error="skip")
    with pytest.raises(
        DataError, match=r"9.parquet, row group 0: column 'x', row 0: 1000 is out of the range.*nothing is left to read, 4 files and"
    ):
        list(dataset)


def test_a_file_that_changed_is_always_an_error(parts):
    dataset = Dataset(parts, ["x"], batch_size=7, prefetch=0, on_error="skip")
    _write(parts / "4.parquet", 0, num_rows=3)
    with pytest.raises(DataError, match=r"4.parquet: changed while in use"):
        _rows(dataset)
    dataset = Dataset(parts / "0.parquet", ["x"], batch_size=7, on_error="skip")
    dataset.load_state_dict({**dataset.state_dict(), "taken": 41})
    with pytest.raises(DataError, match="the saved position is row 41 of it and the files read with it, but they have 40"):
        _rows(dataset)


def test_text_is_left_out_from_the_block_that_is_wrong(tmp_path):
    (tmp_path / "0.csv").write_text("x,y\n" + "".join(f"{row},1\n" for row in range(10)) + "oops\n" + "11,1\n" * 30)
    (tmp_path / "1.csv").write_text("x,y\n50,1\n")
    dataset = Dataset(tmp_path, ["x"], batch_size=100, on_error="skip", format=Csv(block_bytes=16))
    assert _rows(dataset) in ([*range(8), 50], [*range(9), 50], [*range(10), 50])
    (skipped,) = dataset.skipped
    assert skipped.piece is not None
    assert skipped.piece.startswith("block ")
    assert skipped.piece.endswith(" and what follows")
    assert "row 10: Expected 2 columns, got 1" in skipped.reason


def test_a_record_whose_data_is_damaged_costs_its_block_alone(tmp_path):
    path = write_examples(tmp_path / "a.tfrecord", [{"x": ("int64", [row])} for row in range(40)])
    data = bytearray(path.read_bytes())
    size = len(data) // 40
    data[size * 20 + 14] ^= 1
    path.write_bytes(data)
    columns = [ColumnSpec("x", kind="dense")]
    with pytest.raises(DataError, match="the data of row 20 is damaged"):
        list(Dataset(path, columns, batch_size=1))
    dataset = Dataset(path, columns, batch_size=100, on_error="skip", format=TFRecord(block_bytes=5 * size))
    assert _rows(dataset) == [*range(20), *range(25, 40)]
    assert dataset.num_skipped == {"pieces": 1, "rows": 5}


def test_the_policy_is_one_of_two():
    with pytest.raises(ConfigError, match="on_error is 'skipp'; did you mean 'skip'"):
        Dataset("nowhere", ["x"], batch_size=1, on_error="skipp")  # type: ignore[arg-type]
