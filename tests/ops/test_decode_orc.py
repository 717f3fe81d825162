"""decode_orc against pyarrow's reader and its own reference, on files written in many ways, on runs of every kind, and on damaged files."""

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import orc

from sparrow.io.formats.orc_footer import stripes_of
from sparrow.ops.decode_orc import reference
from sparrow.ops.decode_orc.op import CODECS, NUMBERS, decode_orc

_TYPES = [pa.int32(), pa.int64(), pa.float32(), pa.float64()]
_BLOCK_BYTES = 65536


def _written(table, compression="uncompressed", **options):
    sink = pa.BufferOutputStream()
    orc.write_table(table, sink, compression=compression, compression_block_size=_BLOCK_BYTES, **options)
    return sink.getvalue().to_pybytes()


def _stripe_of(data, schema, stripe=0, compression="uncompressed"):
    """Return the arguments of `decode_orc` but the first, for all columns of a stripe."""
    found = stripes_of(pa.BufferReader(data))[stripe]
    begin = found.offset + found.index_bytes
    columns, number = [], 1
    for field in schema:
        is_list = pa.types.is_list(field.type)
        columns.append([number, _TYPES.index(field.type.value_type if is_list else field.type), int(is_list)])
        number += 1 + is_list
    codec = CODECS.index(compression.upper())
    about = [found.num_rows, number, found.index_bytes, found.footer_bytes, codec, _BLOCK_BYTES]
    return data[begin : begin + found.data_bytes + found.footer_bytes], torch.tensor(about), torch.tensor(columns).view(-1, 3)


def _decoded(stripe, about, columns, schema):
    array = torch.empty(10, dtype=torch.int64)
    if not decode_orc(array, torch.frombuffer(bytearray(stripe), dtype=torch.uint8), about, columns):
        return None
    return pa.RecordBatch._import_from_c(array.data_ptr(), schema)


def _integers(bits):
    limit = 2 ** (bits - 1)
    near = st.integers(-5, 5)
    # Few, of any size, mostly small with a large one now and then, and of a few bits more than a byte: what makes runs of each kind.
    return st.sampled_from(
        [near, st.integers(-limit, limit - 1), near | st.integers(-limit, limit - 1), st.integers(1000, 1300), st.just(7)]
    )


@st.composite
def _values(draw, number, count):
    """Return `count` numbers."""
    if pa.types.is_floating(number):
        return draw(st.lists(st.floats(width=number.bit_width, allow_nan=False), min_size=count, max_size=count))
    numbers = draw(st.lists(draw(_integers(number.bit_width)), min_size=count, max_size=count))
    return sorted(numbers, reverse=draw(st.booleans())) if draw(st.booleans()) else numbers


@st.composite
def _tables(draw):
    num_rows, arrays = draw(st.integers(1, 60)), []
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.sampled_from(_TYPES))
        is_null = draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows)) if draw(st.booleans()) else [False] * num_rows
        if draw(st.booleans()):
            most = draw(st.sampled_from([1, 4]))
            lengths = draw(st.lists(st.integers(0, most), min_size=num_rows, max_size=num_rows))
            flat = iter(draw(_values(number, sum(lengths))))
            rows = [[next(flat) for _ in range(length)] for length in lengths]
            file_type = pa.list_(number)
        else:
            rows, file_type = draw(_values(number, num_rows)), number
        arrays.append(pa.array([None if null else row for null, row in zip(is_null, rows, strict=True)], file_type))
    return pa.Table.from_arrays(arrays, [f"c{index}" for index in range(len(arrays))])


@settings(max_examples=300, deadline=None)
@given(_tables(), st.sampled_from(["uncompressed", "snappy"]))
def test_columns_are_those_that_were_written(table, compression):
    stripe, about, columns = _stripe_of(_written(table, compression), table.schema, compression=compression)
    batch = _decoded(stripe, about, columns, table.schema)
    assert batch is not None
    batch.validate(full=True)
    assert pa.Table.from_batches([batch]).equals(table)
    if compression == "uncompressed":
        assert reference.decode_orc(stripe, about.tolist(), columns.tolist()) == [column.to_pylist() for column in batch.columns]


@pytest.mark.parametrize("compression", ["uncompressed", "snappy"])
@pytest.mark.parametrize(
    "numbers",
    [
        [3] * 5000,
        list(range(5000)),
        [5000 - row for row in range(5000)],
        [row * row for row in range(5000)],
        [row * 2654435761 % 4096 for row in range(5000)],
        [2**40 + row % 7 if row % 100 else 2**45 + row for row in range(5000)],
        [-(2**40) + row % 7 if row % 100 else row for row in range(5000)],
        [(-1) ** row * 2**62 for row in range(5000)],
        [row % 3 - 1 if row % 260 else -(2**50) for row in range(5000)],
    ],
)
def test_runs_of_every_kind(numbers, compression):
    table = pa.table({"flat": pa.array(numbers), "lists": pa.array([[number] * (number % 3) for number in numbers], pa.list_(pa.int64()))})
    arguments = _stripe_of(_written(table, compression), table.schema, compression=compression)
    batch = _decoded(*arguments, table.schema)
    assert pa.Table.from_batches([batch]).equals(table)
    if compression == "uncompressed":
        assert reference.decode_orc(arguments[0], *(one.tolist() for one in arguments[1:])) == [
            column.to_pylist() for column in batch.columns
        ]


