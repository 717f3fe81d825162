"""ORC, by stripe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
from pyarrow import orc

from sparrow.io.formats.format import FileTypes
from sparrow.io.formats.orc_columns import DirectColumns
from sparrow.io.formats.orc_footer import Stripe, stripes_of

_MAGIC = b"ORC"


@dataclass(frozen=True, slots=True)
class _Schema:
    """What is known of the files of a schema.

    direct: names of columns -> which of them are decoded without pyarrow.
    """

    arrow: Any
    types: FileTypes
    direct: dict[tuple[str, ...], DirectColumns] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _OpenOrc:
    """is_direct: whether columns may be decoded without pyarrow."""

    source: Any
    reader: Any
    schema: _Schema
    stripes: tuple[Stripe, ...]
    is_direct: bool

    @property
    def types(self) -> FileTypes:
        return self.schema.types

    @property
    def num_pieces(self) -> int:
        return len(self.stripes)

    def rows_of(self, piece: int) -> int:
        return self.stripes[piece].num_rows

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        if piece >= len(self.stripes):
            return None
        if not self.is_direct:
            return self.reader.read_stripe(piece, columns=list(names))
        wanted = tuple(names)
        direct = self.schema.direct.get(wanted)
        if direct is None:
            direct = self.schema.direct[wanted] = DirectColumns.of(self.schema.arrow, wanted)
        batch = None
        if len(direct.schema):
            batch = direct.read(self.source, self.stripes[piece], self.reader.compression, self.reader.compression_size)
        if batch is None:
            return self.reader.read_stripe(piece, columns=list(names))
        if not direct.others:
            return batch
        others = self.reader.read_stripe(piece, columns=list(direct.others))
        if set(others.schema.names) != set(direct.others):
            return others  # which says what is wrong
        columns = [(others if name in direct.others else batch).column(name) for name in names]
        return pa.RecordBatch.from_arrays(columns, names=list(names))

    def count_rows(self) -> int:
        return sum(stripe.num_rows for stripe in self.stripes)


@dataclass(frozen=True, slots=True)
class Orc:
    """ORC files. A piece is a stripe; its rows are known from the footer, so skipping to a row decodes nothing before its stripe.

    direct: whether columns of numbers, and of lists of numbers, are decoded by Sparrow where that is faster. False: pyarrow decodes all.
    recent: the schema that came last, most files being alike.
    """

    name: ClassVar[str] = "ORC"
    piece: ClassVar[str] = "stripe"
    suffixes: ClassVar[tuple[str, ...]] = (".orc",)
    reads_compressed: ClassVar[bool] = False
    direct: bool = True
    recent: list[_Schema] = field(default_factory=list, repr=False, compare=False)

    def matches(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, source: Any, known: FileTypes | None) -> _OpenOrc:
        reader = orc.ORCFile(source)
        stripes = stripes_of(source, reader.nstripes)
        num_rows = sum(stripe.num_rows for stripe in stripes)
        if len(stripes) != reader.nstripes or num_rows != reader.nrows:
            raise ValueError(f"its footer counts {num_rows} rows in {len(stripes)} stripes, the reader {reader.nrows} in {reader.nstripes}")
        # Every stripe has a footer. One without makes pyarrow refuse its neighbour too, so that none is decoded here.
        is_direct = self.direct and all(stripe.footer_bytes > 0 for stripe in stripes)
        return _OpenOrc(source, reader, self._schema_of(reader.schema), stripes, is_direct)

    def _schema_of(self, arrow: Any) -> _Schema:
        recent = self.recent[0] if self.recent else None
        if recent is not None and recent.arrow.equals(arrow):
            return recent
        schema = _Schema(arrow, FileTypes.of(arrow))
        self.recent[:] = [schema]
        return schema

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        if head.startswith(_MAGIC) and tail[-4:-1] != _MAGIC:
            return "is truncated: it begins as an ORC file, but its end is missing"
        return None
