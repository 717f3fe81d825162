"""What a column of a file becomes: every value against pyarrow's `to_pylist` and a loop."""

import math
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset
from sparrow.types import ColumnSpec, Ragged

_INTS = {pa.int8(): 8, pa.int16(): 16, pa.int32(): 32, pa.int64(): 64}
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    **{kind: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in _INTS.items()},
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=4),
    pa.binary(): st.binary(max_size=4),
}


@st.composite
def _tables(draw: st.DrawFn) -> list[pa.Table]:
    """Up to three tables of one random schema; rows and lists may be null, numbers in lists may not."""
    types: dict[str, Any] = {}
    values: dict[str, st.SearchStrategy[Any]] = {}
    for index in range(draw(st.integers(1, 4))):
        scalar = draw(st.sampled_from(list(_SCALARS)))
        kind, value = scalar, _SCALARS[scalar]
        depth = draw(st.integers(0, 2))
        for _ in range(depth):
            kind, value = pa.list_(kind), st.lists(value, max_size=3) | st.none()
        if depth == 0 and scalar in (pa.string(), pa.binary()):
            value = value | st.none()
        if depth == 2:
            value = st.lists(st.lists(_SCALARS[scalar], max_size=3) | st.none(), max_size=3) | st.none()
        types[f"x{index}"], values[f"x{index}"] = kind, value
    tables = []
    for _ in range(draw(st.integers(1, 3))):
        num_rows = draw(st.integers(0, 17))
        rows = {name: draw(st.lists(value, min_size=num_rows, max_size=num_rows)) for name, value in values.items()}
        tables.append(pa.table({name: pa.array(rows[name], types[name]) for name in types}))
    return tables


def _plain(value: Any, kind: Any) -> Any:
    """What a value of the file reads: strings as bytes, null lists and strings as empty ones."""
    if pa.types.is_list(kind):
        return [_plain(element, kind.value_type) for element in value or []]
    if kind in (pa.string(), pa.binary()):
        return value.encode() if isinstance(value, str) else value or b""
    return value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tables=_tables(),
    stripe_rows=st.integers(1, 9),
    batch_size=st.integers(1, 20),
    prefetch=st.integers(0, 2),
    drop_last=st.booleans(),
    compression=st.sampled_from(["uncompressed", "zstd"]),
)
def test_batches_hold_the_rows_of_the_files(write_orc, rows_of, tables, stripe_rows, batch_size, prefetch, drop_last, compression):
    folder = write_orc(*tables, stripe_rows=stripe_rows, compression=compression)
    schema = tables[0].schema
    expected = {name: [_plain(v, schema.field(name).type) for t in tables for v in t.column(name).to_pylist()] for name in schema.names}
    places = [(f"part-{index}.orc", row) for index, table in enumerate(tables) for row in range(table.num_rows)]
    if not places:
        with pytest.raises(DataError, match="no rows"):
            Dataset(folder, schema.names, batch_size=batch_size)
        return
    dataset = Dataset(folder, schema.names, batch_size=batch_size, prefetch=prefetch, tail="drop" if drop_last else "short")
    assert dataset.num_rows == len(places)
    # Collected first: what was handed out must not change while the reader moves on.
    batches = list(dataset)
    num_full, rest = divmod(len(places), batch_size)
    assert [batch.num_samples for batch in batches] == [batch_size] * num_full + [rest] * (rest > 0 and not drop_last)
    begin = 0
    for batch in batches:
        end = begin + batch.num_samples
        assert list(batch) == schema.names
        for name in schema.names:
            assert rows_of(batch[name]) == expected[name][begin:end]
        assert sum(span.num_rows for span in batch.origin) == batch.num_samples
        for index in range(batch.num_samples):
            part, row = places[begin + index]
            assert batch.locate(index) == f"{folder / part}, row {row}"
        begin = end


_COLUMNS = pa.table(
    {
        "id": pa.array([1, 2**40, -3, 2**63 - 1]),
        "small": pa.array([1, -128, 127, 0], pa.int16()),
        "price": pa.array([0.1, 2.5, None, math.nan]),
        "flag": pa.array([True, None, False, True]),
        "text": pa.array(["né", None, "", "xyz"]),
        "one": pa.array([[1.5], [], None, [2.0]]),
        "pair": pa.array([[1, 2], [3, 4], None, []], pa.list_(pa.int32())),
        "ragged": pa.array([[1, 2, 3], [4], [], None]),
        "holes": pa.array([[1], [None], [], None]),
        "words": pa.array([["a", ""], None, [], ["bc"]]),
        "deep": pa.array([[[1], []], None, [None, [2, 3]], []]),
    }
)


