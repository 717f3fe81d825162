"""Every format against the table that was written: rows, resumption at any batch, damage at any byte."""

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import orc

from sparrow.errors import DataError
from sparrow.io import Dataset
from sparrow.types import Ragged
from tables_on_disk import COLUMNAR, expected_rows

_INTS = {pa.int8(): 8, pa.int16(): 16, pa.int32(): 32, pa.int64(): 64}
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    **{kind: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in _INTS.items()},
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=4),
    pa.binary(): st.binary(max_size=4),
}


def _null_lists(kind, value, depth):
    for _ in range(depth):
        kind, value = pa.list_(kind), st.lists(value, max_size=3)
    return kind, value | st.none() if depth else value


@st.composite
def _tables(draw):
    """Up to three tables of one random schema; rows and lists may be null, numbers in lists may not."""
    types, values = {}, {}
    for index in range(draw(st.integers(1, 4))):
        scalar = draw(st.sampled_from(list(_SCALARS)))
        kind, value = _null_lists(scalar, _SCALARS[scalar], draw(st.integers(0, 3)))
        types[f"x{index}"] = kind
        values[f"x{index}"] = value | st.none() if kind in (pa.string(), pa.binary()) else value
    tables = []
    for _ in range(draw(st.integers(1, 3))):
        num_rows = draw(st.integers(0, 17))
        rows = {name: draw(st.lists(value, min_size=num_rows, max_size=num_rows)) for name, value in values.items()}
        tables.append(pa.table({name: pa.array(rows[name], types[name]) for name in types}))
    return tables


def test_the_writer_of_orc_makes_the_stripes_it_is_asked_for(tmp_path):
    (path,) = _write(tmp_path, "orc", [pa.table({"x": list(range(10))})], 3)
    file = orc.ORCFile(path)
    assert [file.read_stripe(stripe).num_rows for stripe in range(file.nstripes)] == [3, 3, 3, 1]


def _write(folder, suffix, tables, piece_rows):
    for index, table in enumerate(tables):
        path = folder / f"part-{index}.{suffix}"
        COLUMNAR[suffix](table, path, piece_rows)
    return [folder / f"part-{index}.{suffix}" for index in range(len(tables))]


@pytest.mark.parametrize("suffix", COLUMNAR)
@settings(max_examples=25)
@given(
    tables=_tables(),
    piece_rows=st.integers(1, 9),
    batch_size=st.integers(1, 20),
    later_size=st.integers(1, 20),
    stop=st.integers(0, 20),
    prefetch=st.integers(0, 2),
)
def test_the_rows_of_the_files_from_any_batch_on(tmp_path, rows_of, suffix, tables, piece_rows, batch_size, later_size, stop, prefetch):
    paths = _write(tmp_path, suffix, tables, piece_rows)
    names, expected = tables[0].schema.names, expected_rows(tables)
    num_rows = sum(table.num_rows for table in tables)
    if not num_rows:
        with pytest.raises(DataError, match="no rows at all"):
            Dataset(paths, names, batch_size=batch_size)
        return
    dataset = Dataset(paths, names, batch_size=batch_size, prefetch=prefetch)
    assert dataset.num_rows == num_rows
    batches = iter(dataset)
    head = [batch for _, batch in zip(range(stop), batches, strict=False)]
    assert [batch.num_samples for batch in head] == [min(batch_size, num_rows - begin) for begin in range(0, num_rows, batch_size)][:stop]
    resumed = Dataset(paths, names[::-1], batch_size=later_size)
    resumed.load_state_dict(json.loads(json.dumps(dataset.state_dict())))
    tail = [] if resumed.epoch else list(resumed)
    assert resumed.epoch == 1
    for name in names:
        assert [row for batch in head + tail for row in rows_of(batch[name])] == expected[name]


_TABLE = pa.table(
    {
        "x": list(range(60)),
        "f": [i / 2 for i in range(60)],
        "s": [str(i) * (i % 3) for i in range(60)],
        "l": [[i] * (i % 3) for i in range(60)],
        "w": [[str(i)] * (i % 3) for i in range(60)],
        "b": [i % 2 == 0 for i in range(60)],
    }
)


