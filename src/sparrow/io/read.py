"""Files, piece by piece: open, check, decode."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import pyarrow as pa

from sparrow.errors import DataError
from sparrow.io.decode import Where, decode
from sparrow.io.files import SourceFile
from sparrow.io.formats.format import FileTypes, Format, FormatError
from sparrow.io.opening import Opened, StaleError, first_line, open_file, require_unchanged
from sparrow.io.partitions import values_of, with_keys
from sparrow.io.plan import ColumnPlan, plan_columns, replan
from sparrow.io.skipped import SkipLog
from sparrow.io.unpack import Blocks, Unpacking, unpacking_of
from sparrow.types import Column, ColumnSpec


class Piece:
    """Decoded rows of one piece of a file: a stripe, a row group, a record batch, a block.

    path, first_row, num_rows: the rows of the file these are.
    file:   place of the file in the list.
    blocks: the columns, many in one tensor; None where they lie one by one.
    rows:   int64 [num_rows], the file's rows these are, where a filter left some out; None: all from `first_row` on.
    """

    __slots__ = ("_columns", "blocks", "file", "first_row", "num_rows", "path", "rows")

    def __init__(
        self, path: str, file: int, first_row: int, num_rows: int, columns: Blocks | dict[str, Column], rows: Any | None = None
    ) -> None:
        self.path, self.file, self.first_row, self.num_rows, self.rows = path, file, first_row, num_rows, rows
        self.blocks = columns if isinstance(columns, Blocks) else None
        self._columns = None if isinstance(columns, Blocks) else columns

    @property
    def columns(self) -> dict[str, Column]:
        """Name -> column of `num_rows` rows. Made when first asked for: most rows are cut from blocks."""
        if self._columns is None:
            assert self.blocks is not None
            self._columns = self.blocks.columns()
        return self._columns

    def span(self) -> Piece:
        """Return where the rows came from alone, without their columns."""
        return Piece(self.path, self.file, self.first_row, self.num_rows, {}, self.rows)

    def file_rows(self) -> Any:
        """Return the file's rows these are, int64 [num_rows]."""
        return np.arange(self.first_row, self.first_row + self.num_rows) if self.rows is None else self.rows

    def row_of(self, row: int) -> int:
        """Return which row of the file a row is."""
        return self.first_row + row if self.rows is None else int(self.rows[row])


