"""Columns decoded without pyarrow's reader: those that can be, equal to what pyarrow reads, among columns of every other type."""

import decimal

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc, parquet

from sparrow.errors import DataError
from sparrow.io import Dataset
from sparrow.io.formats import orc as formats_orc
from sparrow.io.formats.orc import Orc
from sparrow.io.formats.parquet import Parquet

_ROWS = 60
_DIRECT = {
    "whole": pa.array([None if row % 7 == 0 else row for row in range(_ROWS)], pa.int64()),
    "short": pa.array([row % 5 for row in range(_ROWS)], pa.int32()),
    "number": pa.array([row / 3 for row in range(_ROWS)], pa.float64()),
    "small": pa.array([row / 3 for row in range(_ROWS)], pa.float32()),
    "ids": pa.array([None if row % 9 == 0 else [row] * (row % 4) for row in range(_ROWS)], pa.list_(pa.int64())),
    "weights": pa.array([[row / 7] for row in range(_ROWS)], pa.list_(pa.float32())),
}
_OTHERS = {
    "text": pa.array([str(row) * (row % 3) for row in range(_ROWS)]),
    "words": pa.array([["a", "bb"] * (row % 3) for row in range(_ROWS)], pa.list_(pa.string())),
    "nested": pa.array([[[1, 2], [row]] for row in range(_ROWS)], pa.list_(pa.list_(pa.int64()))),
    "pair": pa.array([{"a": row, "b": [row, 2]} for row in range(_ROWS)], pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int64()))])),
    "map": pa.array([[(row, 1.5)] for row in range(_ROWS)], pa.map_(pa.int64(), pa.float32())),
    "flag": pa.array([row % 2 == 0 for row in range(_ROWS)]),
    "byte": pa.array([row % 100 for row in range(_ROWS)], pa.int8()),
    "time": pa.array([10**9 * row for row in range(_ROWS)], pa.timestamp("ns")),
    "money": pa.array([decimal.Decimal(row) for row in range(_ROWS)], pa.decimal128(9, 2)),
    "dotted.name": pa.array(range(_ROWS), pa.int64()),
}
_COLUMNS = _DIRECT | _OTHERS


def _open(path, kind):
    source = pa.OSFile(str(path))
    return (Parquet() if kind == "parquet" else Orc()).open(source, None), source


def _write(table, path, kind):
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=25)
    else:
        orc.write_table(table, str(path), batch_size=25, stripe_size=512)


def _as_table(read, names):
    table = read if isinstance(read, pa.Table) else pa.Table.from_batches([read])
    return table.select(names)


@pytest.mark.parametrize("kind", ["parquet", "orc"])
@given(data=st.data())
def test_pieces_are_those_that_pyarrow_reads(tmp_path_factory, kind, data):
    order = data.draw(st.permutations(sorted(_COLUMNS)))
    in_file = order[: data.draw(st.integers(1, len(order)))]
    names = data.draw(st.lists(st.sampled_from(in_file), min_size=1, unique=True))
    path = tmp_path_factory.mktemp("direct") / "file"
    _write(pa.table({name: _COLUMNS[name] for name in in_file}), path, kind)
    opened, source = _open(path, kind)
    with source:
        pieces = [_as_table(opened.read(piece, names), names) for piece in range(opened.num_pieces)]
    expected = parquet.read_table(path) if kind == "parquet" else orc.read_table(str(path))
    # pyarrow reads a name with a dot as a path, too.
    got = pa.concat_tables(pieces)
    assert got.equals(expected.select(names))
    # Names that were decoded: all that can be, unless ORC's stripes would be read for a few of their columns.
    (direct,) = opened.schema.direct.values()
    can_be = [name for name in names if name in _DIRECT]
    if kind == "orc" and 4 * len(can_be) < len(in_file):
        can_be = []
    assert direct.schema.names == can_be
    assert list(direct.others) == [name for name in names if name not in can_be]


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_pyarrow_reads_no_column_that_is_decoded(tmp_path, kind, monkeypatch):
    _write(pa.table(_DIRECT), tmp_path / "file", kind)
    reader = parquet.ParquetFile if kind == "parquet" else orc.ORCFile
    name = "read_row_group" if kind == "parquet" else "read_stripe"
    monkeypatch.setattr(reader, name, lambda *_, **__: pytest.fail("pyarrow was asked"))
    opened, source = _open(tmp_path / "file", kind)
    with source:
        for piece in range(opened.num_pieces):
            assert _as_table(opened.read(piece, list(_DIRECT)), list(_DIRECT)).num_rows == opened.rows_of(piece)


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_the_user_may_choose_pyarrow(tmp_path, kind, monkeypatch):
    path = tmp_path / f"0.{kind}"
    _write(pa.table(_DIRECT), path, kind)
    one = Parquet if kind == "parquet" else Orc
    expected = [batch["ids"].values.tolist() for batch in Dataset(path, ["ids"], batch_size=7, format=one())]
    module = "sparrow.io.formats.parquet_chunks" if kind == "parquet" else "sparrow.io.formats.orc_columns"
    monkeypatch.setattr(f"{module}.decode_{kind}", lambda *_: pytest.fail("the operator was asked"))
    assert [batch["ids"].values.tolist() for batch in Dataset(path, ["ids"], batch_size=7, format=one(direct=False))] == expected


