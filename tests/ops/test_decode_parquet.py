"""decode_parquet against pyarrow's reader and its own reference, on files written in many ways, and on damaged ones."""

import math
import struct

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sparrow.ops.decode_parquet import reference
from sparrow.ops.decode_parquet.op import CODECS, decode_parquet

_TYPES = [pa.int32(), pa.int64(), pa.float32(), pa.float64()]


def _written(table, **options):
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def _chunks_of(data, group=0):
    """Return the arguments of `decode_parquet` for all columns of a row group, and the schema of what it makes."""
    file = parquet.ParquetFile(pa.BufferReader(data))
    about, rows = file.metadata.row_group(group), []
    for index, field in enumerate(file.schema_arrow):
        chunk, is_list = about.column(index), pa.types.is_list(field.type)
        item = field.type.value_field if is_list else field
        begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        shape = [int(is_list), int(field.nullable), int(is_list and item.nullable)]
        where = [0, begin, begin + chunk.total_compressed_size, CODECS.index(chunk.compression)]
        rows.append([*where, item.type.bit_width // 8, chunk.num_values, *shape])
    return torch.tensor(rows).view(-1, 9), about.num_rows, file.schema_arrow.remove_metadata()


def _decoded(data, chunks, num_rows, schema):
    array = torch.empty(10, dtype=torch.int64)
    runs = [torch.frombuffer(bytearray(data), dtype=torch.uint8)]
    refused = decode_parquet(array, runs, chunks, num_rows)
    return refused if refused >= 0 else pa.RecordBatch._import_from_c(array.data_ptr(), schema)


@st.composite
def _tables(draw, null_items=False):
    num_rows, fields, arrays = draw(st.integers(0, 40)), [], []
    for index in range(draw(st.integers(1, 4))):
        number, is_nullable = draw(st.sampled_from(_TYPES)), draw(st.booleans())
        few = st.sampled_from([0, 1, 2, 3, 100])
        if pa.types.is_floating(number):
            value = few.map(float) if draw(st.booleans()) else st.floats(width=number.bit_width, allow_nan=False)
        else:
            limit = 2 ** (number.bit_width - 1)
            value = few if draw(st.booleans()) else st.integers(-limit, limit - 1)
        file_type = number
        if draw(st.booleans()):
            value = st.lists(value, max_size=draw(st.sampled_from([1, 4])))
            file_type = pa.list_(pa.field("element", number, nullable=draw(st.booleans())))
        fields.append(pa.field(f"c{index}", file_type, nullable=is_nullable))
        rows = st.lists(value | st.none() if is_nullable and draw(st.booleans()) else value, min_size=num_rows, max_size=num_rows)
        arrays.append(pa.array(draw(rows), file_type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


_OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy"]),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "data_page_size": st.sampled_from([1, 40, 1 << 20]),
        "dictionary_pagesize_limit": st.sampled_from([16, 1 << 20]),
        "write_batch_size": st.sampled_from([1, 7, 1024]),
    }
)


def _numbers_of(rows, file_type):
    """Return numbers by their bits as signed integers, as the reference gives them."""
    code = {pa.float32(): ("f", "i"), pa.float64(): ("d", "q")}.get(file_type)

    def bits(value):
        if isinstance(value, list):
            return [bits(one) for one in value]
        return value if code is None or value is None else struct.unpack(code[1], struct.pack(code[0], value))[0]

    return [bits(row) for row in rows]


@settings(max_examples=300, deadline=None)
@given(_tables(), _OPTIONS)
def test_columns_are_those_that_pyarrow_and_the_reference_read(table, options):
    data = _written(table, **options)
    if not table.num_rows:
        return
    chunks, num_rows, schema = _chunks_of(data)
    batch = _decoded(data, chunks, num_rows, schema)
    assert isinstance(batch, pa.RecordBatch), f"column {batch} was refused"
    batch.validate(full=True)
    assert batch.equals(pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema))
    expected = reference.decode_parquet([data], chunks.tolist(), num_rows)
    for field, column, rows in zip(schema, batch.columns, expected, strict=True):
        number = field.type.value_type if pa.types.is_list(field.type) else field.type
        assert _numbers_of(column.to_pylist(), number) == rows


def test_rows_of_many_pages_and_groups():
    rows = [[value % 1000 for value in range(row % 5)] if row % 7 else None for row in range(50_000)]
    flat = [None if row % 11 == 0 else math.sqrt(row) for row in range(50_000)]
    table = pa.table({"ids": pa.array(rows, pa.list_(pa.int64())), "flat": pa.array(flat, pa.float64())})
    for version in ("1.0", "2.0"):
        data = _written(table, row_group_size=30_000, data_page_size=4096, data_page_version=version)
        for group, begin in enumerate((0, 30_000)):
            batch = _decoded(data, *_chunks_of(data, group))
            assert pa.Table.from_batches([batch]).equals(table.slice(begin, 30_000))


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (pa.array([[1], [None]], pa.list_(pa.int64())), {}),
        (pa.array([1, 2], pa.int64()), {"use_dictionary": False, "column_encoding": "DELTA_BINARY_PACKED"}),
        (pa.array([1.0, 2.0]), {"use_dictionary": False, "column_encoding": "BYTE_STREAM_SPLIT"}),
        (pa.array([1, 2], pa.int64()), {"write_page_checksum": True}),
    ],
)
def test_what_is_not_decoded_is_left_to_the_caller(column, options):
    data = _written(pa.table({"good": pa.array([1, 2], pa.int32()), "odd": column}), **{**options, "write_page_checksum": False})
    if "write_page_checksum" in options:
        data = _written(pa.table({"good": column, "odd": column}), **options)
    expected = 0 if "write_page_checksum" in options or "column_encoding" in options else 1
    assert _decoded(data, *_chunks_of(data)) == expected


