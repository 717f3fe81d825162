"""TFRecord files of `tf.Example` messages, by blocks of whole records.

A record is its length (8 bytes), the masked CRC-32C of these, its data, and the masked CRC-32C of the data, all little-endian; the mask of
c is (c >> 15 | c << 17) + 0xA282EAD8. Nothing marks the end of a file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from sparrow.errors import ConfigError, did_you_mean
from sparrow.io.formats.compressed import plain_stream
from sparrow.io.formats.crc32c import Words, crc32c
from sparrow.io.formats.format import FileTypes, FormatError
from sparrow.io.formats.tf_example import TYPES, columns_of, kinds_of

_HEADER_BYTES, _FOOTER_BYTES = 12, 4
_MAX_RECORD_BYTES = 1 << 30
_LENGTH = struct.Struct("<Q")


def _masked(crc: Words) -> Words:
    masked: Words = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
    return masked


@dataclass(slots=True)
class _Block:
    """Whole records: their bytes, and where the data of each lies."""

    data: bytes
    begins: list[int]
    ends: list[int]

    @property
    def places(self) -> list[tuple[int, int]]:
        return list(zip(self.begins, self.ends, strict=True))

    def first_damaged(self) -> int | None:
        """Return the first record whose data does not fit its checksum, None where all do."""
        return _first_bad(self.data, self.begins, [end - begin for begin, end in self.places])


class _Records:
    """The records of a stream of bytes, a block at a time, their lengths checked."""

    def __init__(self, stream: Any, block_bytes: int) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._rest = b""
        self._num_records = 0

    def next(self) -> _Block | None:
        """Return some records, None after the last. Raises `FormatError` where the file is cut off, or a length is damaged."""
        parts, num_bytes, needed = [self._rest], len(self._rest), 0
        while True:
            more = self._stream.read(max(self._block_bytes, min(needed - num_bytes, 16 * self._block_bytes)))
            parts.append(more)
            num_bytes += len(more)
            if more and num_bytes < needed:
                continue
            data = b"".join(parts)
            block, end = self._frame(data)
            if block.begins:
                self._rest = data[end:]
                self._num_records += len(block.begins)
                return block
            if not more:
                if data:
                    self._bytes_of_first(data)
                    raise FormatError(f"is truncated: row {self._num_records} is cut off at its end; write or copy it again")
                return None
            parts, needed = [data], self._bytes_of_first(data)

    def _frame(self, data: bytes) -> tuple[_Block, int]:
        """Return the whole records that `data` begins with, and where they end."""
        begins, ends, at = [], [], 0
        last = len(data) - _HEADER_BYTES - _FOOTER_BYTES
        while at <= last:
            begin = at + _HEADER_BYTES
            end = begin + _LENGTH.unpack_from(data, at)[0]
            if end + _FOOTER_BYTES > len(data):
                break
            begins.append(begin)
            ends.append(end)
            at = end + _FOOTER_BYTES
        self._check_lengths(data, [begin - _HEADER_BYTES for begin in begins])
        return _Block(data, begins, ends), at

    def _bytes_of_first(self, data: bytes) -> int:
        if len(data) < _HEADER_BYTES:
            return _HEADER_BYTES
        self._check_lengths(data, [0])
        length = int(_LENGTH.unpack_from(data, 0)[0])
        if length > _MAX_RECORD_BYTES:
            raise FormatError(f"row {self._num_records} has {length} bytes; expected at most {_MAX_RECORD_BYTES}")
        return _HEADER_BYTES + length + _FOOTER_BYTES

    def _check_lengths(self, data: bytes, begins: list[int]) -> None:
        bad = _first_bad(data, begins, [8] * len(begins))
        if bad is not None:
            what = f"the length of row {self._num_records + bad} is damaged: its checksum is another"
            raise FormatError(f"{what}, so nothing from there on can be read; write or copy it again")


def _first_bad(data: bytes, begins: Sequence[int], lengths: Sequence[int]) -> int | None:
    """Return the first of some pieces of `data` that the checksum behind it does not fit."""
    if not begins:
        return None
    ends = np.asarray(begins) + np.asarray(lengths)
    stored = np.frombuffer(data, dtype=np.uint8)[ends[:, None] + np.arange(4)].view("<u4").ravel()
    wrong = stored != _masked(crc32c(data, begins, lengths))
    return int(wrong.argmax()) if wrong.any() else None


@dataclass(slots=True)
class _OpenTFRecord:
    records: _Records
    types: FileTypes
    kinds: dict[str, str]
    check: bool
    first: _Block | None
    num_read: int = 0
    num_rows: int = 0
    last_rows: int | None = None
    num_pieces: None = None

    def rows_of(self, piece: int) -> int | None:
        # Of a block that was just read: where its data is damaged, what follows it can be read.
        return self.last_rows if piece == self.num_read - 1 else None

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        block, first_row = self._next(piece)
        if block is None:
            return None
        if self.check:
            bad = block.first_damaged()
            if bad is not None:
                raise FormatError(f"the data of row {first_row + bad} is damaged: its checksum is another; write or copy it again")
        columns = columns_of(block.data, block.places, {name: self.kinds[name] for name in names}, first_row)
        return pa.table({**columns, "": pa.nulls(len(block.begins))}).select(list(names))

    def count_rows(self) -> int:
        while self._next(self.num_read)[0] is not None:
            pass
        return self.num_rows

    def _next(self, piece: int) -> tuple[_Block | None, int]:
        if piece != self.num_read:
            raise ValueError(f"block {piece} was asked for after {self.num_read} blocks")
        first_row, self.last_rows = self.num_rows, None
        block = self.records.next() if self.first is None else self.first
        self.first = None
        if block is not None:
            self.num_read, self.last_rows = self.num_read + 1, len(block.begins)
            self.num_rows += len(block.begins)
        return block, first_row


@dataclass(frozen=True, slots=True)
class TFRecord:
    """TFRecord files of `tf.Example`, gzip and zlib too. A piece is a block of whole records. Every feature is a list column.

    features:    name -> `"int64"`, `"float"` or `"bytes"`, beside those found in the first block of the first file. A feature that a row
                 lacks is an empty list there.
    check:       check the checksums of the data; those of the lengths always are.
    block_bytes: bytes read and parsed at a time; a longer record is read whole.
    """

    features: Mapping[str, str] = field(default_factory=dict)
    check: bool = True
    block_bytes: int = 1 << 20

    name: ClassVar[str] = "TFRecord"
    piece: ClassVar[str] = "block"
    suffixes: ClassVar[tuple[str, ...]] = (".tfrecord", ".tfrecords", ".tfrec")
    reads_compressed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, kind in self.features.items():
            if kind not in TYPES:
                raise ConfigError(f"TFRecord: the kind of feature {name!r} is {kind!r}{did_you_mean(str(kind), TYPES)}")
        if not isinstance(self.block_bytes, int) or self.block_bytes < 1:
            raise ConfigError(f"TFRecord: block_bytes is {self.block_bytes!r}; expected a whole number of at least 1")

    def matches(self, head: bytes) -> bool:
        return len(head) >= _HEADER_BYTES and _first_bad(head, [0], [8]) is None

    def open(self, source: Any, known: FileTypes | None) -> _OpenTFRecord:
        records = _Records(plain_stream(source), self.block_bytes)
        first = records.next()
        if known is not None:
            kinds = {name: _kind_of(file_type) for name, file_type in known.of_column.items()}
        else:
            # What is damaged is an error when it is read.
            whole = first.places[: first.first_damaged() if self.check else None] if first else []
            kinds = {**(kinds_of(first.data, whole, 0) if first else {}), **self.features}
        types = FileTypes(
            {name: TYPES[kind] for name, kind in kinds.items()}, frozenset(), note=" in the first block; name it in TFRecord(features=...)"
        )
        return _OpenTFRecord(records, types, kinds, self.check, first)

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        return None


def _kind_of(file_type: Any) -> str:
    return next(kind for kind, one in TYPES.items() if one == file_type)
