"""`tf.Example` messages to Arrow columns.

The messages, by TensorFlow's example.proto and feature.proto: Example {Features features = 1}, Features {map<string, Feature> feature = 1},
Feature {oneof kind {BytesList = 1; FloatList = 2; Int64List = 3}}, and each list {repeated value = 1}, of which numbers are packed.
A map entry is a message {key = 1, value = 2}. Where a key stands twice, the last holds; of several kinds, the last; lists of one kind join.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparrow.io.formats.format import FormatError
from sparrow.io.formats.protobuf import BYTES, FIXED32, VARINT, WireError, fields, varint
from sparrow.io.formats.tf_example_lockstep import gather, lockstep

# By field number of Feature.
KINDS = {1: "bytes", 2: "float", 3: "int64"}
TYPES = {"bytes": pa.list_(pa.binary()), "float": pa.list_(pa.float32()), "int64": pa.list_(pa.int64())}
_SINGLE = {"float": FIXED32, "int64": VARINT}


def features_of(data: bytes, begin: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Return name -> place of its Feature for an Example in `data[begin:end]`. Raises `WireError`."""
    found: dict[bytes, tuple[int, int]] = {}
    for number, wire, a, b in fields(data, begin, end):
        if number == 1 and wire == BYTES:
            at = a
            while at < b:
                # The usual entry by hand, whatever else by `fields`.
                size, here = varint(data, at + 1, b)
                stop = here + size
                if data[at] != 0x0A or stop > b:
                    _entries(data, at, b, found)
                    break
                _entry(data, here, stop, found)
                at = stop
    return found


def _entries(data: bytes, begin: int, end: int, found: dict[bytes, tuple[int, int]]) -> None:
    for number, wire, a, b in fields(data, begin, end):
        if number == 1 and wire == BYTES:
            _entry(data, a, b, found)


def _entry(data: bytes, begin: int, end: int, found: dict[bytes, tuple[int, int]]) -> None:
    key, value = b"", (begin, begin)
    for number, wire, a, b in fields(data, begin, end):
        if wire == BYTES and number == 1:
            key = data[a:b]
        elif wire == BYTES and number == 2:
            value = (a, b)
    found[key] = value


def lists_of(data: bytes, begin: int, end: int) -> tuple[str | None, list[tuple[int, int]]]:
    """Return the kind of a Feature, None where it has none, and the places of its lists of that kind. Raises `WireError`."""
    kind: str | None = None
    places: list[tuple[int, int]] = []
    for number, wire, a, b in fields(data, begin, end):
        if wire == BYTES and number in KINDS:
            if KINDS[number] != kind:
                kind, places = KINDS[number], []
            places.append((a, b))
    return kind, places


@dataclass(slots=True)
class _Column:
    """What rows hold of one feature: runs of value bytes, and the row of each."""

    kind: str
    runs: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def add(self, data: bytes, row: int, begin: int, end: int) -> None:
        single = _SINGLE.get(self.kind)
        at = begin
        while at < end:
            tag = data[at]
            if tag == 0x0A:
                size, a = varint(data, at + 1, end)
                b = a + size
                if b > end:
                    raise WireError(f"a list of {size} bytes has {end - a} left")
                self._run(data[a:b], row)
                at = b
                continue
            # Numbers one by one, or fields of no meaning here.
            before = at
            number, wire, a, b = next(fields(data, at, end))
            at = b if wire != VARINT else varint(data, varint(data, before, end)[1], end)[1]
            if number == 1 and wire == single:
                self._run(data[a:b] if wire == FIXED32 else data[varint(data, before, end)[1] : at], row)
            elif number == 1:
                raise WireError(f"a value of a {self.kind} list has wire type {wire}")

    def _run(self, values: bytes, row: int) -> None:
        if self.kind == "float" and len(values) % 4:
            raise WireError(f"floats in {len(values)} bytes, no multiple of 4")
        if self.kind == "int64" and values and values[-1] >= 0x80:
            raise WireError("a number is cut off")
        self.runs.append(values)
        self.rows.append(row)

    def arrow(self, num_rows: int) -> Any:
        """Return the lists of all rows as an Arrow array."""
        sizes = np.fromiter(map(len, self.runs), dtype=np.int64, count=len(self.runs))
        joined = np.frombuffer(b"".join(self.runs), dtype=np.uint8)
        return _lists(self.kind, num_rows, np.asarray(self.rows, dtype=np.int64), sizes, joined)


