"""TFRecord files of tf.Example, written here by a writer that knows only the formats' definitions."""

import gzip
import itertools
import json
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset
from sparrow.io.formats import FormatError, TFRecord, tf_example
from sparrow.io.formats.crc32c import crc32c
from sparrow.io.formats.tf_example_lockstep import lockstep
from sparrow.types import ColumnSpec
from tfrecord_writer import crc_of, example_of, feature_of, field_of, mask_of, record_of, write_examples


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # this and the next three: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
        (b"a", 0xC1D04330),
    ],
    ids=str,
)
def test_published_checksums(data, crc):
    assert crc32c(b"x" + data + b"y", [1], [len(data)]).tolist() == [crc]
    assert crc_of(data) == crc


@given(data=st.binary(min_size=1, max_size=700), cuts=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 700)), max_size=5))
@example(data=bytes(range(256)) * 5, cuts=[(0, 1280), (1, 1279), (3, 64), (0, 128), (7, 65), (0, 0), (0, 3), (0, 4), (0, 5)])
def test_checksums_of_many_pieces_at_once(data, cuts):
    begins = [min(begin, len(data)) for begin, _ in cuts]
    lengths = [min(length, len(data) - begin) for begin, (_, length) in zip(begins, cuts, strict=True)]
    expected = [crc_of(data[begin : begin + length]) for begin, length in zip(begins, lengths, strict=True)]
    assert crc32c(data, begins, lengths).tolist() == expected


_KINDS = {
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300),
    "float": st.floats(width=32, allow_nan=False),
    "bytes": st.binary(max_size=5),
}


@st.composite
def _files(draw):
    """Rows of up to three files: a feature has one kind everywhere, and may be absent or empty in any row."""
    kinds = draw(st.lists(st.sampled_from(list(_KINDS)), min_size=1, max_size=4))
    names = {f"feature {index}": kind for index, kind in enumerate(kinds)}
    row = st.fixed_dictionaries(
        {}, optional={name: st.tuples(st.just(kind), st.lists(_KINDS[kind], max_size=4)) for name, kind in names.items()}
    )
    return names, draw(st.lists(st.lists(row, max_size=12), min_size=1, max_size=3))


@settings(max_examples=80)
@given(
    files=_files(),
    packed=st.booleans(),
    compress=st.sampled_from([bytes, gzip.compress, zlib.compress]),
    block_bytes=st.sampled_from([1, 30, 200, 1 << 20]),
    batch_size=st.integers(1, 20),
    stop=st.integers(0, 20),
)
def test_the_rows_of_the_files_from_any_batch_on(tmp_path, rows_of, files, packed, compress, block_bytes, batch_size, stop):
    names, rows_of_files = files
    paths = [write_examples(tmp_path / f"{index}.tfrecord", rows, packed, compress) for index, rows in enumerate(rows_of_files)]
    rows = list(itertools.chain.from_iterable(rows_of_files))
    file_format = TFRecord(names, block_bytes=block_bytes)
    if not rows:
        with pytest.raises(DataError, match="no rows at all"):
            Dataset(paths, list(names), batch_size=1, format=file_format)
        return
    dataset = Dataset(paths, list(names), batch_size=batch_size, format=file_format)
    assert dataset.num_rows == len(rows)
    batches = iter(dataset)
    head = [batch for _, batch in zip(range(stop), batches, strict=False)]
    resumed = Dataset(paths, list(names)[::-1], batch_size=7, prefetch=0, format=file_format)
    resumed.load_state_dict(json.loads(json.dumps(dataset.state_dict())))
    tail = [] if resumed.epoch else list(resumed)
    assert resumed.epoch == 1
    for name in names:
        assert [row for batch in head + tail for row in rows_of(batch[name])] == [row.get(name, ("", []))[1] for row in rows]


_ROWS = [
    {
        "id": ("int64", [row, -row]),
        "score": ("float", [row / 4] * (row % 3)),
        "name": ("bytes", [b"x" * (row % 5)]),
        "label": ("float", [row % 2]),
    }
    for row in range(40)
]


def test_kinds_are_found_in_the_first_block(tmp_path, rows_of):
    path = write_examples(tmp_path / "a", _ROWS)  # found by content
    dataset = Dataset(path, ["id", "score", "name", ColumnSpec("label", kind="dense")], batch_size=100)
    assert dataset.schema == {
        "id": "list<item: int64>",
        "score": "list<item: float>",
        "name": "list<item: binary>",
        "label": "list<item: float>",
    }
    (batch,) = dataset
    assert rows_of(batch["id"]) == [row["id"][1] for row in _ROWS]
    assert rows_of(batch["name"]) == [row["name"][1] for row in _ROWS]
    assert batch["label"].tolist() == [float(row % 2) for row in range(40)]


