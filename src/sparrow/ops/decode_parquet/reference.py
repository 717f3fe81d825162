"""What decode_parquet does, a number at a time, in Python."""

import struct
from typing import Any

from sparrow.ops.varint import read_varint

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_PLAIN, _OLD_DICTIONARY, _PLACES = 0, 2, 8


def decode_parquet(runs: list[bytes], chunks: list[list[int]], num_rows: int) -> list[list[Any]]:
    """Return the rows of each column: numbers as signed integers of their bits, lists of them, None for nulls. Raises where it cannot."""
    return [_rows(runs[run][begin:end], *rest) for run, begin, end, *rest in chunks]


def _rows(data: bytes, codec: int, item_bytes: int, count: int, is_list: int, is_nullable: int, has_nullable_items: int) -> list[Any]:
    entry = is_nullable + is_list
    most = entry + (is_list and has_nullable_items)
    at, words, rows = 0, [], list[Any]()
    while count:
        header, at = _struct(data, at)
        stored, at = data[at : at + header[3]], at + header[3]
        about = header[{_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}[header[1]]]
        if header[1] == _DICTIONARY:
            words = _numbers(_plain(stored, codec), item_bytes)
            continue
        if header[1] == _DATA_V2:
            encoding, sizes = about[4], (about[6], about[5])
            levels, page = stored[: sum(sizes)], _plain(stored[sum(sizes) :], codec if about.get(7, True) else 0)
            reps, defs = levels[: sizes[0]], levels[sizes[0] :]
        else:
            encoding, page = about[2], _plain(stored, codec)
            reps, page = _sized(page) if is_list else (b"", page)
            defs, page = _sized(page) if most else (b"", page)
        num_entries = about[1]
        rep = _bit_runs(reps, 1, num_entries) if is_list else [0] * num_entries
        deep = _bit_runs(defs, most.bit_length(), num_entries) if most else [0] * num_entries
        if encoding == _PLAIN:
            values = iter(_numbers(page, item_bytes))
        else:
            assert encoding in (_OLD_DICTIONARY, _PLACES)
            values = iter([words[place] for place in _bit_runs(page[1:], page[0], deep.count(most))] if most in deep else [])
        for goes_on, level in zip(rep, deep, strict=True):
            value = next(values) if level == most else None
            if not is_list:
                rows.append(value)
                continue
            if not goes_on:
                rows.append(None if level < is_nullable else [])
            if level >= entry:
                rows[-1].append(value)
        count -= num_entries
    return rows


def _numbers(data: bytes, item_bytes: int) -> list[int]:
    return list(struct.unpack(f"<{len(data) // item_bytes}{'i' if item_bytes == 4 else 'q'}", data))


def _sized(page: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(page[:4], "little")
    return page[4 : 4 + size], page[4 + size :]


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    fields, field = dict[int, Any](), 0
    while data[at]:
        field, kind, at = field + (data[at] >> 4), data[at] & 15, at + 1
        if kind in (1, 2):
            fields[field] = kind == 1
        elif kind in (4, 5, 6):
            number, at = read_varint(data, at)
            fields[field] = (number >> 1) ^ -(number & 1)
        elif kind == 8:
            size, at = read_varint(data, at)
            at += size
        else:
            assert kind == 12
            fields[field], at = _struct(data, at)
    return fields, at + 1


def _plain(data: bytes, codec: int) -> bytes:
    if codec == 0 or not data:
        return data
    size, at = read_varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            extra = max(0, length - 60)
            length = int.from_bytes(data[at : at + extra], "little") + 1 if extra else length
            out += data[at + extra : at + extra + length]
            at += extra + length
            continue
        num_bytes = (0, 1, 2, 4)[kind]
        offset, at = int.from_bytes(data[at : at + num_bytes], "little"), at + num_bytes
        if kind == 1:
            offset, length = offset | (tag >> 5) << 8, (tag >> 2 & 7) + 4
        for _ in range(length):
            out.append(out[-offset])
    assert len(out) == size
    return bytes(out)


def _bit_runs(data: bytes, width: int, count: int) -> list[int]:
    out, at = list[int](), 0
    while len(out) < count:
        head, at = read_varint(data, at)
        if head & 1:
            size = (head >> 1) * width
            packed = int.from_bytes(data[at : at + size], "little")
            out += [packed >> (width * place) & ((1 << width) - 1) for place in range((head >> 1) * 8)]
        else:
            size = (width + 7) // 8
            out += [int.from_bytes(data[at : at + size], "little")] * (head >> 1)
        at += size
    return out[:count]
