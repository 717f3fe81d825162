"""The wire format of protocol buffers, just enough to read footers and examples: safe for any bytes."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class WireError(Exception):
    """The bytes are not a message; the text says why."""


def varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """Return the number at `at`, below 2 ** 64, and where it ends. Raises `WireError` where it does not end before `end`."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= end:
            raise WireError("a number is cut off")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + index + 1
    raise WireError("a number is longer than 10 bytes")


def fields(data: bytes | memoryview, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield `(field, wire type, a, b)` of the message in `data[begin:end]`, every field once, in order.

    A varint has its value in `a`; any other field lies in `data[a:b]`. Raises `WireError` where the bytes are no message.
    """
    at = begin
    while at < end:
        tag, at = varint(data, at, end)
        field, wire = tag >> 3, tag & 7
        if field == 0:
            raise WireError("a field has number 0")
        if wire == VARINT:
            value, at = varint(data, at, end)
            yield field, wire, value, 0
            continue
        if wire == BYTES:
            size, at = varint(data, at, end)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise WireError(f"a field has wire type {wire}")
        if size > end - at:
            raise WireError(f"a field of {size} bytes has {end - at} left")
        yield field, wire, at, at + size
        at += size
