"""find_chunks against pyarrow's account of whole files and its own reference, and on damaged footers."""

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sparrow.ops.find_chunks import reference
from sparrow.ops.find_chunks.op import find_chunks

_COMPRESSIONS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": 6, "LZ4": 7}


def _footer(data):
    assert data[-4:] == b"PAR1"
    length = int.from_bytes(data[-8:-4], "little")
    return data[len(data) - 8 - length : len(data) - 8]


def _written(table, **options):
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def _table(num_rows):
    rows = range(num_rows)
    return pa.table({
        "number": pa.array([None if row % 3 == 0 else row for row in rows], pa.int64()),
        "ids": pa.array([[row] * (row % 3) for row in rows], pa.list_(pa.int32())),
        "text": pa.array([str(row) for row in rows]),
        "pair": pa.array([{"a": row, "b": [{"c": row / 2}]} for row in rows]),
    })  # fmt: skip


def _found(footer, num_leaves):
    return find_chunks(torch.tensor(list(footer), dtype=torch.uint8), num_leaves)


def _by_pyarrow(data):
    metadata = parquet.ParquetFile(pa.BufferReader(data)).metadata
    out = []
    for group in range(metadata.num_row_groups):
        out.append([])
        for leaf in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(leaf)
            begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            out[-1].append([_COMPRESSIONS[chunk.compression], chunk.num_values, begin, begin + chunk.total_compressed_size])
    return out


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 50),
    st.sampled_from(["none", "snappy", "gzip", "brotli", "zstd", "lz4"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, [("number", "ascending")]]),
)
def test_chunks_are_where_pyarrow_finds_them(num_rows, group_rows, compression, use_dictionary, write_statistics, sorting):
    data = _written(
        _table(num_rows),
        row_group_size=group_rows,
        compression=compression,
        use_dictionary=use_dictionary,
        write_statistics=write_statistics,
        write_page_index=sorting is not None,
    )
    num_leaves = parquet.ParquetFile(pa.BufferReader(data)).metadata.num_columns
    got = _found(_footer(data), num_leaves)
    assert got.shape[1:] == (num_leaves, 4)
    assert got.tolist() == _by_pyarrow(data) == reference.find_chunks(_footer(data), num_leaves)


def test_a_group_of_another_number_of_chunks_is_not_returned():
    footer = _footer(_written(_table(5)))
    assert _found(footer, 4).tolist() == reference.find_chunks(footer, 4) == []
    assert _found(b"", 4).shape == (0, 4, 4)


@pytest.mark.parametrize("field", [1, 8, 9])
def test_a_chunk_that_lies_elsewhere_or_is_encrypted_is_left(field):
    # A footer of a group of a chunk: of codec 1, 7 entries, 20 bytes from 4 on; by itself, then behind a field of the chunk.
    about = bytes([0x45, 1 << 1, 0x16, 7 << 1, 0x26, 20 << 1, 0x26, 4 << 1, 0])
    chunk = bytes([0x3C]) + about
    text = bytes([field << 4 | 8, 1, 65])
    odd = text + bytes([0x2C]) + about if field == 1 else chunk + bytes([(field - 3) << 4 | 8, 1, 65])
    for one, expected in ((chunk, [1, 7, 4, 24]), (odd, [-1] * 4)):
        footer = bytes([0x49, 0x1C, 0x19, 0x1C]) + one + bytes([0, 0, 0])
        assert _found(footer, 1).tolist() == reference.find_chunks(footer, 1) == [[expected]]


@pytest.mark.parametrize("numbers", [(-1, 7, 20, 4), (1, -7, 20, 4), (1, 7, -20, 4), (1, 7, 20, -4), (1, 7, 2**63 - 1, 4)])
def test_numbers_that_are_none(numbers):
    def varint(number):
        folded = number << 1 ^ number >> 63
        return bytes([(folded >> 7 * place & 127) | 128 for place in range(9)] + [folded >> 63])

    heads = (0x45, 0x16, 0x26, 0x26)
    about = b"".join(bytes([head]) + varint(number) for head, number in zip(heads, numbers, strict=True))
    footer = bytes([0x49, 0x1C, 0x19, 0x1C, 0x3C]) + about + bytes(4)
    assert _found(footer, 1).tolist() == [[[-1] * 4]]


_WHOLE = _footer(_written(_table(9), row_group_size=4))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_gives_chunks_or_none(data):
    footer = bytearray(_WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        footer[data.draw(st.integers(0, len(footer) - 1))] = data.draw(st.integers(0, 255))
    found = _found(footer[: data.draw(st.just(len(footer)) | st.integers(0, len(footer)))], 4)
    assert found.shape[1:] == (4, 4)
    for _, _, begin, end in found.view(-1, 4).tolist():
        assert -1 <= begin <= end


def test_the_number_of_leaves_must_be_one():
    with pytest.raises(RuntimeError, match="num_leaves is 0"):
        _found(b"\0", 0)
