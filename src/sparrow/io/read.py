"""Files of a dataset, piece by piece: open, check, decode."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, final

from sparrow.errors import DataError
from sparrow.io.decode import Where
from sparrow.io.opening import StaleError, open_file, require_unchanged
from sparrow.io.pieces import Piece, batches_of, known_rows, read_piece, rows_of
from sparrow.io.source import Decoding, Source


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
        self._decoding: Decoding | None = None
        self.in_order = self._opened.file.num_pieces is None

    def name_of(self, piece: int) -> str:
        """Return a piece in words, such as "stripe 3"."""
        return f"{self._opened.format.piece} {piece}"

    def rows_of(self, piece: int, first_row: int) -> int | None:
        """Return the rows of a piece; where `in_order`, of the last that was asked for, None where unknown. Raises `DataError`."""
        return rows_of(self.file, self._opened, piece, first_row)

    def piece_rows(self) -> list[int]:
        """Return the rows of every piece. Where `in_order` the file is read through, up to a damaged piece of unknown length.

        Nothing can be read from such a file then. Raises `DataError` where damage is an error.
        """
        if self._opened.file.num_pieces is not None:
            return known_rows(self.file, self._opened)
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
                table = read_piece(self.file, self._opened, piece, row, names)
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
        table = read_piece(self.file, self._opened, piece, first_row, self.decoding().names)
        assert table is not None, "the piece was listed"
        return table

    def require_unchanged(self, piece: int) -> None:
        """Raise `StaleError` where the file was written to; of a remote file only its last piece asks, which costs a round trip."""
        if self.file.place.is_local or piece + 1 == self._opened.file.num_pieces:
            require_unchanged(self.file)

    def decoding(self) -> Decoding:
        """Return how columns are made, found once. Raises `DataError` where one would come out otherwise than in the first file."""
        # Not before a piece is read: a file without rows may have any columns.
        if self._decoding is None:
            self._decoding = self._source.decoding_of(self.file, self._opened)
        return self._decoding

    def decode(self, table: Any, piece: int, first_row: int, begin: int, end: int) -> list[Piece]:
        """Return the rows begin..end of a piece, `first_row` being the file's row of its first. Raises `DataError`."""
        decoding, decoded, row = self.decoding(), [], 0
        for batch in batches_of(table):
            low, high = max(begin - row, 0), min(end - row, batch.num_rows)
            if low < high:
                where = Where(self.file.path, "", self.name_of(piece), first_row + row + low)
                columns, kept = decoding.columns_of(batch.slice(low, high - low), where)
                if kept is None:
                    decoded.append(Piece(self.file.path, self.index, where.first_row, high - low, columns))
                elif len(kept):
                    decoded.append(Piece(self.file.path, self.index, where.first_row, len(kept), columns, kept + where.first_row))
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


def some_piece(source: Source) -> Piece:
    """Return some rows of the first file that has any. Raises `DataError` where they cannot be read."""
    index = next(index for index, file in enumerate(source.files) if file.path == source.first_path)
    with closing(FileReader(source, index)) as reader:
        for number, table in _all_tables(reader):
            rows = reader.rows_of(number, 0) if table is None else table.num_rows
            if rows:
                return reader.decode(reader.read(number, 0) if table is None else table, number, 0, 0, rows)[0]
    raise DataError(f"{source.first_path}: no rows to fill a batch with")
