"""CSV and TSV against the table that was written, Python's csv module, and hand-written text."""

import csv
import gzip
import io
import json
import random
import zlib

import pyarrow as pa
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset
from sparrow.io.formats import Csv
from sparrow.types import ColumnSpec
from tables_on_disk import expected_rows

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ['"', "a\nb", ",\t", "\r\n", "né"]
)
_VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.float64(): st.floats(allow_nan=False),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): _TEXT | st.none(),
}


@st.composite
def _tables(draw):
    kinds = draw(st.lists(st.sampled_from(list(_VALUES)), min_size=1, max_size=4))
    schema = pa.schema([(f"x{index}", kind) for index, kind in enumerate(kinds)])
    sizes = draw(st.lists(st.integers(0, 25), min_size=1, max_size=3))
    return [
        pa.table([pa.array(draw(st.lists(_VALUES[kind], min_size=size, max_size=size)), kind) for kind in kinds], schema=schema)
        for size in sizes
    ]


@settings(max_examples=80)
@given(
    tables=_tables(),
    delimiter=st.sampled_from([",", "\t", "|"]),
    header=st.booleans(),
    block_bytes=st.sampled_from([16, 40, 1000]),
    compress=st.sampled_from([bytes, gzip.compress, zlib.compress]),
    batch_size=st.integers(1, 20),
    stop=st.integers(0, 20),
)
def test_the_rows_of_the_files_from_any_batch_on(tmp_path, rows_of, tables, delimiter, header, block_bytes, compress, batch_size, stop):
    paths = []
    for index, table in enumerate(tables):
        text = io.BytesIO()
        arrow_csv.write_csv(table, text, arrow_csv.WriteOptions(include_header=header, delimiter=delimiter))
        paths.append(tmp_path / f"part-{index}.csv")
        # A file without a header and rows has no bytes, which is refused; an empty line says nothing.
        paths[-1].write_bytes(compress(text.getvalue() or b"\n"))
    schema, expected = tables[0].schema, expected_rows(tables)
    file_format = Csv(
        delimiter=delimiter,
        names=None if header else schema.names,
        types={field.name: field.type for field in schema},
        block_bytes=block_bytes,
    )
    num_rows = sum(table.num_rows for table in tables)
    if not header and len(schema.names) == 1:
        return  # there the empty line is a row
    if not num_rows:
        with pytest.raises(DataError, match="no rows at all"):
            Dataset(paths, schema.names, batch_size=1, format=file_format)
        return
    dataset = Dataset(paths, schema.names, batch_size=batch_size, format=file_format)
    assert dataset.num_rows == num_rows
    batches = iter(dataset)
    head = [batch for _, batch in zip(range(stop), batches, strict=False)]
    resumed = Dataset(paths, schema.names[::-1], batch_size=7, prefetch=0, format=file_format)
    resumed.load_state_dict(json.loads(json.dumps(dataset.state_dict())))
    tail = [] if resumed.epoch else list(resumed)
    assert resumed.epoch == 1
    for name in schema.names:
        assert [row for batch in head + tail for row in rows_of(batch[name])] == expected[name]


@given(
    rows=st.lists(st.lists(_TEXT.filter(lambda text: "\r" not in text), min_size=2, max_size=2), min_size=1, max_size=12),
    block_bytes=st.integers(5, 60),
)
@example(rows=[['"', "\n"], ["\n", '"\n"']] * 3, block_bytes=5)
def test_blocks_are_cut_outside_quotes(tmp_path, rows_of, rows, block_bytes):
    """Quotes, delimiters and line ends inside values, against Python's writer."""
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    dataset = Dataset(path, ["a", "b"], batch_size=100, format=Csv(types={"a": "string", "b": "string"}, block_bytes=block_bytes))
    (batch,) = dataset
    assert rows_of(batch["a"]) == [first.encode() for first, _ in rows]
    assert rows_of(batch["b"]) == [second.encode() for _, second in rows]