@settings(max_examples=400, deadline=None)
@given(_tables(), _OPTIONS, st.data())
def test_damage_is_refused_or_changes_numbers_alone(table, options, data):
    whole = bytearray(_written(table, **options))
    if not table.num_rows:
        return
    chunks, num_rows, schema = _chunks_of(bytes(whole))
    first, last = int(chunks[:, 1].min()), int(chunks[:, 2].max())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(first, last - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        chunks[0, data.draw(st.sampled_from([1, 2, 5]))] = data.draw(st.integers(0, last))
    if chunks[0, 1] > chunks[0, 2]:
        return
    batch = _decoded(bytes(whole), chunks, num_rows, schema)
    if isinstance(batch, pa.RecordBatch):
        batch.validate(full=True)
        assert batch.num_rows == num_rows


def test_memory_is_there_as_long_as_the_batch():
    table = pa.table({"ids": pa.array([[row] for row in range(200_000)], pa.list_(pa.int64()))})
    data = _written(table)
    arguments = _chunks_of(data)
    column = _decoded(data, *arguments).column(0)
    for _ in range(3):
        _decoded(data, *arguments)
    assert pa.table({"ids": column}).equals(table)


def _good():
    data = _written(pa.table({"x": pa.array([1, 2], pa.int64())}))
    chunks, num_rows, _ = _chunks_of(data)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8), chunks, num_rows


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 1, "row 0 lies in no run"),
        (1, -1, "row 0 lies in no run"),
        (2, 1 << 40, "row 0 lies in no run"),
        (3, 2, "no codec"),
        (4, 2, "item size"),
    ],
)
def test_arguments_that_make_no_sense_are_named(place, value, message):
    run, chunks, num_rows = _good()
    chunks[0, place] = value
    with pytest.raises(RuntimeError, match=message):
        decode_parquet(torch.empty(10, dtype=torch.int64), [run], chunks, num_rows)
    with pytest.raises(RuntimeError, match="must have room"):
        decode_parquet(torch.empty(9, dtype=torch.int64), [run], chunks, num_rows)


@pytest.mark.parametrize(("place", "value"), [(5, -1), (5, 1 << 60), (5, 3)])
def test_counts_that_cannot_be_are_refused(place, value):
    run, chunks, num_rows = _good()
    chunks[0, place] = value
    assert decode_parquet(torch.empty(10, dtype=torch.int64), [run], chunks, num_rows) == 0
    assert decode_parquet(torch.empty(10, dtype=torch.int64), [run], _good()[1], 1 << 60) == 0
