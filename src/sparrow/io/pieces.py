"""Pieces of files as Arrow tables, and what they become: rows of columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparrow.errors import DataError
from sparrow.io.files import SourceFile
from sparrow.io.formats.format import FormatError
from sparrow.io.opening import Opened, first_line, require_unchanged
from sparrow.io.sent import Sent
from sparrow.io.unpack import Blocks
from sparrow.types import Column


class Piece:
    """Decoded rows of one piece of a file: a stripe, a row group, a record batch, a block.

    path, first_row, num_rows: the rows of the file these are.
    file:   place of the file in the list.
    blocks: the columns, many in one tensor; None where they lie one by one.
    rows:   int64 [num_rows], the file's rows these are, where a filter left some out; None: all from `first_row` on.
    sent:   columns on a device; None where they are on the host alone.
    """

    __slots__ = ("_columns", "blocks", "file", "first_row", "num_rows", "path", "rows", "sent")

    def __init__(
        self, path: str, file: int, first_row: int, num_rows: int, columns: Blocks | dict[str, Column], rows: Any | None = None
    ) -> None:
        self.path, self.file, self.first_row, self.num_rows, self.rows = path, file, first_row, num_rows, rows
        self.blocks = columns if isinstance(columns, Blocks) else None
        self._columns = None if isinstance(columns, Blocks) else columns
        self.sent: Sent | None = None

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


def known_rows(file: SourceFile, opened: Opened) -> list[int]:
    rows, first_row = [], 0
    for piece in range(opened.file.num_pieces or 0):
        num_rows = rows_of(file, opened, piece, first_row)
        assert num_rows is not None, "formats that know their pieces know their rows"
        rows.append(num_rows)
        first_row += num_rows
    return rows


def has_rows(file: SourceFile, opened: Opened) -> bool:
    """Whether a file just opened holds a row; where lengths are unknown it is read up to the first."""
    names = list(opened.file.types.of_column)[:1]
    for piece in piece_numbers(opened):
        rows = rows_of(file, opened, piece, 0)
        if rows is None:
            table = read_piece(file, opened, piece, 0, names)
            if table is None:
                return False
            rows = table.num_rows
        if rows:
            return True
    return False


def piece_numbers(opened: Opened) -> Iterable[int]:
    num_pieces = opened.file.num_pieces
    return itertools.count() if num_pieces is None else range(num_pieces)


def rows_of(file: SourceFile, opened: Opened, piece: int, row: int) -> int | None:
    with damage(file, f"{name_of(opened, piece)} (from row {row}) cannot be found"):
        return opened.file.rows_of(piece)


def read_piece(file: SourceFile, opened: Opened, piece: int, row: int, names: Sequence[str]) -> Any | None:
    with damage(file, f"{name_of(opened, piece)} (from row {row}) cannot be decoded"):
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


def batches_of(table: Any) -> list[Any]:
    """Return a table as record batches: its chunks, usually one."""
    return table.to_batches() if hasattr(table, "to_batches") else [table]


def name_of(opened: Opened, piece: int) -> str:
    return f"{opened.format.piece} {piece}"


@contextmanager
def damage(file: SourceFile, what: str) -> Iterator[None]:
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