def test_stripes_of_a_file_and_some_of_its_columns():
    table = pa.table({"a": list(range(40_000)), "b": pa.array([[row] * (row % 3) for row in range(40_000)], pa.list_(pa.int32()))})
    data = _written(table, batch_size=10_000, stripe_size=4096)
    begin = 0
    for stripe, found in enumerate(stripes_of(pa.BufferReader(data))):
        piece, about, columns = _stripe_of(data, table.schema, stripe)
        batch = _decoded(piece, about, columns[1:], table.schema.remove(0))
        assert pa.Table.from_batches([batch]).equals(table.slice(begin, found.num_rows).select(["b"]))
        begin += found.num_rows
    assert begin == 40_000


def test_what_is_not_decoded_is_left_to_the_caller():
    table = pa.table({"x": pa.array([[1], [None]], pa.list_(pa.int64()))})
    assert _decoded(*_stripe_of(_written(table), table.schema), table.schema) is None
    first_version = pa.table({"x": [1, 2, 3]})
    arguments = _stripe_of(_written(first_version, file_version="0.11"), first_version.schema)
    assert _decoded(*arguments, first_version.schema) is None


def test_footers_that_say_something_else_are_refused():
    table = pa.table({"x": [1, 5, 2], "empty": pa.array([None, None, None], pa.int64())})
    stripe, about, columns = _stripe_of(_written(table), table.schema)
    assert _decoded(stripe, about, columns, table.schema) is not None
    begin = len(stripe) - int(about[3])
    # Encodings of the rows, as a struct, and of "x", as numbers: fields 1 and 2.
    rows, numbers = stripe.index(b"\x12\x04\x08\x00\x10\x00", begin), stripe.index(b"\x12\x04\x08\x02\x10\x00", begin)
    # The streams of the numbers: fields 1 to 3, kind, column and bytes.
    of_x, of_empty = stripe.index(b"\x08\x01\x10\x01\x18", begin), stripe.index(b"\x08\x01\x10\x02\x18", begin)
    for place, byte, what in (
        (rows + 3, 1, "rows of another encoding"),
        (numbers + 3, 0, "integers of the first run length encoding"),
        (numbers + 2, 0x20, "a field that encodings do not have"),
        (of_x, 0x28, "a field that streams do not have"),
        (of_x + 1, 5, "a stream of another kind"),
        (of_empty + 1, 5, "no numbers, in no stream"),
    ):
        damaged = bytearray(stripe)
        damaged[place] = byte
        assert _decoded(bytes(damaged), about, columns, table.schema) is None, what


@settings(max_examples=500, deadline=None)
@given(_tables(), st.sampled_from(["uncompressed", "snappy"]), st.data())
def test_damage_is_refused_or_changes_numbers_alone(table, compression, data):
    stripe, about, columns = _stripe_of(_written(table, compression), table.schema, compression=compression)
    damaged = bytearray(stripe)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        about[data.draw(st.sampled_from([0, 2, 3, 5]))] = data.draw(st.integers(0, 2 * len(damaged)) | st.integers(-(2**63), 2**63 - 1))
    if about[0] < 0:
        return
    batch = _decoded(damaged[: data.draw(st.just(len(damaged)) | st.integers(1, len(damaged)))], about, columns, table.schema)
    if batch is not None:
        batch.validate(full=True)
        assert batch.num_rows == int(about[0])


def test_memory_is_there_as_long_as_the_batch():
    table = pa.table({"ids": pa.array([[row] for row in range(200_000)], pa.list_(pa.int64()))})
    arguments = _stripe_of(_written(table), table.schema)
    column = _decoded(*arguments, table.schema).column(0)
    for _ in range(3):
        _decoded(*arguments, table.schema)
    assert pa.table({"ids": column}).equals(table)


@pytest.mark.parametrize(
    ("about", "columns", "message"),
    [
        ([1, 2, 0, 0, 2, 1], [[1, 0, 0]], "compression 2"),
        ([-1, 2, 0, 0, 0, 1], [[1, 0, 0]], "-1 rows"),
        ([1, 2, 0, 0, 0, 1], [[0, 0, 0]], "row 0 describes no column"),
        ([1, 2, 0, 0, 0, 1], [[1, len(NUMBERS), 0]], "row 0 describes no column"),
        ([1, 2, 0, 0, 0], [[1, 0, 0]], r"stripe \[6\]"),
    ],
)
def test_arguments_that_make_no_sense_are_named(about, columns, message):
    array = torch.empty(10, dtype=torch.int64)
    with pytest.raises(RuntimeError, match=message):
        decode_orc(array, torch.empty(0, dtype=torch.uint8), torch.tensor(about), torch.tensor(columns))
    with pytest.raises(RuntimeError, match="must have room"):
        decode_orc(array[:9], torch.empty(0, dtype=torch.uint8), torch.tensor([1, 2, 0, 0, 0, 1]), torch.tensor([[1, 0, 0]]))
