"""Types beyond numbers, strings and lists, in every format that has them: each against pyarrow's `to_pylist`."""

import datetime
import decimal
import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset
from sparrow.types import ColumnSpec, Ragged
from tables_on_disk import COLUMNAR

_ARROW = ("arrow", "arrows")
_TYPED = ("parquet", *_ARROW)


def _read(tmp_path, suffix, array, batch_size=3, **spec):
    path = tmp_path / f"x.{suffix}"
    COLUMNAR[suffix](pa.table({"x": array}), path, 2)
    return [batch["x"] for batch in Dataset(path, [ColumnSpec("x", **spec)], batch_size=batch_size)]


def _dense(columns):
    return torch.cat(columns)


def _joined(columns, rows_of):
    return [row for column in columns for row in rows_of(column)]


def _weights(columns):
    return [
        column.weights[begin:end].tolist()
        for column in columns
        for begin, end in itertools.pairwise(column.check("x").offsets[-1].tolist())
    ]


@pytest.mark.parametrize("suffix", COLUMNAR)
def test_timestamps_and_dates(tmp_path, suffix):
    moments = [datetime.datetime(2026, 11, 1, 12, 30, 0, 250_000), datetime.datetime(1969, 12, 31, 23, 59, 59), None]
    micros = [1793536200250000, -1000000, 7]
    array = pa.array(moments, pa.timestamp("us"))
    # ORC keeps nanoseconds, whatever was written.
    factor = 1000 if suffix == "orc" else 1
    column = _dense(_read(tmp_path, suffix, array, default=7 * factor))
    assert column.dtype == torch.int64
    assert column.tolist() == [micro * factor for micro in micros]
    assert _dense(_read(tmp_path, suffix, array, default=0, unit="ns")).tolist()[:2] == [micro * 1000 for micro in micros[:2]]
    assert _dense(_read(tmp_path, suffix, array, default=0, unit="ms")).tolist()[:2] == [1793536200250, -1000]
    with pytest.raises(DataError, match=r"column 'x', row 0: 17935362002500*.* is no whole number in unit 's'; ask for a finer one"):
        _read(tmp_path, suffix, array, default=0, unit="s")
    days = pa.array([datetime.date(1970, 1, 2), datetime.date(1969, 12, 31), datetime.date(2026, 11, 1)], pa.date32())
    assert _dense(_read(tmp_path, suffix, days)).tolist() == [1, -1, 20758]
    assert _dense(_read(tmp_path, suffix, days, unit="s")).tolist() == [86400, -86400, 20758 * 86400]
    lists = pa.array([moments[:2], [], None], pa.list_(pa.timestamp("us")))
    values = torch.cat([column.values for column in _read(tmp_path, suffix, lists, unit="us")])
    assert values.tolist() == micros[:2]


def test_units_that_do_not_fit(tmp_path):
    far = pa.array([0, 2**62], pa.timestamp("s"))
    with pytest.raises(DataError, match=rf"row 1: {2**62} does not fit 64 bits in unit 'ns'; ask for a coarser one"):
        _read(tmp_path, "arrow", far, unit="ns")
    with pytest.raises(DataError, match="column 'x' has type int64; unit='s' is for timestamps and dates"):
        _read(tmp_path, "arrow", pa.array([1]), unit="s")
    with pytest.raises(ConfigError, match="unit is 'h'; expected one of s, ms, us, ns, day"):
        _read(tmp_path, "arrow", far, unit="h")
    assert _dense(_read(tmp_path, "arrow", pa.array([86_400_000], pa.date64()))).tolist() == [86_400_000]
    with_zone = pa.array([datetime.datetime(2026, 1, 1)], pa.timestamp("s", "Asia/Shanghai"))
    assert _dense(_read(tmp_path, "arrow", with_zone)).tolist() == [1767225600]


def test_a_later_file_in_another_unit_is_refused_or_converted(tmp_path):
    paths = []
    for index, unit in enumerate(["ms", "us"]):
        paths.append(tmp_path / f"{index}.arrow")
        COLUMNAR["arrow"](pa.table({"x": pa.array([5000], pa.timestamp(unit))}), paths[-1], 1)
    with pytest.raises(DataError, match=r"1.arrow: column 'x' has type timestamp\[us\], but timestamp\[ms\] in .*0.arrow"):
        list(Dataset(paths, ["x"], batch_size=2))
    assert [batch["x"].tolist() for batch in Dataset(paths, [ColumnSpec("x", unit="us")], batch_size=2)] == [[5_000_000, 5000]]


