"""What decode_orc does, a number at a time, in Python."""

import struct
from typing import Any

from sparrow.ops.varint import read_varint

_PRESENT, _DATA, _LENGTH = range(3)
_WIDTHS = [*range(1, 25), 26, 28, 30, 32, 40, 48, 56, 64]
# Of float32 and float64, by their places in `NUMBERS`.
_FLOATS = {2: "f", 3: "d"}


def decode_orc(data: bytes, stripe: list[int], columns: list[list[int]]) -> list[list[Any]]:
    """Return the rows of each column: numbers, lists of them, None for nulls. Raises where it cannot."""
    num_rows, _, index_bytes, footer_bytes, codec, _ = stripe
    streams, at = dict[tuple[int, int], bytes](), -index_bytes
    for field, message in _message(_plain(data[len(data) - footer_bytes :], codec)):
        if field == 1:
            about = dict(_message(message))
            size = about.get(3, 0)
            if about.get(1, 0) <= _LENGTH:
                streams[about.get(2, 0), about.get(1, 0)] = _plain(data[at : at + size], codec)
            at += size
    out = []
    for number, kind, is_list in columns:
        there = _present(streams.get((number, _PRESENT)), num_rows)
        lengths = iter(_runs(streams.get((number, _LENGTH), b""), False) if is_list else ())
        stored = streams.get((number + is_list, _DATA), b"")
        if kind in _FLOATS:
            size = struct.calcsize(_FLOATS[kind])
            values = iter(struct.unpack(f"<{len(stored) // size}{_FLOATS[kind]}", stored))
        else:
            values = iter(_runs(stored, True))
        out.append(
            [([next(values) for _ in range(next(lengths))] if is_list else next(values)) if is_there else None for is_there in there]
        )
    return out


def _message(data: bytes) -> list[tuple[int, Any]]:
    fields, at = [], 0
    while at < len(data):
        key, at = read_varint(data, at)
        value: Any
        value, at = read_varint(data, at)
        if key & 7:
            value, at = data[at : at + value], at + value
        fields.append((key >> 3, value))
    return fields


def _plain(data: bytes, codec: int) -> bytes:
    """Chunks that are stored as they are; what Snappy does is in `decode_parquet`'s reference."""
    out, at = b"", 0
    while codec and at < len(data):
        head, at = int.from_bytes(data[at : at + 3], "little"), at + 3
        assert head & 1
        out, at = out + data[at : at + (head >> 1)], at + (head >> 1)
    return out if codec else data


def _present(data: bytes | None, count: int) -> list[int]:
    if data is None:
        return [1] * count
    out, at = b"", 0
    while at < len(data):
        head, at = data[at], at + 1
        size = 1 if head < 128 else 256 - head
        out, at = out + data[at : at + size] * (head + 3 if head < 128 else 1), at + size
    return [byte >> bit & 1 for byte in out for bit in range(7, -1, -1)][:count]


def _signed(number: int) -> int:
    """A number of 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _unfolded(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _runs(data: bytes, is_signed: bool) -> list[int]:
    unfold = _unfolded if is_signed else int
    out, at = list[int](), 0

    def packed(width: int, count: int, begin: int) -> tuple[list[int], int]:
        end = begin + (width * count + 7) // 8
        bits, spare = int.from_bytes(data[begin:end], "big"), 8 * (end - begin) - width
        return [bits >> (spare - width * place) & ((1 << width) - 1) for place in range(count)], end

    while at < len(data):
        head, code = data[at], data[at] >> 1 & 31
        if head >> 6 == 0:
            size = (head >> 3 & 7) + 1
            out += [_signed(unfold(int.from_bytes(data[at + 1 : at + 1 + size], "big")))] * ((head & 7) + 3)
            at += 1 + size
            continue
        length, at = (head & 1) * 256 + data[at + 1] + 1, at + 2
        if head >> 6 == 1:
            numbers, at = packed(_WIDTHS[code], length, at)
            out += [_signed(unfold(number)) for number in numbers]
        elif head >> 6 == 2:
            size, patch_width = (data[at] >> 5) + 1, _WIDTHS[data[at] & 31]
            gap_width, num_patches = (data[at + 1] >> 5) + 1, data[at + 1] & 31
            base, at = int.from_bytes(data[at + 2 : at + 2 + size], "big"), at + 2 + size
            top = 1 << (8 * size - 1)
            base = base if base < top else top - base
            numbers, at = packed(_WIDTHS[code], length, at)
            patches, at = packed(next(width for width in _WIDTHS if width >= patch_width + gap_width), num_patches, at)
            place = 0
            for patch in patches:
                place += patch >> patch_width
                numbers[place] |= (patch & ((1 << patch_width) - 1)) << _WIDTHS[code]
            out += [_signed(base + number) for number in numbers]
        else:
            first, at = read_varint(data, at)
            step, at = read_varint(data, at)
            step = _unfolded(step)
            numbers = [unfold(first)]
            deltas, at = packed(_WIDTHS[code], length - 2, at) if code and length > 1 else ([abs(step)] * max(0, length - 2), at)
            numbers += [numbers[0] + step] if length > 1 else []
            for delta in deltas:
                numbers.append(numbers[-1] + (delta if step >= 0 else -delta))
            out += map(_signed, numbers)
    return out
