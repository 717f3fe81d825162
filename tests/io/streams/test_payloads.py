"""Messages made by anyone: each is rows as asked for, or refused with a reason."""

import contextlib
import itertools
import json
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparrow.errors import ConfigError
from sparrow.io.streams.payloads import ArrowPayloads, JsonPayloads, Parsed, PoisonError
from sparrow.types import ColumnSpec, Ragged
from streams_support import arrow_message

SPECS = [
    ColumnSpec("id", dtype=torch.int64),
    ColumnSpec("price", kind="dense", default=0.0, dtype=torch.float32),
    ColumnSpec("seen", kind="ragged", dtype=torch.int64),
    ColumnSpec("title", kind="bytes"),
    ColumnSpec("pair", kind="dense", width=2, dtype=torch.float64, default=-1.0),
]
GOOD = {"id": 7, "price": 1.5, "seen": [1, 2], "title": "ab", "pair": [1.0, 2.0]}


def json_payloads() -> JsonPayloads:
    return JsonPayloads(SPECS, {})


def rows_of(column: Any, num_rows: int) -> list[Any]:
    if not isinstance(column, Ragged):
        return list(column.tolist())
    column.check("column")
    bounds, values = column.offsets[0].tolist(), column.values.tolist()
    assert len(bounds) == num_rows + 1
    rows = [values[begin:end] for begin, end in itertools.pairwise(bounds)]
    return [bytes(row).decode() for row in rows] if column.is_bytes else rows


numbers = st.floats(-(2.0**100), 2.0**100, width=32)
row_strategy = st.fixed_dictionaries(
    {"id": st.integers(-(2**63), 2**63 - 1)},
    optional={
        "price": numbers | st.none() | st.integers(-(2**24), 2**24),
        "seen": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3) | st.none(),
        "title": st.text(max_size=4).filter(lambda text: text.isprintable()) | st.none(),
        "pair": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2) | st.none(),
        "unknown": st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=3),
    },
)


@given(st.lists(st.lists(row_strategy, max_size=4) | row_strategy, min_size=1, max_size=5))
def test_json_rows_are_what_was_written(messages: list[Any]) -> None:
    payloads = json_payloads()
    columns, _ = payloads.columns([payloads.parse(json.dumps(message).encode()) for message in messages], "t")
    rows = [row for message in messages for row in (message if isinstance(message, list) else [message])]
    assert rows_of(columns["id"], len(rows)) == [row["id"] for row in rows]
    expected = torch.tensor([row.get("price") or 0.0 for row in rows], dtype=torch.float32)
    assert torch.equal(columns["price"], expected)
    assert rows_of(columns["seen"], len(rows)) == [row.get("seen") or [] for row in rows]
    assert rows_of(columns["title"], len(rows)) == [row.get("title") or "" for row in rows]
    pairs = [row["pair"] if row.get("pair") is not None else [-1.0, -1.0] for row in rows]
    assert columns["pair"].tolist() == pairs


def changed(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


@pytest.mark.parametrize(
    "value, reason",
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"id": "\xc3"}', "is not UTF-8"),
        (b'{"id": 1', "is not JSON"),
        (b'{"id": 1} {"id": 2}', "is not JSON (Extra data"),
        (b"[" * 100_000, "is not JSON"),
        (b"5", "row 0 is a JSON int; expected an object"),
        (b'[{"id": 1}, null]', "row 1 is a JSON NoneType; expected an object"),
        (b'{"id": 1, "id": 2}', "an object names a field twice"),
        (b'{"id": 1, "price": NaN}', "NaN is not a JSON number"),
        (b'{"id": 1, "price": 1e999}', "column 'price', row 0: a number too large for 64 bits"),
        (b'{"id": ' + b"9" * 5000 + b"}", "is not JSON"),
        (changed(id=2**63), "column 'id', row 0: found 9223372036854775808, expected a whole number of 64 bits"),
        (changed(id=True), "column 'id', row 0: found True, expected a whole number"),
        (changed(id=1.0), "column 'id', row 0: found 1.0, expected a whole number"),
        (changed(id="1"), "column 'id', row 0: found '1', expected a whole number"),
        (changed(id=None), "column 'id', row 0: a null, and the column has no default"),
        (b"{}", "column 'id', row 0: a null, and the column has no default"),
        (changed(price=True), "column 'price', row 0: found True, expected a number"),
        (changed(price=1e39), "column 'price', row 0: 1e+39 is too large for torch.float32"),
        (changed(price=10**400), "column 'price'"),
        (changed(seen=3), "column 'seen', row 0: found 3, expected a list"),
        (changed(seen=[1, 2.5]), "column 'seen', row 0: inside its list: found 2.5, expected a whole number"),
        (changed(seen=[1, None]), "column 'seen', row 0: a null inside a list"),
        (changed(title=["a"]), "column 'title', row 0: found ['a'], expected a string"),
        (changed(title="\ud800"), "surrogates not allowed"),
        (changed(pair=[1.0]), "column 'pair', row 0: 1 values where a dense column of width 2 expects 2"),
    ],
)  # fmt: skip
def test_json_poison(value: bytes, reason: str) -> None:
    payloads = json_payloads()
    with pytest.raises(PoisonError) as refused:
        payloads.columns([payloads.parse(value)], "t[0] offset 5")
    assert reason in str(refused.value)