@pytest.fixture(scope="module")
def file(write_orc):
    return write_orc(_COLUMNS, stripe_rows=3) / "part-0.orc"


def _read(file, **spec):
    (batch,) = Dataset(file, [ColumnSpec(**spec)], batch_size=100)
    return batch[spec["name"]]


@pytest.mark.parametrize(
    ("spec", "dtype", "rows"),
    [
        ({"name": "id"}, torch.int64, [1, 2**40, -3, 2**63 - 1]),
        ({"name": "small", "dtype": torch.int8}, torch.int8, [1, -128, 127, 0]),
        ({"name": "small", "dtype": torch.float16}, torch.float16, [1.0, -128.0, 127.0, 0.0]),
        ({"name": "price", "default": -1}, torch.float64, [0.1, 2.5, -1.0, math.nan]),
        ({"name": "flag", "default": 0}, torch.bool, [True, False, False, True]),
        ({"name": "flag", "kind": "ragged", "dtype": torch.float32}, torch.float32, [[1.0], [], [0.0], [1.0]]),
        ({"name": "text"}, torch.uint8, ["né".encode(), b"", b"", b"xyz"]),
        ({"name": "text", "kind": "bytes"}, torch.uint8, ["né".encode(), b"", b"", b"xyz"]),
        ({"name": "text", "kind": "ragged"}, torch.uint8, [["né".encode()], [], [b""], [b"xyz"]]),
        ({"name": "one", "kind": "dense", "default": math.nan}, torch.float64, [1.5, math.nan, math.nan, 2.0]),
        ({"name": "one"}, torch.float64, [[1.5], [], [], [2.0]]),
        ({"name": "one", "dtype": torch.float32}, torch.float32, [[1.5], [], [], [2.0]]),
        ({"name": "pair", "kind": "dense", "width": 2, "default": 7}, torch.int32, [[1, 2], [3, 4], [7, 7], [7, 7]]),
        ({"name": "holes", "kind": "dense", "default": 9}, torch.int64, [1, 9, 9, 9]),
        ({"name": "ragged", "kind": "ragged"}, torch.int64, [[1, 2, 3], [4], [], []]),
        ({"name": "words", "kind": "bytes"}, torch.uint8, [[b"a", b""], [], [], [b"bc"]]),
        ({"name": "deep"}, torch.int64, [[[1], []], [], [[], [2, 3]], []]),
    ],
    ids=str,
)
def test_a_column_becomes_what_its_spec_asks_for(file, rows_of, spec, dtype, rows):
    column = _read(file, **spec)
    assert (column.values if isinstance(column, Ragged) else column).dtype == dtype
    assert str(rows_of(column)) == str(rows)  # as text, where NaN equals NaN