def _read(tmp_path, text, columns, name="a.csv", **options):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (batch,) = Dataset(tmp_path / name, columns, batch_size=1000, **options)
    return batch


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ","), ("a.txt", "\t"), ("a.csv", ";"), ("a.txt", "|"), ("a.tsv", "\t"), ("a.TSV", "\t")]
)
def test_the_delimiter_is_found_where_the_name_says_text(tmp_path, name, delimiter):
    text = f"id{delimiter}price\n1{delimiter}2.5\n\n3{delimiter}4,5\n" if delimiter != "," else "id,price\n1,2.5\n"
    if delimiter == ",":
        assert _read(tmp_path, text, ["price"], name)["price"].tolist() == [2.5]
    assert _read(tmp_path, text, ["id"], name)["id"].tolist()[0] == 1
    (tmp_path / "plain").write_text(text)
    with pytest.raises(
        DataError, match=r"plain: is of no format that is known \(it begins with b'id.*'\), expected ORC, .*; convert it, or say format="
    ):
        Dataset(tmp_path / "plain", ["id"], batch_size=1)
    assert _read(tmp_path, text, ["id"], "plain", format="tsv" if delimiter == "\t" else "csv")["id"].tolist()[0] == 1


def test_types_are_inferred_once_for_all_files(tmp_path, rows_of):
    (tmp_path / "0.csv").write_text("i,f,s,b,t,d\n1,1.5,x,true,2026-11-01 10:00:00,2026-11-01\n")
    (tmp_path / "1.csv").write_text("s,f,i,b,t,d\n7,2,3,false,2026-11-02 00:00:00,1970-01-02\n")
    dataset = Dataset(tmp_path, ["i", "f", "s", "b"], batch_size=10)
    assert dataset.schema == {"i": "int64", "f": "double", "s": "string", "b": "bool", "t": "timestamp[s]", "d": "date32[day]"}
    (batch,) = dataset
    assert batch["i"].tolist() == [1, 3]
    assert batch["f"].tolist() == [1.5, 2.0]
    assert rows_of(batch["s"]) == [b"x", b"7"]
    (tmp_path / "2.csv").write_text("i,f,s,b,t,d\n1.5,1,x,true,2026-11-01 10:00:00,2026-11-01\n")
    with pytest.raises(
        DataError, match=r"2.csv: block 0 \(from row 0\) cannot be decoded \(.*conversion error to int64: invalid value '1.5'"
    ):
        list(Dataset(tmp_path, ["i"], batch_size=10))
    types = {"i": "double", "s": pa.large_string()}
    assert [batch["i"].tolist() for batch in Dataset(tmp_path, ["i"], batch_size=10, format=Csv(types=types))] == [[1.0, 3.0, 1.5]]


def test_nulls_and_empty_values(tmp_path, rows_of):
    text = 'n,s,f\n1,,NaN\n,"",inf\n\\N,\\N,-1\n'
    columns = [ColumnSpec("n", default=-7), ColumnSpec("s", kind="ragged"), "f"]
    batch = _read(tmp_path, text, columns, format=Csv(nulls=["", "\\N"]))
    assert batch["n"].tolist() == [1, -7, -7]
    assert rows_of(batch["s"]) == [[], [b""], []]  # no value, an empty one in quotes, no value
    assert str(batch["f"].tolist()) == "[nan, inf, -1.0]"
    assert _read(tmp_path, "n\n1\n\n3\n", [ColumnSpec("n", default=0)])["n"].tolist() == [1, 0, 3]
    with pytest.raises(DataError, match=r"column 's' has type null; .*Csv.types"):
        _read(tmp_path, "n,s\n1,\n2,\n", ["s"])


def test_the_raw_criteo_layout(tmp_path, rows_of):
    """No header, tabs, missing numbers and ids, quotes that mean nothing."""
    names = ["label", "i1", "c1"]
    types = {"label": "float", "i1": "int64", "c1": "string"}
    file_format = Csv(delimiter="\t", names=names, types=types, quote=None)
    text = '0\t5\t68fd1e64\n1\t\ta"b\n0\t-1\t\n'
    batch = _read(tmp_path, text, ["label", ColumnSpec("i1", kind="ragged"), "c1"], "train.txt", format=file_format)
    assert batch["label"].tolist() == [0.0, 1.0, 0.0]
    assert batch["label"].dtype == torch.float32
    assert rows_of(batch["i1"]) == [[5], [], [-1]]
    assert rows_of(batch["c1"]) == [b"68fd1e64", b'a"b', b""]