def test_json_types_beyond_a_spec() -> None:
    payloads = JsonPayloads(
        [ColumnSpec("tags"), ColumnSpec("paths")], {"tags": pa.list_(pa.string()), "paths": pa.list_(pa.list_(pa.int64()))}
    )
    columns, _ = payloads.columns([payloads.parse(b'[{"tags": ["a", "bc"], "paths": [[1], [2, 3]]}, {"tags": [], "paths": null}]')], "t")
    tags, paths = columns["tags"], columns["paths"]
    assert isinstance(tags, Ragged)
    assert isinstance(paths, Ragged)
    assert [level.tolist() for level in tags.offsets] == [[0, 2, 2], [0, 1, 3]]
    assert bytes(tags.values.tolist()) == b"abc"
    assert [level.tolist() for level in paths.offsets] == [[0, 2, 2], [0, 1, 3]]
    with pytest.raises(PoisonError, match=r"found 'abc', expected a list"):
        payloads.parse(b'{"tags": "abc"}')


@pytest.mark.parametrize(
    "spec, types, message",
    [
        (ColumnSpec("a"), {}, "JSON does not say what kind of number"),
        (ColumnSpec("a"), {"a": pa.timestamp("us")}, r"types asks for timestamp\[us\]"),
        (ColumnSpec("a"), {"a": pa.float32()}, "types asks for float"),
    ],
)
def test_json_columns_that_cannot_be(spec: ColumnSpec, types: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JsonPayloads([spec], types)


TABLE = pa.table({"other": ["x", "y"], "ids": pa.array([[1, 2], []], pa.list_(pa.int64())), "x": pa.array([0.5, None], pa.float32())})
ARROW_SPECS = [ColumnSpec("ids"), ColumnSpec("x", kind="dense", default=9.0)]


def arrow_rows(*values: bytes) -> dict[str, Any]:
    payloads = ArrowPayloads(ARROW_SPECS)
    columns, _ = payloads.columns([payloads.parse(value) for value in values], "t[0] offset 5")
    return {"ids": rows_of(columns["ids"], columns["x"].shape[0]), "x": columns["x"].tolist()}


def test_arrow_messages_of_several_batches_and_messages_join() -> None:
    value = arrow_message(TABLE, TABLE)
    assert arrow_rows(value, arrow_message(TABLE)) == {"ids": [[1, 2], []] * 3, "x": [0.5, 9.0] * 3}
    assert ArrowPayloads(ARROW_SPECS).parse(arrow_message(TABLE.slice(0, 0))).num_rows == 0


def test_arrow_messages_with_other_metadata_are_alike() -> None:
    assert arrow_rows(arrow_message(TABLE.replace_schema_metadata({"writer": "pandas"})))["x"] == [0.5, 9.0]


def test_every_truncation_of_an_arrow_message_is_refused() -> None:
    value = arrow_message(TABLE, TABLE)
    for length in range(len(value)):
        with pytest.raises(PoisonError):
            ArrowPayloads(ARROW_SPECS).parse(value[:length])


def test_a_message_cut_between_its_batches_is_named_as_such() -> None:
    whole = arrow_message(TABLE, TABLE)
    with pytest.raises(PoisonError, match="has no end marker, so it may be cut short"):
        ArrowPayloads(ARROW_SPECS).parse(whole[:-8])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(PoisonError, match="bytes follow the end"):
        ArrowPayloads(ARROW_SPECS).parse(arrow_message(TABLE) + arrow_message(TABLE))


@given(st.data())
def test_no_damaged_byte_does_anything_but_refuse_or_decode(data: st.DataObject) -> None:
    value = bytearray(arrow_message(TABLE))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    payloads = ArrowPayloads(ARROW_SPECS)
    columns: dict[str, Any] = {}
    with contextlib.suppress(PoisonError):
        parsed = payloads.parse(bytes(value))
        columns = payloads.columns([parsed], "t")[0] if parsed.num_rows else {}
    for column in columns.values():
        if isinstance(column, Ragged):
            column.check("column")


@pytest.mark.parametrize(
    "table, reason",
    [
        (TABLE.drop_columns(["ids"]), "no column 'ids'"),
        (TABLE.set_column(1, "ids", pa.array(["a", "b"])).set_column(2, "x", pa.array(["a", "b"])), "column 'x' has type string"),
        (TABLE.append_column("ids", TABLE["ids"]), "column 'ids' stands there more than once"),
        (TABLE.set_column(1, "ids", pa.array([[1, None], []], pa.list_(pa.int64()))), "column 'ids', row 0: a null inside a list"),
        (TABLE.set_column(2, "x", pa.array([1, 2], pa.time64("us"))), "column 'x' has type time64[us]"),
    ],
)
def test_arrow_poison(table: pa.Table, reason: str) -> None:
    with pytest.raises(PoisonError) as refused:
        arrow_rows(arrow_message(table))
    assert reason in str(refused.value)


@pytest.mark.parametrize("value", [b"", b"not arrow at all", b"\x00" * 64, b"\xff" * 64, b"ARROW1\x00\x00" + b"\x00" * 40])
def test_what_is_no_arrow_is_refused(value: bytes) -> None:
    with pytest.raises(PoisonError):
        ArrowPayloads(ARROW_SPECS).parse(value)


def test_invalid_utf8_in_an_arrow_string_is_refused() -> None:
    text = pa.array([b"ok", b"\xff\xfe"], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 2, text.buffers())
    with pytest.raises(PoisonError, match=r"UTF8|UTF-8"):
        ArrowPayloads([ColumnSpec("s")]).parse(arrow_message(pa.table({"s": bad})))


def test_shapes_stay_those_of_the_first_message() -> None:
    payloads = ArrowPayloads([ColumnSpec("x")])

    def parsed(kind: Any) -> Parsed:
        return payloads.parse(arrow_message(pa.table({"x": pa.array([1, 2], kind)})))

    payloads.columns([parsed(pa.int64())], "t")
    with pytest.raises(
        PoisonError, match=r"has type float and would be dense torch.float32 \[rows\], but the messages before gave dense torch.int64"
    ):
        parsed(pa.float32())
    assert payloads.shapes == {"x": "dense torch.int64 [rows]"}