def _lists(kind: str, num_rows: int, rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], joined: npt.NDArray[np.uint8]) -> Any:
    """Return an Arrow array of lists from runs of value bytes, which lie end to end in `joined`: the row and the size of each."""
    values: Any
    if kind == "bytes":
        counts = np.ones(len(sizes), dtype=np.int64)
        values = pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(_offsets(sizes)), pa.py_buffer(joined)])
    elif kind == "float":
        counts = sizes // 4
        values = pa.array(joined.view("<f4"))
    else:
        numbers, ends = _varints(joined)
        counts = np.diff(np.searchsorted(ends, np.concatenate([[0], np.cumsum(sizes)]), side="left"))
        values = pa.array(numbers)
    lengths = np.bincount(rows, weights=counts, minlength=num_rows).astype(np.int64)
    return pa.Array.from_buffers(TYPES[kind], num_rows, [None, pa.py_buffer(_offsets(lengths))], children=[values])


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _varints(data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the numbers that lie end to end in `data`, and the place of the last byte of each. Raises `WireError`."""
    ends = np.flatnonzero(data < 0x80)
    begins = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    sizes = ends - begins + 1
    if len(sizes) and sizes.max() > 10:
        raise WireError("a number is longer than 10 bytes")
    numbers = np.zeros(len(ends), dtype=np.uint64)
    for index in range(int(sizes.max(initial=0))):
        longer = np.flatnonzero(sizes > index)
        numbers[longer] |= (data[begins[longer] + index] & np.uint64(0x7F)).astype(np.uint64) << np.uint64(7 * index)
    return numbers.view(np.int64), ends


def columns_of(data: bytes, places: Sequence[tuple[int, int]], kinds: dict[str, str], first_row: int) -> dict[str, Any]:
    """Return name -> Arrow array of lists for the features `kinds`: a row for each Example at `places` of `data`.

    A feature that an Example lacks is an empty list. Raises `FormatError` naming the row, counted from `first_row`.
    """
    columns = {name.encode(): _Column(kind) for name, kind in kinds.items()}
    array = np.frombuffer(data, dtype=np.uint8)
    bounds = np.array(places, dtype=np.int64).reshape(-1, 2)
    runs = lockstep(array, bounds[:, 0], bounds[:, 1], {name: column.kind for name, column in columns.items()})
    if runs is not None and all(_are_whole(array, columns[name].kind, *run) for name, run in runs.items()):
        return {name: _lists(kinds[name], len(places), *_joined(array, *runs[name.encode()])) for name in kinds}
    for row, (begin, end) in enumerate(places):
        _add_row(data, begin, end, columns, row, first_row)
    return {name: columns[name.encode()].arrow(len(places)) for name in kinds}


def _joined(data: npt.NDArray[np.uint8], rows: Any, begins: Any, sizes: Any) -> tuple[Any, Any, Any]:
    return rows, sizes, gather(data, begins, sizes)


def _are_whole(data: npt.NDArray[np.uint8], kind: str, rows: Any, begins: Any, sizes: Any) -> bool:
    """Whether runs of numbers end with a number, and no number is too long; bytes always do."""
    if kind == "float":
        return not (sizes % 4).any()
    if kind == "bytes":
        return True
    ends = np.flatnonzero(gather(data, begins, sizes) < 0x80)
    last = np.cumsum(sizes)[sizes > 0] - 1
    return bool(np.isin(last, ends).all()) and bool((np.diff(ends, prepend=-1) <= 10).all())


def _add_row(data: bytes, begin: int, end: int, columns: dict[bytes, _Column], row: int, first_row: int) -> None:
    name = b""
    try:
        found = features_of(data, begin, end)
        for name, column in columns.items():
            if name in found:
                kind, lists = lists_of(data, *found[name])
                if kind != column.kind:
                    _require_empty(data, kind, lists, column.kind)
                    continue
                for a, b in lists:
                    column.add(data, row, a, b)
    except (WireError, IndexError) as error:
        what = f"feature {name.decode('utf-8', 'replace')!r}" if name else "its message"
        raise FormatError(f"row {first_row + row}: {what} is no tf.Example ({error}); write the file again") from None


def _require_empty(data: bytes, kind: str | None, lists: list[tuple[int, int]], expected: str) -> None:
    if kind is not None and any(a < b for a, b in lists):
        raise WireError(f"it is a list of {kind}, the first rows or TFRecord(features=...) say {expected}")


def kinds_of(data: bytes, places: Iterable[tuple[int, int]], first_row: int) -> dict[str, str]:
    """Return name -> kind of every feature of some Examples, where the first that has a kind decides.

    Ends at an Example that is damaged, which is an error when it is read; raises `FormatError` where nothing is found before it.
    """
    kinds: dict[bytes, str] = {}
    for row, (begin, end) in enumerate(places, first_row):
        try:
            for name, place in features_of(data, begin, end).items():
                kind = None if name in kinds else lists_of(data, *place)[0]
                if kind is not None:
                    name.decode()
                    kinds[name] = kind
        except (WireError, IndexError, UnicodeDecodeError) as error:
            if kinds:
                break
            raise FormatError(f"row {row}: its message is no tf.Example ({error}); write the file again") from None
    return {name.decode(): kind for name, kind in kinds.items()}
