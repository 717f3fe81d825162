"""Where each stripe of an ORC file lies and its rows, from the file's footer: pyarrow's reader does not tell them.

Source: the ORC specification (version 1), "File Tail" and "Compression". A file ends with footer, postscript, one byte: the postscript's
length. A compressed footer is a run of chunks, each behind a 3-byte little-endian header: twice its length, plus 1 where it is stored as
it is.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import pyarrow as pa

from sparrow.io.formats.protobuf import BYTES, VARINT, WireError, fields, varint

# Field numbers of the specification's PostScript and Footer.
_FOOTER_LENGTH, _COMPRESSION, _BLOCK_BYTES = 1, 2, 3
_STRIPES, _FILE_ROWS = 3, 6
# StripeInformation's are those of `Stripe`, in its order.
_FIRST_OF_STRIPE = 1
_NONE, _ZLIB, _SNAPPY, _LZO, _LZ4, _ZSTD = range(6)
# A chunk's header has 23 bits for its length, and no chunk is longer after decompression than before compression.
_MAX_BLOCK_BYTES = 2**23


class FooterError(Exception):
    """The file's end is no ORC footer; the text says why."""


class Stripe(NamedTuple):
    """A stripe of a file: `index_bytes` of indexes from `offset` on, `data_bytes` of columns behind them, then `footer_bytes`."""

    offset: int
    index_bytes: int
    data_bytes: int
    footer_bytes: int
    num_rows: int


def stripes_of(source: Any, num_stripes: int | None = None) -> tuple[Stripe, ...]:
    """Return the stripes of an open ORC file. Raises `FooterError`. Cost: reads and decompresses the footer.

    num_stripes: how many there are, where that is known: what stands behind them is not looked at then. None: the footer must count their
    rows right.
    """
    try:
        return _stripes_of(source, num_stripes)
    except (WireError, zlib.error, pa.ArrowException, OSError, ValueError) as error:
        raise FooterError(f"its footer cannot be read: {error}") from None


def _stripes_of(source: Any, num_stripes: int | None) -> tuple[Stripe, ...]:
    num_bytes = source.size()
    tail = _read_at(source, max(0, num_bytes - 256), num_bytes)
    length = tail[-1] if tail else 0
    if length + 1 > len(tail):
        raise FooterError("its end has no room for a postscript")
    postscript = tail[len(tail) - 1 - length : -1]
    numbers = {field: a for field, wire, a, _ in fields(postscript, 0, length) if wire == VARINT}
    end = num_bytes - 1 - length
    footer_bytes = numbers.get(_FOOTER_LENGTH, 0)
    if footer_bytes > end:
        raise FooterError(f"its footer would be {footer_bytes} bytes, the file has {end} before it")
    packed = _read_at(source, end - footer_bytes, end)
    footer = _decompress(packed, numbers.get(_COMPRESSION, _NONE), numbers.get(_BLOCK_BYTES, 256 * 1024))
    stripes: list[Stripe] = []
    file_rows = 0
    for field, wire, a, b in fields(footer, 0, len(footer)):
        if field == _STRIPES and wire == BYTES:
            inner = {of: value for of, kind, value, _ in fields(footer, a, b) if kind == VARINT}
            stripes.append(Stripe(*(inner.get(of, 0) for of in range(_FIRST_OF_STRIPE, _FIRST_OF_STRIPE + len(Stripe._fields)))))
            if len(stripes) == num_stripes:
                return tuple(stripes)
        elif field == _FILE_ROWS and wire == VARINT:
            file_rows = a
    if sum(stripe.num_rows for stripe in stripes) != file_rows:
        raise FooterError(f"its footer counts {file_rows} rows, its stripes {sum(stripe.num_rows for stripe in stripes)}")
    return tuple(stripes)


def _read_at(source: Any, begin: int, end: int) -> bytes:
    source.seek(begin)
    data: bytes = source.read(end - begin)
    if len(data) != end - begin:
        raise FooterError(f"{end - begin} bytes were expected, {len(data)} came")
    return data


def _decompress(packed: bytes, compression: int, block_bytes: int) -> bytes:
    if compression == _NONE:
        return packed
    if not 0 < block_bytes <= _MAX_BLOCK_BYTES:
        raise FooterError(f"its compression blocks would be {block_bytes} bytes")
    out, at = [], 0
    while at < len(packed):
        if at + 3 > len(packed):
            raise FooterError("a compressed chunk is cut off")
        header = int.from_bytes(packed[at : at + 3], "little")
        begin, end = at + 3, at + 3 + (header >> 1)
        if end > len(packed):
            raise FooterError("a compressed chunk is cut off")
        chunk = packed[begin:end]
        out.append(chunk if header & 1 else _decompress_chunk(chunk, compression, block_bytes))
        at = end
    return b"".join(out)


def _decompress_chunk(chunk: bytes, compression: int, block_bytes: int) -> bytes:
    if compression == _ZLIB:
        plain = zlib.decompressobj(-15).decompress(chunk, block_bytes + 1)
    elif compression == _SNAPPY:
        num_bytes, _ = varint(chunk, 0, len(chunk))
        plain = pa.Codec("snappy").decompress(chunk, num_bytes, asbytes=True) if num_bytes <= block_bytes else bytes(block_bytes + 1)
    elif compression == _ZSTD:
        with pa.CompressedInputStream(pa.BufferReader(chunk), "zstd") as stream:
            plain = stream.read(block_bytes + 1)
    elif compression == _LZ4:
        plain = _lz4_block(chunk, block_bytes)
    else:
        raise FooterError(
            f"compression {'LZO' if compression == _LZO else compression} is not read; write it with zlib, snappy, lz4 or zstd"
        )
    if len(plain) > block_bytes:
        raise FooterError(f"a compressed chunk holds more than {block_bytes} bytes")
    return bytes(plain)


def _lz4_block(chunk: bytes, max_bytes: int) -> bytes:
    """Decompress a bare LZ4 block: pyarrow wants its exact length, which the file does not hold."""
    out, at = bytearray(), 0
    while at < len(chunk):
        token, at = chunk[at], at + 1
        length, at = _lz4_length(chunk, at, token >> 4)
        if length > len(chunk) - at:
            raise FooterError("a compressed chunk is cut off")
        out += chunk[at : at + length]
        at += length
        if at == len(chunk):
            break
        distance = int.from_bytes(chunk[at : at + 2], "little")
        length, at = _lz4_length(chunk, at + 2, token & 15)
        length += 4
        if not 0 < distance <= len(out) or len(out) + length > max_bytes:
            raise FooterError("a compressed chunk makes no sense")
        # A match may reach into what it writes.
        repeats = out[len(out) - distance :]
        out += (repeats * (length // distance + 1))[:length]
    return bytes(out)


def _lz4_length(chunk: bytes, at: int, length: int) -> tuple[int, int]:
    if length < 15:
        return length, at
    while at < len(chunk):
        byte, at = chunk[at], at + 1
        length += byte
        if byte < 255:
            return length, at
    raise FooterError("a compressed chunk is cut off")