_WORDS = [
    ("", {}, r"a.csv: the file is empty \(0 bytes\)"),
    ("\n\n", {}, "a.csv: has no header; write one, or give Csv.names"),
    ("a,b\n1,2\n", {"columns": ["c"]}, "a.csv: no column 'c'; known: a, b"),
    ("a,b\n1,2\n", {"types": {"z": "int8"}}, "a.csv: has no column 'z', which Csv.types=.... names; known: a, b"),
    ("a,a\n1,2\n", {}, "a.csv: column 'a' stands there more than once"),
    ("a,b\n1,2\n3\n", {"delimiter": ","}, "a.csv: .*Expected 2 columns, got 1"),
    ("a,b\n1,2\n3,4,5\n", {"delimiter": ","}, "a.csv: .*Expected 2 columns, got 3"),
    (
        "a,b\n1,x\n2,3\n4\n",
        {"block_bytes": 6},
        r"a.csv: block 1 \(from row 2\) cannot be decoded \(CSV parse error: row 2: Expected 2 columns, got 1",
    ),
    ('a,b\n1,"x\n2,y\n', {}, "a.csv: .*a quote is not closed at its end; .*quote=None"),
    ('a,b\n1,"x' + "\n2,y" * 100, {"block_bytes": 8}, "a.csv: .*a row has more than 1.. bytes; is a quote not closed"),
    ("a,b;c\n1,2;3\n", {}, "a.csv: its delimiter might be ',' or ';'; give Csv"),
    ("a,b\n1\n", {"delimiter": None}, "a.csv: its delimiter cannot be told"),
    ("a,b\n1,2\n", {"columns": ["b"], "types": {"b": "bool"}, "nulls": ["1"]}, "a.csv: .*conversion error to bool"),
    (b"a,b\n1,\0\n", {}, "a.csv: is no text: it holds zero bytes"),
    ("a,b\n1,2\n".encode("utf-16"), {}, "a.csv: is no text: it holds zero bytes"),
    (gzip.compress(b"a,b\n1,2\n" * 50)[:-9], {}, "a.csv: .*Truncated compressed stream"),
    (b"\x1f\x8b but no gzip", {}, "a.csv: "),
]


@pytest.mark.parametrize(("text", "options", "message"), _WORDS, ids=[message for _, _, message in _WORDS])
def test_what_is_wrong_is_said(tmp_path, text, options, message):
    columns = options.pop("columns", ["a"]) if "columns" in options else ["a"]
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        list(Dataset(path, columns, batch_size=1, format=Csv(**options)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "ab"}, "delimiter is 'ab'; expected one ASCII character"),
        ({"quote": ""}, "quote is ''"),
        ({"names": "a"}, "names is 'a'; expected a list"),
        ({"nulls": "NA"}, "nulls is the string 'NA'"),
        ({"block_bytes": 0}, "block_bytes is 0"),
        ({"types": {"a": "int65"}}, "the type of 'a' is 'int65'"),
        ({"types": {"a": 3}}, "the type of 'a' is 3"),
    ],
    ids=str,
)
def test_options_that_can_never_be_right(options, message):
    with pytest.raises(ConfigError, match=message):
        Csv(**options)
    with pytest.raises(ConfigError, match="format is 'cvs'; did you mean 'csv'"):
        Dataset("nowhere", ["a"], batch_size=1, format="cvs")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    assert _read(tmp_path, "\ufeffa,b\n1,2\n", ["a"])["a"].tolist() == [1]


def _rows_or_none(path, types):
    try:
        batches = list(Dataset(path, list(types), batch_size=7, format=Csv(types=types, block_bytes=64)))
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return None
    return [row for batch in batches for row in batch["x"].tolist()]


_TYPES = {"x": "int64", "s": "string", "f": "double"}
_DATA = "x,s,f\n" + "".join(f'{i},"{"é" * (i % 3)},\n",{i / 4}\n' for i in range(40))


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_cut_anywhere_gives_an_error_or_its_first_rows(tmp_path, compress):
    """Text has no end mark, so that a cut at the end of a row, or in its last number, cannot be noticed. In gzip it always is."""
    path, whole = tmp_path / "a.csv", compress(_DATA.encode())
    for num_bytes in range(0, len(whole), 3):
        path.write_bytes(whole[:num_bytes])
        rows = _rows_or_none(path, _TYPES)
        if rows is not None:
            assert compress is bytes
            assert rows == list(range(len(rows)))


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), compress=st.sampled_from([bytes, gzip.compress]))
def test_damaged_bytes_give_a_data_error_or_rows(tmp_path, seed, compress):
    damaged = bytearray(compress(_DATA.encode()))
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 2, 8])):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    (tmp_path / "a.csv").write_bytes(damaged)
    _rows_or_none(tmp_path / "a.csv", _TYPES)
