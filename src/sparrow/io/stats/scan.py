"""Files scanned for what their columns hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparrow.errors import DataError, did_you_mean
from sparrow.io.files import Paths, SourceFile, find_files
from sparrow.io.opening import Opened, open_file
from sparrow.io.partitions import values_of, with_keys
from sparrow.io.pieces import batches_of, read_piece
from sparrow.io.stats.columns import ColumnStats


@dataclass(frozen=True, slots=True)
class FilesStats:
    """What files hold. num_rows: those scanned; is_whole: that is all of them."""

    files: tuple[str, ...]
    num_rows: int
    is_whole: bool
    columns: tuple[ColumnStats, ...]

    def summary(self) -> dict[str, Any]:
        """Return the numbers, JSON-able."""
        columns = {column.name: column.summary() for column in self.columns}
        return {"files": list(self.files), "rows": self.num_rows, "whole": self.is_whole, "columns": columns}


def scan(
    paths: Paths, columns: Sequence[str] | None = None, max_rows: int | None = None, progress: Callable[[int], None] | None = None
) -> FilesStats:
    """Return statistics of files.

    columns: names, all of the first file by default. max_rows: where to stop. progress: called with the number of rows so far.
    Raises `DataError` for an unknown column, one of another type than in the first file, and where a file cannot be read.
    """
    files = find_files(paths)
    stats: dict[str, ColumnStats] = {}
    num_rows, is_whole = 0, True
    for file in files:
        with open_file(file, None) as opened:
            values = values_of(file.place.path, file.path, opened.file.types, ())
            types = with_keys(opened.file.types, values).of_column
            if not stats:
                stats = {name: ColumnStats(name, _text(types, name, file)) for name in columns or types}
            _check(stats, types, opened, file)
            names = [name for name in stats if name not in values] or list(opened.file.types.of_column)[:1]
            for batch in _batches(file, opened, names):
                if max_rows is not None and num_rows + batch.num_rows > max_rows:
                    batch, is_whole = batch.slice(0, max_rows - num_rows), False
                for name, column in stats.items():
                    column.update(pa.repeat(values[name], batch.num_rows) if name in values else batch.column(name))
                num_rows += batch.num_rows
                if progress is not None:
                    progress(num_rows)
                if not is_whole:
                    return FilesStats(tuple(one.path for one in files), num_rows, is_whole, tuple(stats.values()))
    return FilesStats(tuple(file.path for file in files), num_rows, is_whole, tuple(stats.values()))


def _text(types: dict[str, Any], name: str, file: SourceFile) -> str:
    if name not in types:
        raise DataError(f"{file.path}: no column {name!r}{did_you_mean(name, types)}")
    return " ".join(str(types[name]).split())


def _check(stats: dict[str, ColumnStats], types: dict[str, Any], opened: Opened, file: SourceFile) -> None:
    for name, column in stats.items():
        if name in opened.file.types.repeated:
            raise DataError(f"{file.path}: column {name!r} stands there more than once; write the file with distinct names")
        file_type = _text(types, name, file)
        if file_type != column.file_type:
            raise DataError(f"{file.path}: column {name!r} has type {file_type}, but {column.file_type} in the first file; scan them apart")


def _batches(file: SourceFile, opened: Opened, names: list[str]) -> Iterator[Any]:
    pieces = itertools.count() if opened.file.num_pieces is None else range(opened.file.num_pieces)
    row = 0
    for piece in pieces:
        table = read_piece(file, opened, piece, row, names)
        if table is None:
            return
        row += table.num_rows
        yield from batches_of(table)