def test_a_stripe_without_a_footer_leaves_the_file_to_pyarrow(tmp_path, monkeypatch):
    _write(pa.table(_DIRECT), tmp_path / "0.orc", "orc")
    whole = formats_orc.stripes_of
    monkeypatch.setattr(formats_orc, "stripes_of", lambda *which: tuple(one._replace(footer_bytes=0) for one in whole(*which)))
    monkeypatch.setattr("sparrow.io.formats.orc_columns.decode_orc", lambda *_: pytest.fail("the operator was asked"))
    opened, source = _open(tmp_path / "0.orc", "orc")
    with source:
        assert _as_table(opened.read(0, ["ids"]), ["ids"])["ids"].combine_chunks().equals(_DIRECT["ids"][: opened.rows_of(0)])


def test_statistics_that_pyarrow_cannot_stand_do_not_end_the_process(tmp_path):
    # Asked about this chunk, pyarrow's metadata ends it: a histogram has a level more than the column can have. No row depends on it.
    schema = pa.schema([pa.field("x", pa.list_(pa.field("element", pa.int64(), nullable=False)), nullable=False)])
    parquet.write_table(pa.table({"x": [[1], [], [2, 3]]}, schema=schema), tmp_path / "0.parquet", compression="none")
    data = bytearray((tmp_path / "0.parquet").read_bytes())
    # SizeStatistics of lists in rows: how many entries have each of the levels 0 and 1, repetition before definition.
    histograms = bytes([0x29, 0x26, 3 << 1, 1 << 1, 0x19, 0x26, 1 << 1, 3 << 1])
    place = data.index(histograms[1:])
    data[place : place + 7] = bytes([0x16, 3 << 1, 0x19, 0x36, 1 << 1, 3 << 1, 0])
    (tmp_path / "0.parquet").write_bytes(data)
    (batch,) = Dataset(tmp_path / "0.parquet", ["x"], batch_size=4)
    assert batch["x"].values.tolist() == [1, 2, 3]
    with pytest.raises(DataError, match=r"0\.parquet.* histogram size mismatch"):
        list(Dataset(tmp_path / "0.parquet", ["x"], batch_size=4, format=Parquet(direct=False)))


@pytest.mark.parametrize(
    "item", [pa.int8(), pa.uint32(), pa.int64(), pa.float16(), pa.date32(), pa.time32("ms"), pa.time64("us"), pa.duration("s")]
)
@pytest.mark.parametrize("is_list", [False, True])
def test_numbers_of_other_meanings_have_the_types_of_pyarrow(tmp_path, item, is_list):
    array = pa.array([1, 0, 1], pa.int64()).cast(pa.int32() if item.bit_width == 32 else pa.int64()).cast(item, safe=False)
    if is_list:
        array = pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), array)
    parquet.write_table(pa.table({"x": array}), tmp_path / "file")
    opened, source = _open(tmp_path / "file", "parquet")
    with source:
        got = _as_table(opened.read(0, ["x"]), ["x"])
    assert got.schema.types == parquet.read_table(tmp_path / "file").schema.types
    assert got.equals(parquet.read_table(tmp_path / "file"))
    (direct,) = opened.schema.direct.values()
    assert direct.schema.names == (["x"] if item == pa.int64() else [])


@pytest.mark.parametrize("compression", ["gzip", "zstd", "lz4", "brotli"])
def test_other_compressions_of_parquet(tmp_path, compression):
    table = pa.table(_DIRECT)
    parquet.write_table(table, tmp_path / "file", compression=compression)
    opened, source = _open(tmp_path / "file", "parquet")
    with source:
        assert _as_table(opened.read(0, table.schema.names), table.schema.names).equals(table)


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lz4"])
def test_other_compressions_of_orc(tmp_path, compression):
    table = pa.table(_DIRECT)
    orc.write_table(table, str(tmp_path / "file"), compression=compression)
    opened, source = _open(tmp_path / "file", "orc")
    with source:
        assert _as_table(opened.read(0, table.schema.names), table.schema.names).equals(table)


def test_few_columns_far_from_each_other(tmp_path):
    columns = {f"c{index}": pa.array([index * row for row in range(20_000)], pa.int64()) for index in range(24)}
    parquet.write_table(pa.table(columns), tmp_path / "file", compression="none", use_dictionary=False)
    opened, source = _open(tmp_path / "file", "parquet")
    with source:
        for names in (["c0", "c23"], [f"c{index}" for index in range(0, 24, 2)], ["c5"]):
            assert _as_table(opened.read(0, names), names).equals(pa.table({name: columns[name] for name in names}))


def test_checksums_of_pages_are_still_checked(tmp_path):
    path = tmp_path / "0.parquet"
    parquet.write_table(pa.table({"x": list(range(1000))}), path, write_page_checksum=True, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    place = data.index((500).to_bytes(8, "little"))
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"0.parquet: row group 0 .* cannot be decoded"):
        list(Dataset(path, ["x"], batch_size=100))


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_files_of_one_schema_and_files_that_differ_in_it(tmp_path, kind):
    for part, names in enumerate((["a", "b"], ["a", "b"], ["b", "a"], ["text", "a", "b"])):
        columns = {
            "a": pa.array([[10 * part + row] * row for row in range(3)], pa.list_(pa.int64())),
            "b": pa.array([part + row / 2 for row in range(3)]),
            "text": pa.array(["x", "yy", "z"]),
        }
        _write(pa.table({name: columns[name] for name in names}), tmp_path / f"{part}.{kind}", kind)
    batches = list(Dataset(tmp_path, ["b", "a"], batch_size=12))
    assert batches[0]["b"].tolist() == [part + row / 2 for part in range(4) for row in range(3)]
    assert batches[0]["a"].values.tolist() == [10 * part + row for part in range(4) for row in range(3) for _ in range(row)]
    assert batches[0]["a"].values.dtype == torch.int64
