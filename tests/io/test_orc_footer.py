"""The lengths of stripes: against pyarrow reading each, for every compression, and hostile footers."""

import contextlib
import itertools
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc

from sparrow.io import Dataset
from sparrow.io.formats.orc import _OpenOrc
from sparrow.io.formats.orc_footer import FooterError, stripes_of
from sparrow.io.formats.protobuf import WireError, fields, varint

_COMPRESSIONS = ["uncompressed", "zlib", "snappy", "lz4", "zstd"]


def _table(num_rows, num_columns=3):
    # Many columns make a footer of several compressed chunks and of repeats that overlap themselves.
    return pa.table(
        {
            f"a_long_name_of_column_{index}": pa.array([str(row) * (row % 3) for row in range(num_rows)], pa.string())
            for index in range(num_columns)
        }
    )


def _stripe_rows(data, num_stripes=None):
    return tuple(stripe.num_rows for stripe in stripes_of(pa.BufferReader(data), num_stripes))


@pytest.mark.parametrize("compression", _COMPRESSIONS)
@pytest.mark.parametrize(("num_rows", "stripe_rows", "num_columns"), [(0, 5, 1), (1, 5, 1), (40, 7, 3), (300, 3, 2), (40, 10, 200)])
def test_lengths_are_those_of_the_stripes(tmp_path, compression, num_rows, stripe_rows, num_columns):
    path = tmp_path / "a.orc"
    orc.write_table(_table(num_rows, num_columns), path, batch_size=stripe_rows, stripe_size=512, compression=compression)
    file = orc.ORCFile(path)
    expected = tuple(file.read_stripe(stripe).num_rows for stripe in range(file.nstripes))
    assert _stripe_rows(path.read_bytes()) == expected
    assert _stripe_rows(path.read_bytes(), file.nstripes) == expected
    assert sum(expected) == num_rows


@pytest.mark.parametrize("compression", _COMPRESSIONS[1:])
def test_a_footer_of_many_chunks(tmp_path, compression):
    path = tmp_path / "a.orc"
    # One block, the least there is, holds 64 kB; the names alone need more.
    table = pa.table({f"{index:0400}": [1, 2, 3, 4] for index in range(250)})
    orc.write_table(table, path, compression=compression, compression_block_size=65536)
    assert sum(_stripe_rows(path.read_bytes())) == 4


def test_continuing_in_the_last_stripe_reads_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.orc"
    orc.write_table(pa.table({"x": list(range(100))}), path, batch_size=10, stripe_size=512)
    dataset = Dataset(path, ["x"], batch_size=95)
    next(iter(dataset))
    state = dataset.state_dict()
    asked = []
    read = _OpenOrc.read
    monkeypatch.setattr(_OpenOrc, "read", lambda self, piece, names: asked.append(piece) or read(self, piece, names))
    dataset = Dataset(path, ["x"], batch_size=100, prefetch=0)
    dataset.load_state_dict(state)
    assert [batch["x"].tolist() for batch in dataset] == [[95, 96, 97, 98, 99]]
    assert asked == [orc.ORCFile(path).nstripes - 1]


@given(seed=st.integers(0, 2**32), compression=st.sampled_from(_COMPRESSIONS))
def test_a_damaged_footer_gives_lengths_or_an_error(tmp_path, seed, compression):
    path = tmp_path / f"{compression}.orc"
    if not path.exists():
        orc.write_table(_table(60), path, batch_size=10, stripe_size=512, compression=compression)
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 2, 8])):
        data[len(data) - 1 - chance.randrange(min(400, len(data)))] = chance.randrange(256)
    with contextlib.suppress(FooterError):
        assert all(rows >= 0 for rows in _stripe_rows(bytes(data)))


@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_message_or_an_error(data):
    end = 0
    with contextlib.suppress(WireError):
        for _, wire, a, b in fields(data, 0, len(data)):
            if wire != 0:
                assert end <= a <= b <= len(data)
                end = b
    with pytest.raises(FooterError):
        stripes_of(pa.BufferReader(data[:1]))


@pytest.mark.parametrize(
    ("number", "data"), [(0, b"\0"), (300, b"\xac\x02"), (2**64 - 1, b"\xff" * 9 + b"\x01"), (2**35, b"\x80" * 5 + b"\x01")]
)
def test_numbers(number, data):
    assert varint(data + b"x", 0, len(data)) == (number, len(data))
    with pytest.raises(WireError):
        varint(data, 0, len(data) - 1)


def test_a_number_without_end():
    with pytest.raises(WireError, match="longer than 10 bytes"):
        varint(b"\x80" * 11, 0, 11)


@pytest.mark.parametrize("compression", _COMPRESSIONS)
def test_stripes_lie_where_the_footer_says(tmp_path, compression):
    path = tmp_path / "a.orc"
    numbers = [row * row * 2654435761 % 2**40 for row in range(80_000)]
    orc.write_table(pa.table({"x": numbers}), path, batch_size=1000, stripe_size=512, compression=compression, compression_block_size=65536)
    stripes = stripes_of(pa.BufferReader(path.read_bytes()))
    assert len(stripes) > 1
    for stripe, behind in itertools.pairwise(stripes):
        assert stripe.offset + stripe.index_bytes + stripe.data_bytes + stripe.footer_bytes == behind.offset
    assert stripes[0].offset == len(b"ORC")