@dataclass(frozen=True, slots=True)
class _Decoding:
    """How the columns of one file are made: a plan each, the columns to read from it, and the values of its partition keys.

    recent: of the source: how record batches of the schema that came last are unpacked.
    """

    plans: tuple[ColumnPlan, ...]
    names: list[str]
    values: dict[str, Any]
    recent: list[Unpacking]

    def columns_of(self, batch: Any, where: Where) -> Blocks | dict[str, Column]:
        """Decode a record batch, the first row of which is `where.first_row`. Raises `DataError` for the first column that is wrong."""
        unpacking = self.recent[0] if self.recent else None
        if unpacking is None or unpacking.plans is not self.plans or not unpacking.schema.equals(batch.schema):
            unpacking = unpacking_of(batch.schema, self.plans)
            self.recent[:] = [unpacking]
        of_name = {plan.name: plan for plan in self.plans}
        return unpacking.unpack(batch, lambda name: decode(self._array(batch, name), of_name[name], replace(where, column=name)))

    def _array(self, batch: Any, name: str) -> Any:
        value = self.values.get(name)
        return batch.column(name) if value is None else pa.repeat(value, batch.num_rows)


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: files, the columns asked for, and what they become in the first file that has rows.

    format: of all files; None where the first bytes of each decide.
    skips:  where to note what cannot be read; None makes it an error.
    recent: how record batches were unpacked last, most files being alike.
    """

    files: tuple[SourceFile, ...]
    specs: tuple[ColumnSpec, ...]
    format: Format | None
    skips: SkipLog | None
    plans: tuple[ColumnPlan, ...]
    first_path: str
    types: FileTypes
    recent: list[Unpacking] = field(default_factory=list)

    @staticmethod
    def of(files: tuple[SourceFile, ...], specs: tuple[ColumnSpec, ...], wanted: Format | None, skips: SkipLog | None) -> Source:
        """Plan the columns by the first file that has rows. Raises `DataError` where none has, or a column cannot be had."""
        for file in files:
            with skipping(file, skips), open_file(file, wanted) as opened:
                if _has_rows(file, opened):
                    values = values_of(file.place.path, file.path, opened.file.types, specs)
                    plans = plan_columns(specs, with_keys(opened.file.types, values), file.path)
                    return Source(files, specs, wanted, skips, plans, file.path, opened.file.types)
        if skips is not None and skips.found:
            raise nothing_left(skips)
        others = f" and the other {len(files) - 1} files" if len(files) > 1 else ""
        raise DataError(f"{files[0].path}{others}: no rows at all; name files that hold some")

    @property
    def schema(self) -> FileTypes:
        """The columns of the first file that has rows, and its partition keys."""
        first = next(file for file in self.files if file.path == self.first_path)
        return with_keys(self.types, values_of(first.place.path, first.path, self.types, self.specs))

    def empty_columns(self) -> dict[str, Column]:
        """Return the columns of no rows."""
        return {
            plan.name: decode(pa.array([], plan.file_type), plan, Where(self.first_path, plan.name, "no piece", 0)) for plan in self.plans
        }

    def some_piece(self) -> Piece:
        """Return some rows of the first file that has any. Raises `DataError` where they cannot be read."""
        with closing(FileReader(self, next(index for index, file in enumerate(self.files) if file.path == self.first_path))) as reader:
            for number, table in _all_tables(reader):
                rows = reader.rows_of(number, 0) if table is None else table.num_rows
                if rows:
                    return reader.decode(reader.read(number, 0) if table is None else table, number, 0, 0, rows)[0]
        raise DataError(f"{self.first_path}: no rows to fill a batch with")

    def decoding_of(self, file: SourceFile, opened: Opened) -> _Decoding:
        """Return how the columns of an open file are decoded. Raises `DataError` where one would come out otherwise than in the first."""
        values = values_of(file.place.path, file.path, opened.file.types, self.specs)
        plans = self.plans
        if file.path != self.first_path:
            plans = replan(self.specs, plans, self.first_path, with_keys(opened.file.types, values), file.path)
        names = [plan.name for plan in plans if plan.name not in values]
        # Where only partition keys are read, any column tells the number of rows.
        return _Decoding(plans, names or list(opened.file.types.of_column)[:1], values, self.recent)

    def num_rows_of(self, file: SourceFile) -> int:
        """Return the number of rows of a file, 0 where it is left out. Raises `DataError` where it cannot be read."""
        with skipping(file, self.skips), open_file(file, self.format, self.types) as opened, _damage(file, "its rows cannot be counted"):
            return opened.file.count_rows()
        return 0


@contextmanager
def skipping(file: SourceFile, skips: SkipLog | None) -> Iterator[None]:
    """Note a file that cannot be read in `skips` and go on behind it; where `skips` is None, or the file was changed, raise."""
    try:
        yield
    except StaleError:
        raise
    except DataError as error:
        if skips is None:
            raise
        skips.add(file.path, None, error)


def nothing_left(skips: SkipLog) -> DataError:
    first = skips.found[0]
    place = first.path if first.piece is None else f"{first.path}, {first.piece}"
    return DataError(f"{place}: {first.reason}; nothing is left to read, {len(skips.found)} files and pieces were left out like this one")


@final
class FileReader:
    """One open file of a dataset: its pieces as Arrow tables, and as columns. Not for two threads at once, but for `decode`.

    in_order: pieces can only be read from the first on, and their number is not known before.

    Raises `DataError` where the file cannot be opened.
    """

    def __init__(self, source: Source, index: int) -> None:
        self._source, self.index, self.file = source, index, source.files[index]
        self._closing = ExitStack()
        self._opened = self._closing.enter_context(open_file(self.file, source.format, source.types))
        self._decoding: _Decoding | None = None
        self.in_order = self._opened.file.num_pieces is None

    def name_of(self, piece: int) -> str:
        """Return a piece in words, such as "stripe 3"."""
        return f"{self._opened.format.piece} {piece}"

    def rows_of(self, piece: int, first_row: int) -> int | None:
        """Return the rows of a piece; where `in_order`, of the last that was asked for, None where unknown. Raises `DataError`."""
        return _rows_of(self.file, self._opened, piece, first_row)

    def piece_rows(self) -> list[int]:
        """Return the rows of every piece. Where `in_order` the file is read through, up to a damaged piece of unknown length.

        Nothing can be read from such a file then. Raises `DataError` where damage is an error.
        """
        if self._opened.file.num_pieces is not None:
            return _known_rows(self.file, self._opened)
        rows: list[int] = []
        names = list(self._opened.file.types.of_column)[:1]
        for piece, first_row, table in self.tables(names):
            rows.append(self.rows_of(piece, first_row) or 0 if table is None else table.num_rows)
        return rows

    def tables(self, names: Sequence[str] | None = None) -> Iterator[tuple[int, int, Any | None]]:
        """Yield number, first row and table of every piece of a file that is read in order, None for a table left out.

        names: the columns; None for those of the dataset.
        """
        row = 0
        for piece in itertools.count():
            if names is None:
                names = self.decoding().names
            table = None
            try:
                table = _read_piece(self.file, self._opened, piece, row, names)
                if table is None:
                    return
                rows: int | None = table.num_rows
            except StaleError:
                raise
            except DataError as error:
                skips = self._source.skips
                if skips is None:
                    raise
                rows = self.rows_of(piece, row)
                if rows is None:
                    skips.add(self.file.path, f"{self.name_of(piece)} and what follows", error)
                    return
                skips.add(self.file.path, self.name_of(piece), error, rows)
            yield piece, row, table
            row += rows or 0

    def read(self, piece: int, first_row: int) -> Any:
        """Return a piece, of which the length is known, as Arrow. Raises `DataError` where it is damaged."""
        table = _read_piece(self.file, self._opened, piece, first_row, self.decoding().names)
        assert table is not None, "the piece was listed"
        return table

    def require_unchanged(self, piece: int) -> None:
        """Raise `StaleError` where the file was written to; of a remote file only its last piece asks, which costs a round trip."""
        if self.file.place.is_local or piece + 1 == self._opened.file.num_pieces:
            require_unchanged(self.file)

    def decoding(self) -> _Decoding:
        """Return how columns are made, found once. Raises `DataError` where one would come out otherwise than in the first file."""
        # Not before a piece is read: a file without rows may have any columns.
        if self._decoding is None:
            self._decoding = self._source.decoding_of(self.file, self._opened)
        return self._decoding

    def decode(self, table: Any, piece: int, first_row: int, begin: int, end: int) -> list[Piece]:
        """Return the rows begin..end of a piece, `first_row` being the file's row of its first. Raises `DataError`."""
        decoding, decoded, row = self.decoding(), [], 0
        for batch in _batches(table):
            low, high = max(begin - row, 0), min(end - row, batch.num_rows)
            if low < high:
                where = Where(self.file.path, "", self.name_of(piece), first_row + row + low)
                columns = decoding.columns_of(batch.slice(low, high - low), where)
                decoded.append(Piece(self.file.path, self.index, where.first_row, high - low, columns))
            row += batch.num_rows
        return decoded

    def close(self) -> None:
        self._closing.close()


