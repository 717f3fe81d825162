"""Whole files compressed by gzip or zlib, for formats that are read from front to back."""

from __future__ import annotations

import zlib
from typing import Any

import pyarrow as pa

_GZIP = b"\x1f\x8b"


def is_compressed(head: bytes) -> bool:
    """Return whether a file that begins with `head` is gzip or zlib data."""
    if head.startswith(_GZIP):
        return True
    # A zlib header is two bytes that text may begin with as well: some of what follows must decompress.
    if len(head) < 3 or head[0] & 0x0F != 8 or (head[0] << 8 | head[1]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(head)
    except zlib.error:
        return False
    return True


def plain_head(head: bytes, num_bytes: int) -> bytes:
    """Return the first bytes of a file that begins with `head`, decompressed where it is compressed; at most `num_bytes`."""
    if not is_compressed(head):
        return head[:num_bytes]
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, num_bytes)
    except zlib.error:
        return b""


def plain_stream(source: Any, head_bytes: int = 64) -> Any:
    """Return an open file from its beginning, decompressed where it is compressed. A truncated one raises `OSError` when read."""
    source.seek(0)
    head = source.read(head_bytes)
    source.seek(0)
    # Arrow's gzip reads zlib's header too, and members one after the other.
    return pa.CompressedInputStream(source, "gzip") if is_compressed(head) else source
