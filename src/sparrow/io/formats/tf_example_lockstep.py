"""`tf.Example` messages of a block parsed all at once, in NumPy: the k-th feature of every row in one step.

Only the layout that TensorFlow's and protobuf's writers make: one Features, entries of key then value, one list a feature, numbers packed.
For anything else, damage included, `lockstep` gives up, and `tf_example` parses the rows one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

# A field of bytes, by its number.
_FIELD_1, _FIELD_2 = 0x0A, 0x12
_KIND_TAGS = {"bytes": 0x0A, "float": 0x12, "int64": 0x1A}


class _UnusualError(Exception):
    """The layout is another one."""


def lockstep(data: Bytes, begins: Ints, ends: Ints, kinds: Mapping[bytes, str]) -> dict[bytes, tuple[Ints, Ints, Ints]] | None:
    """Return, by feature of `kinds`, the runs of its values: the row of each, where it begins in `data`, and its bytes; in order of rows.

    begins, ends: int64 [rows], where the Examples lie. A run is one value of bytes, or all the numbers of a row. None where the layout is
    not the usual one. Cost: some 20 NumPy operations for each feature that a row has at most.
    """
    try:
        entries = _entries(data, begins, ends)
        return {name: _runs(data, *_places_of(data, name, entries, len(begins)), kind) for name, kind in kinds.items()}
    except _UnusualError:
        return None


def _require(fits: Any) -> None:
    if not np.all(fits):
        raise _UnusualError


def _field(data: Bytes, tag: int, at: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Return where the contents of the field at each `at` begin and end. It must have this tag, and end by `ends`."""
    last = len(data) - 1
    _require(at < ends)
    _require(data[at] == tag)
    at = at + 1
    size = np.zeros(len(at), dtype=np.int64)
    open_, shift = np.arange(len(at)), 0
    while len(open_):
        if shift > 28:
            raise _UnusualError
        byte = data[np.minimum(at[open_], last)].astype(np.int64)
        size[open_] |= (byte & 0x7F) << shift
        at[open_] += 1
        open_, shift = open_[byte >= 0x80], shift + 7
    stop = at + size
    _require(stop <= ends)
    return at, stop


def _entries(data: Bytes, begins: Ints, ends: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Return row, begin and end of the key, begin and end of the value of all entries, the first of each row first."""
    rows = np.flatnonzero(begins < ends)
    at, stop = _field(data, _FIELD_1, begins[rows], ends[rows])
    _require(stop == ends[rows])
    found = []
    while True:
        left = at < stop
        rows, at, stop = rows[left], at[left], stop[left]
        if not len(rows):
            break
        entry, after = _field(data, _FIELD_1, at, stop)
        key, key_end = _field(data, _FIELD_1, entry, after)
        value, value_end = _field(data, _FIELD_2, key_end, after)
        _require(value_end == after)
        found.append((rows, key, key_end, value, value_end))
        at = after
    empty = np.zeros(0, dtype=np.int64)
    rows, key, key_end, value, value_end = (np.concatenate([step[part] for step in found]) if found else empty for part in range(5))
    return rows, key, key_end, value, value_end


def _places_of(data: Bytes, name: bytes, entries: tuple[Ints, Ints, Ints, Ints, Ints], num_rows: int) -> tuple[Ints, Ints, Ints]:
    """Return the rows that have a feature, in order, and where its value begins and ends. Of a key that stands twice, the last."""
    rows, key, key_end, value, value_end = entries
    same = np.flatnonzero(key_end - key == len(name))
    for index, byte in enumerate(name):
        same = same[data[key[same] + index] == byte]
    entry_of = np.full(num_rows, -1, dtype=np.int64)
    np.maximum.at(entry_of, rows[same], same)
    have = np.flatnonzero(entry_of >= 0)
    return have, value[entry_of[have]], value_end[entry_of[have]]


def _runs(data: Bytes, rows: Ints, at: Ints, stop: Ints, kind: str) -> tuple[Ints, Ints, Ints]:
    # A feature without a kind is an empty list.
    rows, at, stop = _where(at < stop, rows, at, stop)
    at, end = _field(data, _KIND_TAGS[kind], at, stop)
    _require(end == stop)
    rows, at, stop = _where(at < stop, rows, at, stop)
    if kind != "bytes":
        at, end = _field(data, _FIELD_1, at, stop)
        _require(end == stop)
        return rows, at, end - at
    found = []
    while len(rows):
        begin, at = _field(data, _FIELD_1, at, stop)
        found.append((rows, begin, at - begin))
        rows, at, stop = _where(at < stop, rows, at, stop)
    if not found:
        return rows, at, at
    rows, at, sizes = (np.concatenate([step[part] for step in found]) for part in range(3))
    order = np.argsort(rows, kind="stable")
    return rows[order], at[order], sizes[order]


def _where(mask: Any, *arrays: Ints) -> list[Ints]:
    return [array[mask] for array in arrays]


def gather(data: Bytes, begins: Ints, sizes: Ints) -> Bytes:
    """Return `data[begin : begin + size]` of all pairs, end to end."""
    ends = np.cumsum(sizes)
    return data[np.repeat(begins - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)]
