"""ORC, by stripe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pyarrow import orc

from sparrow.io.formats.format import FileTypes
from sparrow.io.formats.orc_footer import stripe_rows

_MAGIC = b"ORC"


@dataclass(frozen=True, slots=True)
class _OpenOrc:
    reader: Any
    types: FileTypes
    rows: tuple[int, ...]

    @property
    def num_pieces(self) -> int:
        return len(self.rows)

    def rows_of(self, piece: int) -> int:
        return self.rows[piece]

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        return self.reader.read_stripe(piece, columns=list(names)) if piece < len(self.rows) else None

    def count_rows(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True, slots=True)
class Orc:
    """ORC files. A piece is a stripe; its rows are known from the footer, so skipping to a row decodes nothing before its stripe."""

    name: ClassVar[str] = "ORC"
    piece: ClassVar[str] = "stripe"
    suffixes: ClassVar[tuple[str, ...]] = (".orc",)
    reads_compressed: ClassVar[bool] = False

    def matches(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, source: Any, known: FileTypes | None) -> _OpenOrc:
        reader = orc.ORCFile(source)
        rows = stripe_rows(source)
        if len(rows) != reader.nstripes or sum(rows) != reader.nrows:
            raise ValueError(f"its footer counts {sum(rows)} rows in {len(rows)} stripes, the reader {reader.nrows} in {reader.nstripes}")
        return _OpenOrc(reader, FileTypes.of(reader.schema), rows)

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        if head.startswith(_MAGIC) and tail[-4:-1] != _MAGIC:
            return "is truncated: it begins as an ORC file, but its end is missing"
        return None
