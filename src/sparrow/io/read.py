"""Files, piece by piece: open, check, decode."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from sparrow.errors import DataError
from sparrow.io.decode import Where, decode
from sparrow.io.files import SourceFile
from sparrow.io.formats.format import FileTypes, Format, FormatError
from sparrow.io.opening import Opened, StaleError, first_line, open_file, require_unchanged
from sparrow.io.partitions import values_of, with_keys
from sparrow.io.plan import ColumnPlan, plan_columns, replan
from sparrow.io.skipped import SkipLog
from sparrow.types import Column, ColumnSpec


class Position(NamedTuple):
    """The next row to read: a place in the list of files, and a row of that file. `(number of files, 0)` is the end."""

    file: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Decoded rows of one piece of a file: a stripe, a row group, a record batch, a block.

    path, first_row, num_rows: the rows of the file these are.
    file:    place of the file in the list.
    columns: name -> column of `num_rows` rows.
    """

    path: str
    file: int
    first_row: int
    num_rows: int
    columns: dict[str, Column]


@dataclass(frozen=True, slots=True)
class _Decoding:
    """How the columns of one file are made: a plan each, the columns to read from it, and the values of its partition keys."""

    plans: tuple[ColumnPlan, ...]
    names: list[str]
    values: dict[str, Any]

    def columns_of(self, batch: Any, where: Where) -> dict[str, Column]:
        """Decode a record batch, the first row of which is `where.first_row`."""
        return {plan.name: decode(self._array(batch, plan.name), plan, replace(where, column=plan.name)) for plan in self.plans}

    def _array(self, batch: Any, name: str) -> Any:
        value = self.values.get(name)
        return batch.column(name) if value is None else pa.repeat(value, batch.num_rows)


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: files, the columns asked for, and what they become in the first file that has rows.

    format: of all files; None where the first bytes of each decide.
    skips:  where to note what cannot be read; None makes it an error.
    """

    files: tuple[SourceFile, ...]
    specs: tuple[ColumnSpec, ...]
    format: Format | None
    skips: SkipLog | None
    plans: tuple[ColumnPlan, ...]
    first_path: str
    types: FileTypes

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
            raise _nothing_left(skips)
        others = f" and the other {len(files) - 1} files" if len(files) > 1 else ""
        raise DataError(f"{files[0].path}{others}: no rows at all; name files that hold some")

    @property
    def schema(self) -> FileTypes:
        """The columns of the first file that has rows, and its partition keys."""
        first = next(file for file in self.files if file.path == self.first_path)
        return with_keys(self.types, values_of(first.place.path, first.path, self.types, self.specs))

    def decoding_of(self, file: SourceFile, opened: Opened) -> _Decoding:
        """Return how the columns of an open file are decoded. Raises `DataError` where one would come out otherwise than in the first."""
        values = values_of(file.place.path, file.path, opened.file.types, self.specs)
        plans = self.plans
        if file.path != self.first_path:
            plans = replan(self.specs, plans, self.first_path, with_keys(opened.file.types, values), file.path)
        names = [plan.name for plan in plans if plan.name not in values]
        # Where only partition keys are read, any column tells the number of rows.
        return _Decoding(plans, names or list(opened.file.types.of_column)[:1], values)

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


def _nothing_left(skips: SkipLog) -> DataError:
    first = skips.found[0]
    place = first.path if first.piece is None else f"{first.path}, {first.piece}"
    return DataError(f"{place}: {first.reason}; nothing is left to read, {len(skips.found)} files and pieces were left out like this one")


def read_pieces(source: Source, start: Position) -> Generator[Piece, None, None]:
    """Yield the rows from `start` on, a piece at a time. Pieces are decoded when asked for, one file open at a time."""
    is_empty = True
    for index in range(start.file, len(source.files)):
        with skipping(source.files[index], source.skips):
            for piece in _read_file(source, index, start.row if index == start.file else 0):
                is_empty = False
                yield piece
                del piece
    if is_empty and start == (0, 0) and source.skips is not None:
        raise _nothing_left(source.skips)


def _read_file(source: Source, index: int, begin: int) -> Iterator[Piece]:
    file, skips = source.files[index], source.skips
    with open_file(file, source.format, source.types) as opened:
        decoding: _Decoding | None = None
        row = 0
        for piece in _piece_numbers(opened):
            rows = _rows_of(file, opened, piece, row)
            if rows is not None and row + rows <= begin:
                row += rows
                continue
            # Only now: a file without rows may have any columns.
            decoding = decoding or source.decoding_of(file, opened)
            try:
                decoded, num_rows = _decode_piece(index, file, opened, decoding, piece, row, begin)
            except StaleError:
                raise
            except DataError as error:
                lost = None if skips is None else _rows_of(file, opened, piece, row)
                if skips is None:
                    raise
                if lost is None:
                    skips.add(file.path, f"{_named(opened, piece)} and what follows", error)
                    return
                skips.add(file.path, _named(opened, piece), error, lost)
                row += lost
                continue
            if decoded is None:
                break
            yield from decoded
            row += num_rows
            del decoded
        require_unchanged(file)
    if row < begin:
        raise StaleError(f"{file.path}: the saved position is row {begin}, but the file has {row}; the state belongs to another file")


def _decode_piece(
    index: int, file: SourceFile, opened: Opened, decoding: _Decoding, piece: int, row: int, begin: int
) -> tuple[list[Piece] | None, int]:
    """Return the rows from `begin` on of a piece whose first is `row`, and how many rows it has. Returns None after the last piece."""
    table = _read_piece(file, opened, piece, row, decoding.names)
    if table is None:
        return None, 0
    decoded, end = [], row
    for batch in _batches(table):
        skip = max(0, begin - end)
        if skip < batch.num_rows:
            where = Where(file.path, "", _named(opened, piece), end + skip)
            columns = decoding.columns_of(batch.slice(skip), where)
            decoded.append(Piece(file.path, index, end + skip, batch.num_rows - skip, columns))
        end += batch.num_rows
    return decoded, end - row


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