@pytest.mark.parametrize("suffix", _TYPED)
def test_dictionaries_are_seen_through(tmp_path, suffix, rows_of):
    words = pa.array(["b", "a", None, "b", ""]).dictionary_encode()
    assert _joined(_read(tmp_path, suffix, words), rows_of) == [b"b", b"a", b"", b"b", b""]
    lists = pa.ListArray.from_arrays([0, 2, 2, 3], pa.array(["x", "y", "x"]).dictionary_encode())
    assert _joined(_read(tmp_path, suffix, lists), rows_of) == [[b"x", b"y"], [], [b"x"]]
    if suffix != "parquet":  # pyarrow gives numbers of Parquet back without their dictionary
        numbers = pa.array([5, 7, None, 5], pa.int32()).dictionary_encode()
        assert _dense(_read(tmp_path, suffix, numbers, default=-1)).tolist() == [5, 7, -1, 5]


@pytest.mark.parametrize("suffix", _TYPED)
def test_lists_of_a_fixed_size_are_dense(tmp_path, suffix, rows_of):
    rows = [[1.0, 2.0, 3.0], None, [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [0.0, 0.0, 1.0]]
    array = pa.array(rows, pa.list_(pa.float32(), 3))
    column = _dense(_read(tmp_path, suffix, array, default=-1.0))
    assert (column.dtype, column.tolist()) == (torch.float32, [row or [-1.0] * 3 for row in rows])
    assert _dense(_read(tmp_path, suffix, array, kind="dense", width=3, default=0)).shape == (5, 3)
    assert _joined(_read(tmp_path, suffix, array, kind="ragged"), rows_of) == [row or [] for row in rows]
    with pytest.raises(DataError, match="row 1: 0 values where a dense column of width 3 expects 3, and the column has no default"):
        _read(tmp_path, suffix, array)
    with pytest.raises(DataError, match="a dense column of width 2 expects lists of 2 numbers"):
        _read(tmp_path, suffix, array, kind="dense", width=2)
    if suffix in _ARROW:
        nested = pa.array([[[1, 2], None], None, [[3, 4]]], pa.list_(pa.list_(pa.int64(), 2)))
        assert _joined(_read(tmp_path, suffix, nested), rows_of) == [[[1, 2], []], [], [[3, 4]]]


def _pairs(rows, kind):
    """Rows of (key, weight) pairs as a map or as a list of structs."""
    if kind == "map":
        return pa.array(rows, pa.map_(pa.int64(), pa.float64()))
    struct = pa.struct([("id", pa.int64()), ("w", pa.float64())])
    return pa.array([None if row is None else [{"id": key, "w": weight} for key, weight in row] for row in rows], pa.list_(struct))


@pytest.mark.parametrize("suffix", COLUMNAR)
@pytest.mark.parametrize("kind", ["map", "structs"])
@settings(max_examples=12)
@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(width=32, allow_nan=False)), max_size=3) | st.none(),
        min_size=1,
        max_size=9,
    ),
    batch_size=st.integers(1, 10),
)
def test_pairs_become_values_with_weights(tmp_path, rows_of, suffix, kind, rows, batch_size):
    columns = _read(tmp_path, suffix, _pairs(rows, kind), batch_size)
    assert all(column.weights.dtype == torch.float32 for column in columns)
    assert _joined(columns, rows_of) == [[key for key, _ in row or []] for row in rows]
    assert _weights(columns) == [[weight for _, weight in row or []] for row in rows]


