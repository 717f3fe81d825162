"""What find_chunks does, a field at a time, in Python."""

from typing import Any

from sparrow.ops.varint import read_varint


def find_chunks(footer: bytes, num_leaves: int) -> list[list[list[int]]]:
    """Return [row groups][leaves][4]. `footer` is whole."""
    groups = [[_chunk(chunk) for chunk in group[1]] for group in _struct(footer, 0)[0].get(4, [])]
    return groups if all(len(group) == num_leaves for group in groups) else []


def _chunk(chunk: dict[int, Any]) -> list[int]:
    about = chunk.get(3, {})
    numbers = [about.get(field, -1) for field in (4, 5, 7, 9)]
    if min(numbers) < 0 or chunk.keys() & {1, 8, 9}:
        return [-1] * 4
    codec, num_values, num_bytes, begin = numbers
    if 0 < about.get(11, 0) < begin:
        begin = about[11]
    return [codec, num_values, begin, begin + num_bytes]


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    fields, field = dict[int, Any](), 0
    while data[at]:
        step, kind, at = data[at] >> 4, data[at] & 15, at + 1
        if step:
            field += step
        else:
            number, at = read_varint(data, at)
            field = (number >> 1) ^ -(number & 1)
        if kind in (1, 2):
            fields[field] = kind == 1
        else:
            fields[field], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):
        return data[at], at + 1
    if kind in (4, 5, 6):
        number, at = read_varint(data, at)
        return (number >> 1) ^ -(number & 1), at
    if kind == 7:
        return data[at : at + 8], at + 8
    if kind == 8:
        size, at = read_varint(data, at)
        return data[at : at + size], at + size
    if kind in (9, 10):
        count, of, at = data[at] >> 4, data[at] & 15, at + 1
        if count == 15:
            count, at = read_varint(data, at)
        out = []
        for _ in range(count):
            one, at = _value(data, at, of)
            out.append(one)
        return out, at
    assert kind == 12
    return _struct(data, at)