def read_rows(source: Source, first_row: int) -> Generator[Piece, None, None]:
    """Yield the rows of the only file of `source` from `first_row` on, a piece at a time, decoded when asked for."""
    with closing(FileReader(source, 0)) as reader:
        row = 0
        for piece, table in _all_tables(reader):
            num_rows = table.num_rows if table is not None else reader.rows_of(piece, row) or 0
            if row + num_rows > first_row:
                begin = max(0, first_row - row)
                yield from reader.decode(table if table is not None else reader.read(piece, row), piece, row, begin, num_rows)
            row += num_rows
        require_unchanged(reader.file)
    if row < first_row:
        raise StaleError(
            f"{reader.file.path}: the saved position is row {first_row}, but the file has {row}; the state belongs to another file"
        )


def _all_tables(reader: FileReader) -> Iterator[tuple[int, Any | None]]:
    """Yield the number of every piece, with its table where the file is read in order."""
    if reader.in_order:
        yield from ((piece, table) for piece, _, table in reader.tables())
    else:
        yield from ((piece, None) for piece in range(len(reader.piece_rows())))


def _known_rows(file: SourceFile, opened: Opened) -> list[int]:
    rows, first_row = [], 0
    for piece in range(opened.file.num_pieces or 0):
        num_rows = _rows_of(file, opened, piece, first_row)
        assert num_rows is not None, "formats that know their pieces know their rows"
        rows.append(num_rows)
        first_row += num_rows
    return rows


def _has_rows(file: SourceFile, opened: Opened) -> bool:
    """Whether a file just opened holds a row; where lengths are unknown it is read up to the first."""
    names = list(opened.file.types.of_column)[:1]
    for piece in _piece_numbers(opened):
        rows = _rows_of(file, opened, piece, 0)
        if rows is None:
            table = _read_piece(file, opened, piece, 0, names)
            if table is None:
                return False
            rows = table.num_rows
        if rows:
            return True
    return False


def _piece_numbers(opened: Opened) -> Iterable[int]:
    num_pieces = opened.file.num_pieces
    return itertools.count() if num_pieces is None else range(num_pieces)


def _rows_of(file: SourceFile, opened: Opened, piece: int, row: int) -> int | None:
    with _damage(file, f"{_named(opened, piece)} (from row {row}) cannot be found"):
        return opened.file.rows_of(piece)


def _read_piece(file: SourceFile, opened: Opened, piece: int, row: int, names: Sequence[str]) -> Any | None:
    with _damage(file, f"{_named(opened, piece)} (from row {row}) cannot be decoded"):
        table = opened.file.read(piece, names)
        if table is None:
            return None
        table.validate()
        if set(table.schema.names) != set(names):
            raise ValueError(f"columns {table.schema.names} came back")
        rows = opened.file.rows_of(piece)
        if rows is not None and rows != table.num_rows:
            raise ValueError(f"{table.num_rows} rows came where the file announces {rows}")
        return table


def _batches(table: Any) -> list[Any]:
    """Return a table as record batches: its chunks, usually one."""
    return table.to_batches() if hasattr(table, "to_batches") else [table]


def _named(opened: Opened, piece: int) -> str:
    return f"{opened.format.piece} {piece}"


@contextmanager
def _damage(file: SourceFile, what: str) -> Iterator[None]:
    """Turn any exception into a `DataError` that says what cannot be done with the file, or that it was changed."""
    try:
        yield
    except FormatError as error:
        require_unchanged(file)
        raise DataError(f"{file.path}: {what}: {error}") from error
    except Exception as error:
        require_unchanged(file)
        reason = first_line(error)
        raise DataError(f"{file.path}: {what} ({reason}); the file is damaged, write or copy it again") from error
