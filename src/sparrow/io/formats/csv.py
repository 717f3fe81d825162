"""CSV and TSV, by blocks of whole rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
from pyarrow import csv as arrow_csv

from sparrow.errors import ConfigError
from sparrow.io.formats.compressed import plain_stream
from sparrow.io.formats.format import FileTypes, FormatError

_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_ROWS = 20
_BOM = b"\xef\xbb\xbf"
# A row, or a value in quotes that is never closed, may be this many times as long as a block.
_MAX_BLOCKS_A_ROW = 16


class _Rows:
    """Blocks of whole rows of a stream of bytes: what follows the last line end outside quotes waits for the next block."""

    def __init__(self, stream: Any, block_bytes: int, quote: bytes) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._quote = quote
        self._rest = b""

    def next(self) -> bytes:
        """Return some rows, b"" after the last. Raises `FormatError` where a row does not end."""
        while True:
            more = self._stream.read(self._block_bytes)
            data = self._rest + more
            if not more:
                self._rest = b""
                if self._quote and data.count(self._quote) % 2:
                    raise FormatError("a quote is not closed at its end; write it again, or say Csv(quote=None) where quotes mean nothing")
                return data
            end = self._last_line_end(data) + 1
            self._rest = data[end:]
            if end:
                return data[:end]
            if len(data) > _MAX_BLOCKS_A_ROW * self._block_bytes:
                raise FormatError(
                    f"a row has more than {len(data)} bytes; is a quote not closed? say Csv(quote=None) where quotes mean nothing, "
                    "or give a larger Csv(block_bytes=...)"
                )

    def _last_line_end(self, data: bytes) -> int:
        """Return the place of the last line end that an even number of quotes goes before, -1 where there is none."""
        end = data.rfind(b"\n")
        if not self._quote:
            return end
        quotes = data.count(self._quote, 0, max(end, 0))
        while end >= 0 and quotes % 2:
            # All line ends back to the last quote are inside it.
            last_quote = data.rfind(self._quote, 0, end)
            before = data.rfind(b"\n", 0, last_quote)
            quotes -= data.count(self._quote, max(before, 0), end)
            end = before
        return end


@dataclass(slots=True)
class _OpenCsv:
    rows: _Rows
    names: list[str]
    types: FileTypes
    parsing: Any
    nulls: list[str]
    first: bytes | None
    num_read: int = 0
    num_rows: int = 0
    last_rows: int = 0
    num_pieces: None = None

    def rows_of(self, piece: int) -> int | None:
        return self.last_rows if piece == self.num_read - 1 else None

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        if piece != self.num_read:
            raise ValueError(f"block {piece} was asked for after {self.num_read} blocks")
        block = self.rows.next() if self.first is None else self.first
        self.first = None
        if not block:
            return None
        types = {name: self.types.of_column[name] for name in names}
        table = parse(block, self.names, self.parsing, self.nulls, types, first_row=self.num_rows)
        self.num_read, self.num_rows, self.last_rows = self.num_read + 1, self.num_rows + table.num_rows, table.num_rows
        return table

    def count_rows(self) -> int:
        rows, names = 0, list(self.types.of_column)[:1]
        while (table := self.read(self.num_read, names)) is not None:
            rows += table.num_rows
        return rows


def parse(
    block: bytes, names: list[str], parsing: Any, nulls: list[str], types: Mapping[str, Any] | None, given: Any = None, first_row: int = 0
) -> Any:
    """Return rows as an Arrow table: the columns of `types` as these types, or, where that is None, all, inferred but for `given`.

    Raises `ValueError` that counts rows from `first_row`, the file's number of the first.
    """
    if not block.strip(b"\r\n") and len(names) > 1:
        return pa.table({name: pa.array([], kind) for name, kind in (types or dict.fromkeys(names, pa.null())).items()})
    converting = arrow_csv.ConvertOptions(
        column_types=given if types is None else types,
        include_columns=None if types is None else list(types),
        null_values=nulls,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    reading = arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(block) + 1)
    try:
        return arrow_csv.read_csv(pa.BufferReader(block), read_options=reading, parse_options=parsing, convert_options=converting)
    except pa.ArrowInvalid as error:
        # pyarrow counts the rows of what it was given, from 1.
        raise ValueError(re.sub(r"Row #(\d+)", lambda row: f"row {first_row + int(row[1]) - 1}", str(error))) from error


@dataclass(frozen=True, slots=True)
class Csv:
    """CSV and TSV files, gzip too: UTF-8, one row a line, line ends inside quotes allowed. A piece is a block of whole rows.

    delimiter:   one character; None finds `,`, tab, `;` or `|` from the first rows.
    names:       of all columns, in order, for files without a header; None takes the first line.
    types:       column -> Arrow type or its name (`"int64"`, `"string"`, `"timestamp[s]"`); others are inferred from the first block of the
                 first file, and hold for all files.
    quote:       the character values may stand in; None where it means nothing.
    nulls:       what stands for a null outside quotes.
    block_bytes: bytes read and parsed at a time.
    """

    delimiter: str | None = None
    names: Sequence[str] | None = None
    types: Mapping[str, Any] = field(default_factory=dict)
    quote: str | None = '"'
    nulls: Sequence[str] = ("",)
    block_bytes: int = 1 << 20

    name: ClassVar[str] = "CSV"
    piece: ClassVar[str] = "block"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")
    reads_compressed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for what, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            if value is not None and (not isinstance(value, str) or len(value.encode()) != 1):
                raise ConfigError(f"Csv: {what} is {value!r}; expected one ASCII character, or None")
        if isinstance(self.names, str) or (self.names is not None and not all(isinstance(name, str) for name in self.names)):
            raise ConfigError(f"Csv: names is {self.names!r}; expected a list of names")
        if isinstance(self.nulls, str):
            raise ConfigError(f"Csv: nulls is the string {self.nulls!r}; give a list, such as [{self.nulls!r}]")
        if not isinstance(self.block_bytes, int) or self.block_bytes < 1:
            raise ConfigError(f"Csv: block_bytes is {self.block_bytes!r}; expected a whole number of at least 1")
        _arrow_types(self.types)

    def matches(self, head: bytes) -> None:
        # Any text might be CSV: its name, or format=, must say so.
        return None

    def open(self, source: Any, known: FileTypes | None) -> _OpenCsv:
        rows = _Rows(plain_stream(source), self.block_bytes, (self.quote or "").encode())
        block = rows.next()
        if b"\0" in block:
            raise FormatError("is no text: it holds zero bytes; write it as UTF-8, or name files of text")
        block = block.removeprefix(_BOM).lstrip(b"\r\n") if self.names is None else block.removeprefix(_BOM)
        delimiter = self.delimiter or _sniff(block, self.quote)
        parsing = arrow_csv.ParseOptions(delimiter=delimiter, quote_char=self.quote or False, newlines_in_values=True)
        names = list(self.names or ())
        if self.names is None:
            lines = _Lines(block)
            names = next(_reader(lines, delimiter, self.quote), [])
            block = block[lines.num_bytes :] or rows.next()
            if not names:
                raise FormatError("has no header; write one, or give Csv(names=[...])")
        # In a file of one column, an empty line is an empty value.
        parsing.ignore_empty_lines = len(names) > 1
        given = _arrow_types(self.types)
        missing = [name for name in given if name not in names]
        if missing:
            raise FormatError(f"has no column {missing[0]!r}, which Csv(types=...) names; known: {', '.join(names)}")
        nulls = list(self.nulls)
        inferred = FileTypes.of(parse(block, names, parsing, nulls, None, given).schema if block else _no_types(names, given))
        types = inferred
        if known is not None:
            types = FileTypes({name: known.of_column.get(name, kind) for name, kind in inferred.of_column.items()}, inferred.repeated)
        return _OpenCsv(rows, names, types, parsing, nulls, block or None)

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        return None


def _arrow_types(types: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, kind in types.items():
        try:
            found[name] = pa.type_for_alias(kind) if isinstance(kind, str) else pa.field(name, kind).type
        except (TypeError, ValueError):
            raise ConfigError(f"Csv: the type of {name!r} is {kind!r}; expected an Arrow type or its name, such as 'int64'") from None
    return found


def _no_types(names: list[str], given: dict[str, Any]) -> Any:
    return pa.schema([(name, given.get(name, pa.null())) for name in names])


class _Lines:
    """The lines of a block as text, and how many of its bytes were taken."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self.num_bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.num_bytes == len(self._block):
            raise StopIteration
        begin = self.num_bytes
        self.num_bytes = self._block.find(b"\n", begin) + 1 or len(self._block)
        return self._block[begin : self.num_bytes].decode("utf-8", "surrogateescape")


def _reader(lines: _Lines, delimiter: str, quote: str | None) -> Any:
    if quote is None:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def _sniff(block: bytes, quote: str | None) -> str:
    """Return the delimiter by which the first rows have equally many values, the most; "," where each row is one value."""
    widths: dict[str, int] = {}
    for delimiter in _DELIMITERS:
        rows = [row for row, _ in zip(_reader(_Lines(block), delimiter, quote), range(_SNIFFED_ROWS), strict=False) if row]
        found = {len(row) for row in rows}
        widths[delimiter] = found.pop() if len(found) == 1 else 0
    most = max(widths.values())
    best = [delimiter for delimiter, width in widths.items() if width == most]
    if most <= 1:
        if any(delimiter.encode() in block.split(b"\n", 1)[0] for delimiter in _DELIMITERS):
            raise FormatError("its delimiter cannot be told, rows differ in their number of values; give Csv(delimiter=...), or mend it")
        return ","
    if len(best) > 1:
        raise FormatError(f"its delimiter might be {' or '.join(map(repr, best))}; give Csv(delimiter=...)")
    return best[0]