def test_a_feature_that_comes_later_is_named_by_the_caller(tmp_path, rows_of):
    path = write_examples(tmp_path / "a.tfrecord", [*_ROWS, {"late": ("int64", [7])}])
    columns = TFRecord({"late": "int64"}, block_bytes=100)
    (batch,) = Dataset(path, ["late"], batch_size=100, format=columns)
    assert rows_of(batch["late"]) == [[]] * 40 + [[7]]
    message = r"a.tfrecord: no column 'late' in the first block; name it in TFRecord\(features=...\); "
    with pytest.raises(DataError, match=message):
        Dataset(path, ["late"], batch_size=100, format=TFRecord(block_bytes=100))


def test_messages_in_unusual_orders(tmp_path, rows_of):
    """Everything protobuf allows: a key twice, kinds twice, lists in parts, fields that mean nothing, several Features."""

    def entry(name, feature):
        return field_of(1, field_of(1, name) + field_of(2, feature))

    unknown = field_of(9, b"zz") + b"\x50\x05" + b"\x5d1234" + b"\x591234567\x08"
    last_key = entry(b"a", feature_of("int64", [1])) + entry(b"a", feature_of("int64", [2]))
    last_kind = entry(b"a", feature_of("float", [1.0]) + feature_of("int64", [3]))
    joined = entry(b"a", feature_of("int64", [4]) + feature_of("int64", [5, 6], packed=False))
    parts = entry(b"a", field_of(3, field_of(1, b"\x07") + b"\x08\x08" + field_of(1, b"\x09\x0a")))
    value_first = field_of(1, field_of(2, feature_of("int64", [11])) + field_of(1, b"a"))
    empties = [field_of(1, entry(b"a", b"")), field_of(1, field_of(1, b"")), b"", field_of(1, entry(b"a", feature_of("bytes", [])))]
    noisy = (
        unknown
        + field_of(1, unknown + entry(b"b", feature_of("float", [1.0])) + unknown)
        + field_of(1, entry(b"a", unknown + feature_of("int64", [12]) + unknown))
    )
    inside = field_of(1, entry(b"a", field_of(3, field_of(9, b"z") + b"\x08\x0d" + b"\x50\x05" + b"\x5d1234")))
    messages = [
        field_of(1, last_key),
        field_of(1, last_kind),
        field_of(1, joined),
        field_of(1, parts),
        field_of(1, value_first),
        *empties,
        noisy,
        inside,
    ]
    (tmp_path / "a.tfrecord").write_bytes(b"".join(map(record_of, messages)))
    (batch,) = Dataset(tmp_path, ["a"], batch_size=100)
    assert rows_of(batch["a"]) == [[2], [3], [4, 5, 6], [7, 8, 9, 10], [11], [], [], [], [], [12], [13]]


def test_types_stay_those_of_the_first_file(tmp_path):
    write_examples(tmp_path / "0.tfrecord", [{"a": ("int64", [1])}])
    write_examples(tmp_path / "1.tfrecord", [{}, {"a": ("float", [1.0])}])
    with pytest.raises(
        DataError, match=r"1.tfrecord: block 0 .*: row 1: feature 'a' is no tf.Example \(it is a list of float, .* say int64\)"
    ):
        list(Dataset(tmp_path, ["a"], batch_size=1))
    with pytest.raises(ConfigError, match="the kind of feature 'a' is 'int32'; did you mean 'int64'"):
        TFRecord({"a": "int32"})


def test_damage_is_named_by_its_row(tmp_path):
    path = write_examples(tmp_path / "a.tfrecord", _ROWS)
    whole = path.read_bytes()
    sizes = [len(record_of(example_of(row))) for row in _ROWS]
    begin = sum(sizes[:20])

    def refused(place, message, **options):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=message):
            list(Dataset(path, ["id"], batch_size=1, format=TFRecord(**{"block_bytes": 300, **options})))

    refused(begin + 20, r"a.tfrecord: block \d+ \(from row (1\d|20)\) cannot be decoded: the data of row 20 is damaged")
    refused(begin + sizes[20] - 1, "the data of row 20 is damaged: its checksum is another")
    refused(begin + 1, "the length of row 20 is damaged: its checksum is another, so nothing from there on can be read")
    refused(begin + 7, "the length of row 20 is damaged")
    refused(begin + 9, "the length of row 20 is damaged")
    refused(begin + 13, r"row 20: .* is no tf.Example", check=False)
    path.write_bytes(whole[: begin + 5])
    with pytest.raises(DataError, match="is truncated: row 20 is cut off at its end"):
        list(Dataset(path, ["id"], batch_size=1))


def test_a_length_that_would_fill_the_memory(tmp_path):
    length = struct.pack("<Q", 2**40)
    (tmp_path / "a.tfrecord").write_bytes(record_of(example_of(_ROWS[0])) + length + mask_of(length) + b"x" * 100)
    with pytest.raises(DataError, match=f"row 1 has {2**40} bytes; expected at most"):
        list(Dataset(tmp_path, ["id"], batch_size=1))
    length = struct.pack("<Q", 2**29)
    (tmp_path / "a.tfrecord").write_bytes(length + mask_of(length) + b"x" * 100)
    with pytest.raises(DataError, match="is truncated: row 0 is cut off"):
        list(Dataset(tmp_path, ["id"], batch_size=1))


