"""Files with damage anywhere: the rows that are there, or one line that says what is wrong; never a crash or columns that do not fit."""

import random

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import orc, parquet

from sparrow.errors import SparrowError
from sparrow.io import Dataset, Shuffle
from sparrow.types import ColumnSpec

_NUM_ROWS = 50


def _table():
    generator = random.Random(1)
    rows = range(_NUM_ROWS)
    return pa.table({
        "number": pa.array([generator.random() for _ in rows]),
        "whole": pa.array([None if row % 7 == 0 else row for row in rows], pa.int32()),
        "ids": pa.array([None if row % 9 == 0 else [row] * (row % 5) for row in rows], pa.list_(pa.int64())),
        "text": pa.array(["x" * (row % 9) for row in rows]),
        "dense": pa.array([[1.5] if row % 4 else [] for row in rows], pa.list_(pa.float64())),
        "nested": pa.array([[[1, 2], [3]]] * _NUM_ROWS, pa.list_(pa.list_(pa.int64()))),
        "words": pa.array([["a", "bb"]] * _NUM_ROWS, pa.list_(pa.string())),
    })  # fmt: skip


def _write(path, kind):
    table = _table()
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=17)
    elif kind == "orc":
        orc.write_table(table, str(path), compression="uncompressed")
    else:
        new = pa.ipc.new_file if kind == "ipc" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=17)
    return path.read_bytes()


_COLUMNS = [
    "number", ColumnSpec("whole", default=0, dtype=torch.float32), "ids", "text",
    ColumnSpec("dense", kind="dense", default=0.0, dtype=torch.float32), "nested", "words",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "orc", "ipc", "stream"])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_is_refused_in_one_line_or_changes_values_alone(tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("damaged") / "file"
    whole = bytearray(_write(path, kind))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    shuffle, batch_size = data.draw(st.sampled_from([None, Shuffle(1, 1, 2)])), data.draw(st.integers(1, 60))
    message, num_rows = None, 0
    try:
        for batch in Dataset(
            path, _COLUMNS, batch_size=batch_size, shuffle=shuffle, prefetch=0, format="ipc" if kind == "stream" else kind
        ):
            num_rows += batch.num_samples
            for name in batch:
                column = batch[name]
                assert (column.shape[0] if isinstance(column, torch.Tensor) else column.check(name).num_rows) == batch.num_samples
    except SparrowError as error:
        message = str(error)
    assert message is None or (str(path) in message and "\n" not in message)
    assert message is not None or num_rows <= _NUM_ROWS
