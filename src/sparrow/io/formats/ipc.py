"""Arrow IPC, by record batch: the file format (Feather version 2 too) and the stream format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pyarrow import ipc

from sparrow.io.formats.format import FileTypes

_FILE_MAGIC = b"ARROW1"
# What every message of a stream begins with, and its last, which holds nothing.
_CONTINUATION = b"\xff\xff\xff\xff"
_END = _CONTINUATION + bytes(4)


@dataclass(slots=True)
class _OpenFile:
    """The file format: any batch can be read alone, and chosen columns of it."""

    source: Any
    types: FileTypes
    num_pieces: int
    schema: Any
    _readers: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _rows: dict[int, int] = field(default_factory=dict)

    def rows_of(self, piece: int) -> int:
        # The footer has no lengths; the narrowest column of the batch has.
        if piece not in self._rows:
            self._rows[piece] = self._reader([_narrowest(self.schema)]).get_batch(piece).num_rows
        return self._rows[piece]

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        if piece >= self.num_pieces:
            return None
        batch = self._reader(names).get_batch(piece).select(list(names))
        # Unlike decoded formats, these are the file's own bytes: offsets and indices may point anywhere.
        batch.validate(full=True)
        return batch

    def count_rows(self) -> int:
        return sum(self.rows_of(piece) for piece in range(self.num_pieces))

    def _reader(self, names: Sequence[str]) -> Any:
        key = tuple(names)
        if key not in self._readers:
            self._readers[key] = _open_file(self.source, [self.schema.names.index(name) for name in names])
        return self._readers[key]


def _narrowest(schema: Any) -> str:
    def num_bits(index: int) -> float:
        try:
            return schema.field(index).type.bit_width
        except ValueError:
            return math.inf

    return schema.names[min(range(len(schema.names)), key=num_bits)]


def _open_file(source: Any, included: list[int]) -> Any:
    return ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=included, use_threads=False))


@dataclass(slots=True)
class _OpenStream:
    """The stream format: batches come one after the other, all columns of them."""

    source: Any
    reader: Any
    types: FileTypes
    num_read: int = 0
    last_rows: int = 0
    num_pieces: None = None

    def rows_of(self, piece: int) -> int | None:
        return self.last_rows if piece == self.num_read - 1 else None

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        if piece != self.num_read:
            raise ValueError(f"batch {piece} was asked for after {self.num_read} batches of a stream")
        try:
            batch = self.reader.read_next_batch()
        except StopIteration:
            if self.source.tell() != self.source.size():
                raise ValueError(f"the stream ends at byte {self.source.tell()}, the file has {self.source.size()}") from None
            return None
        self.num_read, self.last_rows = self.num_read + 1, batch.num_rows
        batch = batch.select(list(names))
        batch.validate(full=True)
        return batch

    def count_rows(self) -> int:
        rows, names = 0, list(self.types.of_column)[:1]
        while (batch := self.read(self.num_read, names)) is not None:
            rows += batch.num_rows
        return rows


@dataclass(frozen=True, slots=True)
class Ipc:
    """Arrow IPC files and streams. A piece is a record batch. A stream must have its end marker, else it counts as truncated."""

    name: ClassVar[str] = "Arrow IPC"
    piece: ClassVar[str] = "record batch"
    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".arrows", ".feather", ".ipc")
    reads_compressed: ClassVar[bool] = False

    def matches(self, head: bytes) -> bool:
        return head.startswith((_FILE_MAGIC, _CONTINUATION))

    def open(self, source: Any, known: FileTypes | None) -> _OpenFile | _OpenStream:
        head = source.read(len(_FILE_MAGIC))
        source.seek(0)
        if head == _FILE_MAGIC:
            reader = _open_file(source, [])
            types = FileTypes.of(reader.schema)
            return _OpenFile(source, types, reader.num_record_batches, reader.schema)
        source.seek(max(0, source.size() - len(_END)))
        if source.read() != _END:
            raise EOFError("its end marker is missing")
        source.seek(0)
        reader = ipc.open_stream(source, options=ipc.IpcReadOptions(use_threads=False))
        return _OpenStream(source, reader, FileTypes.of(reader.schema))

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        whole = tail.endswith(_FILE_MAGIC) if head.startswith(_FILE_MAGIC) else tail.endswith(_END)
        return None if whole else "is truncated: it begins as an Arrow IPC file, but its end is missing"