def test_a_long_record(tmp_path, rows_of):
    rows = [{"a": ("int64", [1])}, {"a": ("int64", list(range(5000)))}, {"a": ("int64", [2])}]
    write_examples(tmp_path / "a.tfrecord", rows)
    (batch,) = Dataset(tmp_path, ["a"], batch_size=10, format=TFRecord(block_bytes=16))
    assert rows_of(batch["a"]) == [row["a"][1] for row in rows]


def _read_ids(path):
    """Return the first id of each row, None where a `DataError` names the file."""
    try:
        batches = list(Dataset(path, ["id", "score", "name", "label"], batch_size=7, prefetch=0, format=TFRecord(block_bytes=400)))
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return None
    return [int(batch["id"].values[begin]) for batch in batches for begin in batch["id"].offsets[0][:-1]]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_cut_anywhere_gives_an_error_or_its_first_rows(tmp_path, compress):
    """Nothing marks the end: a cut between two records cannot be noticed. In gzip it always is."""
    path = write_examples(tmp_path / "a.tfrecord", _ROWS, compress=compress)
    whole = path.read_bytes()
    boundaries = {0, *np.cumsum([len(record_of(example_of(row))) for row in _ROWS]).tolist()}
    for num_bytes in sorted({*range(0, len(whole), 11), *boundaries} - {len(whole)}):
        path.write_bytes(whole[: min(num_bytes, len(whole) - 1)])
        rows = _read_ids(path)
        if rows is not None:
            assert compress is bytes
            assert num_bytes in boundaries
            assert rows == list(range(len(rows)))


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), compress=st.sampled_from([bytes, gzip.compress]))
def test_damaged_bytes_are_always_noticed(tmp_path, seed, compress):
    path = write_examples(tmp_path / "a.tfrecord", _ROWS, compress=compress)
    damaged = bytearray(path.read_bytes())
    chance = random.Random(seed)
    place = chance.randrange(len(damaged))
    damaged[place] ^= chance.randrange(1, 256)
    path.write_bytes(damaged)
    rows = _read_ids(path)
    # Of gzip's own header, name, time and operating system are free.
    assert rows is None or (compress is gzip.compress and place < 10 and rows == list(range(40)))


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_damaged_messages_behind_right_checksums(tmp_path, seed):
    """What a broken writer makes: records that are whole, messages that are not."""
    chance = random.Random(seed)
    records = []
    for row in _ROWS[:10]:
        message = bytearray(example_of(row))
        for _ in range(chance.choice([0, 1, 3])):
            message[chance.randrange(len(message))] = chance.choice([0, 1, 8, 10, 13, 18, 26, 127, 128, 255, chance.randrange(256)])
        records.append(record_of(bytes(message[: chance.choice([None, None, chance.randrange(len(message))])])))
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(records))
    kinds = TFRecord({"id": "int64", "score": "float", "name": "bytes", "label": "float"})
    try:
        batches = list(Dataset(path, list(kinds.features), batch_size=3, prefetch=0, format=kinds))
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        return
    assert sum(batch.num_samples for batch in batches) == 10
    for batch in batches:
        for name in batch:
            batch[name].check(name)


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32), num_changes=st.integers(0, 3))
def test_rows_parsed_at_once_are_those_parsed_one_by_one(monkeypatch, seed, num_changes):
    """Whatever the bytes: the same lists, or an error both ways. Without a change, the fast way is taken."""
    chance = random.Random(seed)
    names = ["id", "score", "name", "label", "absent"]
    messages = []
    for row in chance.sample(_ROWS, 6):
        message = bytearray(example_of({name: row[name] for name in chance.sample(list(row), chance.randrange(5))}))
        for _ in range(num_changes if message else 0):
            message[chance.randrange(len(message))] = chance.choice([0, 1, 8, 10, 13, 18, 26, 127, 128, 255, chance.randrange(256)])
        messages.append(bytes(message))
    ends = list(itertools.accumulate(map(len, messages), initial=5))
    data, places = b"\x0a" * 5 + b"".join(messages) + b"\x80" * 3, list(itertools.pairwise(ends))
    kinds = dict(zip(names, ["int64", "float", "bytes", "float", "int64"], strict=True))

    def parsed():
        try:
            return {name: column.to_pylist() for name, column in tf_example.columns_of(data, places, kinds, 0).items()}
        except FormatError:
            return None

    at_once = parsed()
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(tf_example, "lockstep", lambda *arguments: taken.append(lockstep(*arguments)))
        one_by_one = parsed()
    assert str(one_by_one) == str(at_once)  # as text, where NaN equals NaN
    if not num_changes:
        assert taken[0] is not None
        assert at_once is not None