def test_rounding_is_that_of_the_nearest_float(write_orc):
    numbers = [0.1, 1 / 3, 1e-50, math.inf, math.nan]
    column = _read(write_orc(pa.table({"x": numbers})), name="x", dtype=torch.float32)
    torch.testing.assert_close(column, torch.tensor(numbers, dtype=torch.float32), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("numbers", "dtype", "bad_row"),
    [
        ([0, 2**31 - 1, 2**31], torch.int32, 2),
        ([0, -129], torch.int8, 1),
        ([255, 256], torch.uint8, 1),
        ([0, -1], torch.uint8, 1),
        ([1, 2], torch.bool, 1),
        ([2**24, 2**24 + 1], torch.float32, 1),
        ([-(2**53), -(2**53) - 1], torch.float64, 1),
        ([1.0, 0.5], torch.int64, 1),
        ([1.0, math.nan], torch.int64, 1),
        ([1.0, -math.inf], torch.int32, 1),
        ([-(2.0**63), 2.0**63], torch.int64, 1),
        ([1.0, 2.0**31], torch.int32, 1),
        ([0.0, 1.0, 2.0], torch.bool, 2),
        ([1.0, 1e39], torch.float32, 1),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_a_lossy_conversion_names_the_row(write_orc, numbers, dtype, bad_row, as_list):
    """The rows before the bad one convert, so the bound is exact; rows are counted across stripes."""
    rows = [[], [], *([x] for x in numbers)] if as_list else numbers
    folder = write_orc(pa.table({"x": rows}), stripe_rows=2)
    kind = "dense" if as_list and dtype == torch.uint8 else "auto"
    dataset = Dataset(folder, [ColumnSpec("x", kind=kind, dtype=dtype, default=0 if kind == "dense" else None)], batch_size=1)
    with pytest.raises(DataError, match=rf"part-0.orc: column 'x', row {bad_row + 2 * as_list}: .*{dtype}"):
        list(dataset)


def test_a_batch_inside_one_stripe_shares_its_memory(write_orc):
    folder = write_orc(pa.table({"x": list(range(100)), "l": [[i, i] for i in range(100)]}))
    first, second = Dataset(folder, ["x", "l"], batch_size=50)
    for name in ("x", "l"):
        left, right = (batch[name].values if name == "l" else batch[name] for batch in (first, second))
        assert left.untyped_storage().data_ptr() == right.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ColumnSpec("x", width=0), "width is 0"),
        (ColumnSpec("x", width=3), 'width=3 needs kind="dense"'),
        (ColumnSpec("x", kind="ragged", default=1), "a default is for dense columns"),
        (ColumnSpec("x", kind="dens"), "did you mean 'dense'"),  # type: ignore[arg-type]
        (ColumnSpec("x", dtype=torch.complex64), "dtype is torch.complex64"),
        (ColumnSpec("x", kind="bytes", dtype=torch.int64), "leave dtype out"),
    ],
    ids=str,
)
def test_an_impossible_spec_is_refused_before_any_file_is_read(file, spec, message):
    with pytest.raises(ConfigError, match=message):
        Dataset(file, [spec], batch_size=1)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "txt"}, "no column 'txt'; did you mean 'text'"),
        ({"name": "id", "kind": "bytes"}, "column 'id' has type int64; kind=\"bytes\" expects strings"),
        ({"name": "text", "kind": "dense"}, "column 'text' has type string; a dense column"),
        ({"name": "id", "kind": "dense", "width": 2}, "column 'id' has type int64; a dense column of width 2"),
        ({"name": "deep", "kind": "dense"}, r"column 'deep' has type list<item: list<item: int64>>; a dense column"),
        ({"name": "text", "dtype": torch.int64}, "column 'text' .*uint8 bytes, not torch.int64"),
        ({"name": "ragged", "dtype": torch.uint8}, "column 'ragged' .*means the bytes of strings"),
        ({"name": "id", "default": 0.5}, "column 'id' .*default 0.5 is not a whole number"),
        ({"name": "small", "default": 40000}, "column 'small' .*default 40000 is out of the range of torch.int16"),
        ({"name": "id", "default": 2**64}, "column 'id' .*default 18446744073709551616 is not a number of 64 bits"),
        ({"name": "price"}, "column 'price', row 2: a null, and the column has no default"),
        ({"name": "one", "kind": "dense"}, "column 'one', row 1: 0 values .*no default"),
        ({"name": "pair", "kind": "dense", "default": 0}, "column 'pair', row 0: 2 values where a dense column of width 1 expects 1"),
        ({"name": "ragged", "kind": "dense", "width": 3, "default": 0}, "column 'ragged', row 1: 1 values .* width 3 expects 3"),
        ({"name": "holes"}, "column 'holes', row 1: a null inside a list"),
        ({"name": "holes", "kind": "dense"}, "column 'holes', row 1: a null, and"),
    ],
    ids=str,
)
def test_a_column_that_is_not_as_declared_is_named(file, spec, message):
    with pytest.raises(DataError, match=message) as caught:
        _read(file, **spec)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (pa.decimal128(10, 2), "decimals are not read: write it as float64, or as int64 of its smallest unit"),
        (pa.struct([("a", pa.int64())]), "expected integers"),
    ],
    ids=str,
)
def test_a_type_that_is_not_read_is_named(write_orc, kind, message):
    folder = write_orc(pa.table({"x": pa.array([None], kind), "y": [1]}))
    with pytest.raises(DataError, match=rf"part-0.orc: column 'x' has type .*; {message}"):
        Dataset(folder, ["x"], batch_size=1)
    assert [batch["y"].tolist() for batch in Dataset(folder, ["y"], batch_size=1)] == [[1]]


def test_the_schema_lists_every_column_of_the_file(file):
    dataset = Dataset(file, ["id"], batch_size=1)
    assert list(dataset.schema) == _COLUMNS.schema.names
    assert dataset.schema["id"] == "int64"
    assert [spec.name for spec in dataset.columns] == ["id"]
    assert dataset.files == (str(file),)