def _read_all(path, table=_TABLE):
    """Read every column, twice; what comes must be well formed whatever the bytes are. Returns the rows of the first column."""
    name = table.schema.names[0]
    dataset = Dataset(path, table.schema.names, batch_size=7, prefetch=0)
    batches = list(dataset)
    for batch in batches:
        for column in (batch[name] for name in batch):
            if isinstance(column, Ragged):
                assert column.check("a column").num_rows == batch.num_samples
            else:
                assert column.shape[0] == batch.num_samples
    assert sum(batch.num_samples for batch in batches) == dataset.num_rows
    return [row for batch in batches for row in batch[name].tolist()]


@pytest.mark.parametrize("suffix", COLUMNAR)
def test_a_file_cut_anywhere_is_refused(tmp_path, suffix):
    (path,) = _write(tmp_path, suffix, [_TABLE], 20)
    whole = path.read_bytes()
    for num_bytes in [*range(0, len(whole), max(1, len(whole) // 150)), *range(len(whole) - 20, len(whole))]:
        path.write_bytes(whole[:num_bytes])
        with pytest.raises(DataError, match=f"^{path}: ") as caught:
            _read_all(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", COLUMNAR)
@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_damaged_bytes_give_a_data_error_or_well_formed_batches(tmp_path, suffix, seed):
    """Formats without checksums cannot notice a changed value; but nothing may crash, and no other exception may escape."""
    (path,) = _write(tmp_path, suffix, [_TABLE], 20)
    damaged = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 2, 8])):
        # Half of the damage goes to the ends, which hold the structure.
        end = min(500, len(damaged))
        place = chance.choice([chance.randrange(len(damaged)), len(damaged) - 1 - chance.randrange(end), chance.randrange(end)])
        damaged[place] = chance.randrange(256)
    path.write_bytes(damaged)
    problem = None
    try:
        _read_all(path)
    except DataError as error:
        problem = str(error)
    assert problem is None or (problem.startswith(str(path)) and "\n" not in problem), problem


@pytest.mark.parametrize("suffix", COLUMNAR)
def test_a_renamed_file_is_read_by_content(tmp_path, suffix):
    (path,) = _write(tmp_path, suffix, [_TABLE], 20)
    for other in ("file", "file.orc", "file.parquet", "file.csv"):
        assert _read_all(path.rename(tmp_path / other)) == list(range(60))
        path = tmp_path / other
    expected = "ORC" if suffix != "orc" else "Parquet"
    with pytest.raises(DataError, match=f"file.csv: is an? .* file, expected {expected}; convert it, or leave format= out"):
        Dataset(path, ["x"], batch_size=1, format=expected.lower())


@pytest.mark.parametrize("suffix", COLUMNAR)
def test_later_files_that_differ_are_named(tmp_path, suffix):
    first = pa.table({"x": [1, 2], "y": [[1.0], []]})

    def refused(later, message, columns=("x", "y")):
        paths = _write(tmp_path, suffix, [first, later], 1)
        with pytest.raises(DataError, match=message):
            list(Dataset(paths, list(columns), batch_size=1))

    refused(first.rename_columns(["x", "z"]), rf"part-1.{suffix}: no column 'y'")
    refused(pa.table({"x": ["1"], "y": [[1.0]]}), rf"part-1.{suffix}: column 'x' has type string, but int64 in .*part-0.{suffix}")
    refused(pa.table({"x": [1, None], "y": [[1.0]] * 2}), rf"part-1.{suffix}: column 'x', row 1: a null")
    refused(pa.table({"x": [1], "y": [[None]]}).cast(first.schema), rf"part-1.{suffix}: column 'y', row 0: a null inside a list")
    twice = pa.table([pa.array([1]), pa.array([2]), pa.array([[1.0]])], names=["x", "x", "y"])
    if suffix != "parquet":  # pyarrow reads no Parquet file with two columns of one name
        refused(twice, rf"part-1.{suffix}: column 'x' stands there more than once")


def test_formats_may_differ_in_a_list_but_not_in_a_folder(tmp_path):
    parts = [pa.table({"x": [index]}) for index in range(len(COLUMNAR))]
    paths = [_write(tmp_path, suffix, [part], 1)[0] for suffix, part in zip(COLUMNAR, parts, strict=True)]
    assert [batch["x"].tolist() for batch in Dataset(paths, ["x"], batch_size=4)] == [[0, 1, 2, 3]]
    with pytest.raises(DataError, match=r"the folder mixes formats, such as part-0\.\w+ and .*; say format="):
        Dataset(tmp_path, ["x"], batch_size=1)
    assert Dataset(tmp_path, ["x"], batch_size=1, format="parquet").files == (str(paths[1]),)
