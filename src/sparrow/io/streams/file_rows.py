"""The rows of one file: the only place where streams meet the readers of file formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pyarrow import fs

from sparrow.errors import DataError
from sparrow.io.files import SourceFile
from sparrow.io.filesystems import Place
from sparrow.io.opening import StaleError, open_file
from sparrow.io.pieces import Piece
from sparrow.io.read import read_rows
from sparrow.io.row_work import RowWork, WorkError
from sparrow.io.source import Source
from sparrow.types import ColumnSpec


class FileRows(NamedTuple):
    """Some rows of a file. is_last: it ends with them."""

    piece: Piece
    is_last: bool


def read_file(
    place: Place, num_bytes: int, specs: Sequence[ColumnSpec], first_row: int, work: RowWork | None = None
) -> tuple[dict[str, str], Iterator[FileRows]]:
    """Return the shapes of the columns, in words, and an iterator over the rows from `first_row` on; ({}, none) for a file without rows.

    work: what a user does to the rows; those it leaves out do not come. Raises `DataError` naming file, column and row for anything wrong,
    now or while iterating, `WorkError` for what is wrong with the user's functions.
    """
    file = _found(place, num_bytes)
    with open_file(file, None) as opened:
        if opened.file.count_rows() == 0:
            return {}, iter(())
    source = Source.of((file,), tuple(specs), None, None, work)
    return {plan.name: plan.shape for plan in source.plans}, _rows(source, first_row)


def _found(place: Place, num_bytes: int) -> SourceFile:
    info = place.info()
    if info.type == fs.FileType.NotFound:
        raise DataError(f"{place.shown}: the file is gone since it was found; put it back, or leave files alone once they have landed")
    if info.size != num_bytes:
        raise StaleError(f"{place.shown}: changed while in use, {num_bytes} bytes before, {info.size} now; files must land whole")
    return SourceFile(place, place.path.rpartition("/")[2], info.size, info.mtime_ns)


def _rows(source: Source, first_row: int) -> Iterator[FileRows]:
    # One piece is held back: only the next tells whether it was the last.
    held: FileRows | None = None
    try:
        for piece in read_rows(source, first_row):
            if held is not None:
                yield held
            held = FileRows(piece, False)
            del piece
    except (StaleError, WorkError):
        raise
    except DataError:
        # What was read before the damage is whole.
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held._replace(is_last=True)