def test_pairs_in_lists_and_what_pairs_cannot_be(tmp_path, rows_of):
    nested = pa.array([[[(1, 2)], []], None, [None, [(3, 4), (5, 6)]]], pa.list_(pa.map_(pa.int32(), pa.int8())))
    columns = _read(tmp_path, "arrow", nested)
    assert _joined(columns, rows_of) == [[[1], []], [], [[], [3, 5]]]
    assert columns[0].weights.tolist() == [2.0, 4.0, 6.0]
    (column,) = _read(tmp_path, "arrow", _pairs([[(1, 0.5)]], "map"), dtype=torch.int32)
    assert column.values.dtype == torch.int32

    def refused(array, message, **spec):
        with pytest.raises(DataError, match=f"column 'x'.*{message}"):
            _read(tmp_path, "arrow", array, **spec)

    refused(pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "pairs must be of numbers, the second being the weight")
    refused(pa.array([[(1, "a")]], pa.map_(pa.int64(), pa.string())), "pairs must be of numbers")
    refused(_pairs([[(1, 0.5)]], "map"), "a dense column of width 1 expects numbers", kind="dense")
    refused(_pairs([[], [(1, None)]], "map"), "row 1: a null inside a list")
    refused(_pairs([[], [(None, 1.0)]], "structs"), "row 1: a null inside a list")
    refused(pa.array([[None]], pa.list_(pa.struct([("a", pa.int64()), ("b", pa.int64())]))), "row 0: a null inside a list")
    refused(_pairs([[(1, 1e39)]], "map"), "row 0: its weight 1e[+]39 is too large for torch.float32; write weights that are")
    refused(pa.array([[(1, 2**24 + 1)]], pa.map_(pa.int64(), pa.int64())), "row 0: its weight 16777217 is not exact in torch.float32")
    refused(pa.array([(1, 2)], pa.struct([("a", pa.int64()), ("b", pa.int64())])), "expected integers")
    refused(pa.array([decimal.Decimal("1.5")]), "decimals are not read")
    refused(pa.array([[None]]), "it holds nulls alone")
    refused(pa.array([datetime.time(1)]), "expected integers")


@pytest.mark.parametrize("suffix", _TYPED)
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(pa.uint8(), torch.int16), (pa.uint16(), torch.int32), (pa.uint32(), torch.int64), (pa.uint64(), torch.int64)],
    ids=str,
)
def test_unsigned_numbers(tmp_path, suffix, kind, dtype):
    largest = min(2**kind.bit_width - 1, 2**63 - 1)
    column = _dense(_read(tmp_path, suffix, pa.array([0, None, largest], kind), default=1))
    assert (column.dtype, column.tolist()) == (dtype, [0, 1, largest])
    assert _read(tmp_path, suffix, pa.array([[largest], []], pa.list_(kind)))[0].values.tolist() == [largest]
    if kind == pa.uint64():
        with pytest.raises(DataError, match=rf"row 2: {2**63} is out of the range of torch.int64, which uint64 columns become"):
            _read(tmp_path, suffix, pa.array([[0], [], [1, 2**63]], pa.list_(kind)))


@pytest.mark.parametrize("suffix", _TYPED)
def test_half_floats_and_other_strings(tmp_path, suffix, rows_of):
    halves = pa.array([np.float16(1.5), None, np.float16(-2)], pa.float16())
    column = _dense(_read(tmp_path, suffix, halves, default=0.5))
    assert (column.dtype, column.tolist()) == (torch.float16, [1.5, 0.5, -2.0])
    kinds: list[Any] = [pa.large_string(), pa.large_binary(), pa.binary(2)]
    for kind in [*kinds, pa.string_view(), pa.binary_view()] if suffix in _ARROW else kinds:
        texts = (
            pa.array([b"ab", None, b"cd"], pa.binary()).cast(pa.string()).cast(kind)
            if "string" in str(kind)
            else pa.array([b"ab", None, b"cd"], kind)
        )
        assert _joined(_read(tmp_path, suffix, texts), rows_of) == [b"ab", b"", b"cd"]
    large = pa.array([[1], None, [2, 3]], pa.large_list(pa.int64()))
    assert _joined(_read(tmp_path, suffix, large), rows_of) == [[1], [], [2, 3]]


def test_three_levels_of_lists(tmp_path, rows_of):
    rows = [[[[1], []], None], None, [[], [None, [2, 3]]]]
    for suffix in COLUMNAR:
        columns = _read(tmp_path, suffix, pa.array(rows, pa.list_(pa.list_(pa.list_(pa.int64())))))
        assert isinstance(columns[0], Ragged)
        assert _joined(columns, rows_of) == [[[[1], []], []], [], [[], [[], [2, 3]]]]
