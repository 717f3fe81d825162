"""Parquet, by row group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pyarrow import parquet

from sparrow.io.formats.format import FileTypes

_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"


@dataclass(frozen=True, slots=True)
class _OpenParquet:
    reader: Any
    types: FileTypes
    rows: tuple[int, ...]

    @property
    def num_pieces(self) -> int:
        return len(self.rows)

    def rows_of(self, piece: int) -> int:
        return self.rows[piece]

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        if piece >= len(self.rows):
            return None
        # pyarrow selects by the part of a name before a dot too, so more columns may come than were asked for.
        return self.reader.read_row_group(piece, columns=list(names), use_threads=False).select(list(names))

    def count_rows(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True, slots=True)
class Parquet:
    """Parquet files. A piece is a row group. Checksums of pages are checked where the file has them."""

    name: ClassVar[str] = "Parquet"
    piece: ClassVar[str] = "row group"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".parq", ".pq")
    reads_compressed: ClassVar[bool] = False

    def matches(self, head: bytes) -> bool:
        return head.startswith((_MAGIC, _ENCRYPTED))

    def open(self, source: Any, known: FileTypes | None) -> _OpenParquet:
        reader = parquet.ParquetFile(source, page_checksum_verification=True, pre_buffer=True)
        metadata = reader.metadata
        rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        if min(rows, default=0) < 0 or sum(rows) != metadata.num_rows:
            raise ValueError(f"its footer counts {metadata.num_rows} rows, its row groups {sum(rows)}")
        return _OpenParquet(reader, FileTypes.of(reader.schema_arrow), rows)

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        if head.startswith(_ENCRYPTED) or tail.endswith(_ENCRYPTED):
            return "is an encrypted Parquet file, which is not read:"
        return None if tail.endswith(_MAGIC) else "is truncated: it begins as a Parquet file, but its end is missing"
