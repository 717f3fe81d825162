"""Parquet, by row group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
from pyarrow import parquet
from torch import Tensor

from sparrow.io.formats.format import FileTypes
from sparrow.io.formats.parquet_chunks import DirectColumns, chunks_of

_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"


@dataclass(frozen=True, slots=True)
class _Schema:
    """What is known of the files of a schema.

    leaves, notes: the Parquet schema and the key-value metadata: files with the same have the same `types`.
    direct: names of columns -> which of them are decoded without pyarrow.
    """

    leaves: Any
    notes: Any
    arrow: Any
    types: FileTypes
    direct: dict[tuple[str, ...], DirectColumns] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _OpenParquet:
    """chunks: where they lie, found when the first piece is read. is_direct: whether columns may be decoded without pyarrow."""

    source: Any
    reader: Any
    schema: _Schema
    rows: tuple[int, ...]
    is_direct: bool
    chunks: list[Tensor] = field(default_factory=list)

    @property
    def types(self) -> FileTypes:
        return self.schema.types

    @property
    def num_pieces(self) -> int:
        return len(self.rows)

    def rows_of(self, piece: int) -> int:
        return self.rows[piece]

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        if piece >= len(self.rows):
            return None
        wanted = tuple(names)
        if not self.is_direct:
            return self._by_pyarrow(piece, wanted)
        direct = self.schema.direct.get(wanted)
        if direct is None:
            direct = self.schema.direct[wanted] = DirectColumns.of(self.schema.leaves, self.schema.arrow, wanted)
        batch = self._by_operator(piece, direct) if len(direct.schema) else None
        if batch is None:
            return self._by_pyarrow(piece, wanted)
        if not direct.others:
            return batch
        others = self._by_pyarrow(piece, direct.others)
        return pa.Table.from_arrays([(others if name in direct.others else batch).column(name) for name in names], names=list(names))

    def _by_operator(self, piece: int, direct: DirectColumns) -> Any | None:
        if not self.chunks:
            self.chunks.append(chunks_of(self.source, self.reader.metadata))
        (chunks,) = self.chunks
        return direct.read(self.source, chunks[piece], self.rows[piece]) if len(chunks) == len(self.rows) else None

    def _by_pyarrow(self, piece: int, names: tuple[str, ...]) -> Any:
        # pyarrow selects by the part of a name before a dot too, so more columns may come than were asked for.
        return self.reader.read_row_group(piece, columns=list(names), use_threads=False).select(list(names))

    def count_rows(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True, slots=True)
class Parquet:
    """Parquet files. A piece is a row group. Checksums of pages are checked where the file has them.

    direct: whether columns of numbers, and of lists of numbers, are decoded by Sparrow where that is faster. False: pyarrow decodes all.
    recent: the schema that came last, most files being alike.
    """

    name: ClassVar[str] = "Parquet"
    piece: ClassVar[str] = "row group"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".parq", ".pq")
    reads_compressed: ClassVar[bool] = False
    direct: bool = True
    recent: list[_Schema] = field(default_factory=list, repr=False, compare=False)

    def matches(self, head: bytes) -> bool:
        return head.startswith((_MAGIC, _ENCRYPTED))

    def open(self, source: Any, known: FileTypes | None) -> _OpenParquet:
        reader = parquet.ParquetFile(source, page_checksum_verification=True, pre_buffer=True)
        metadata = reader.metadata
        rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        if min(rows, default=0) < 0 or sum(rows) != metadata.num_rows:
            raise ValueError(f"its footer counts {metadata.num_rows} rows, its row groups {sum(rows)}")
        return _OpenParquet(source, reader, self._schema_of(reader), rows, self.direct)

    def _schema_of(self, reader: Any) -> _Schema:
        leaves, notes = reader.metadata.schema, reader.metadata.metadata
        recent = self.recent[0] if self.recent else None
        if recent is not None and recent.notes == notes and recent.leaves.equals(leaves):
            return recent
        arrow = reader.schema_arrow
        schema = _Schema(leaves, notes, arrow, FileTypes.of(arrow))
        self.recent[:] = [schema]
        return schema

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        if head.startswith(_ENCRYPTED) or tail.endswith(_ENCRYPTED):
            return "is an encrypted Parquet file, which is not read:"
        return None if tail.endswith(_MAGIC) else "is truncated: it begins as a Parquet file, but its end is missing"
