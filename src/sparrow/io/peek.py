"""A look at files: their first rows, and what their columns are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparrow.errors import DataError, did_you_mean
from sparrow.io.files import Paths, SourceFile, find_files
from sparrow.io.opening import Opened, open_file
from sparrow.io.partitions import values_of, with_keys
from sparrow.io.plan import plan_columns
from sparrow.types import ColumnSpec


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """A column: its Arrow type in the file, and what a `Dataset` makes of it unasked; or why it reads nothing from it."""

    name: str
    file_type: str
    becomes: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FilesSchema:
    """What files hold.

    num_rows, num_bytes: of all files; None where only reading to the end, or nobody, tells.
    num_pieces: stripes, row groups or the like, `piece` being the word for one; None where only reading tells.
    columns: of the first file. differences: how others differ from it, in words, a line each.
    """

    files: tuple[str, ...]
    format: str
    piece: str
    num_rows: int | None
    num_pieces: int | None
    num_bytes: int | None
    columns: tuple[ColumnSchema, ...]
    differences: tuple[str, ...]


def read_schema(paths: Paths) -> FilesSchema:
    """Return what the files hold. Raises `DataError` where one cannot be read. Cost: opens every file, decodes none."""
    files = find_files(paths)
    first: dict[str, str] = {}
    format_name, piece = "", ""
    columns: tuple[ColumnSchema, ...] = ()
    num_rows: int | None = 0
    num_pieces: int | None = 0
    differences: list[str] = []
    for index, file in enumerate(files):
        with open_file(file, None) as opened:
            types = _types_of(file, opened)
            if index == 0:
                first, format_name, piece = types, opened.format.name, opened.format.piece
                columns = tuple(_column_schema(file, opened, name) for name in types)
            else:
                differences += _differences(file.path, types, files[0].path, first)
            in_file = opened.file.num_pieces
            rows = [] if in_file is None else [opened.file.rows_of(one) for one in range(in_file)]
            num_pieces = None if num_pieces is None or in_file is None else num_pieces + in_file
            num_rows = None if num_rows is None or in_file is None or None in rows else num_rows + sum(row or 0 for row in rows)
    sizes = [file.num_bytes for file in files]
    num_bytes = None if None in sizes else sum(size or 0 for size in sizes)
    return FilesSchema(tuple(file.path for file in files), format_name, piece, num_rows, num_pieces, num_bytes, columns, tuple(differences))


def _types_of(file: SourceFile, opened: Opened) -> dict[str, str]:
    types = with_keys(opened.file.types, values_of(file.place.path, file.path, opened.file.types, ()))
    return {name: " ".join(str(one).split()) for name, one in types.of_column.items()}


def _column_schema(file: SourceFile, opened: Opened, name: str) -> ColumnSchema:
    types = with_keys(opened.file.types, values_of(file.place.path, file.path, opened.file.types, ()))
    file_type = " ".join(str(types.of_column[name]).split())
    try:
        (plan,) = plan_columns([ColumnSpec(name)], types, file.path)
    except DataError as error:
        return ColumnSchema(name, file_type, "nothing", str(error).removeprefix(f"{file.path}: "))
    return ColumnSchema(name, file_type, plan.shape)


def _differences(path: str, types: dict[str, str], first_path: str, first: dict[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*first, *types]):
        if name not in types:
            yield f"{path}: no column {name!r}, which {first_path} has"
        elif name not in first:
            yield f"{path}: column {name!r}, which {first_path} does not have"
        elif types[name] != first[name]:
            yield f"{path}: column {name!r} has type {types[name]}, {first[name]} in {first_path}"


def read_head(paths: Paths, num_rows: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the first rows as Python values, strings as `bytes`, nulls as None.

    columns: names, all by default. Raises `DataError` for an unknown column, and where a file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for file in find_files(paths):
        if len(rows) >= num_rows:
            break
        with open_file(file, None) as opened:
            known = list(opened.file.types.of_column)
            keys = {name: value.as_py().encode() for name, value in values_of(file.place.path, file.path, opened.file.types, ()).items()}
            wanted = list(columns or [*known, *keys])
            for name in wanted:
                if name not in known and name not in keys:
                    raise DataError(f"{file.path}: no column {name!r}{did_you_mean(name, [*known, *keys])}")
                if name in opened.file.types.repeated:
                    raise DataError(f"{file.path}: column {name!r} stands there more than once; write the file with distinct names")
            for row in itertools.islice(_rows_of(file, opened, [name for name in wanted if name in known]), num_rows - len(rows)):
                rows.append({name: row[name] if name in row else keys[name] for name in wanted})
    return rows


def _rows_of(file: SourceFile, opened: Opened, names: list[str]) -> Iterator[dict[str, Any]]:
    for piece in itertools.count():
        if opened.file.num_pieces is not None and piece >= opened.file.num_pieces:
            return
        try:
            # Where only partition keys are asked for, any column tells the number of rows.
            table = opened.file.read(piece, names or list(opened.file.types.of_column)[:1])
        except Exception as error:
            what = f"{opened.format.piece} {piece} cannot be decoded ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            raise DataError(f"{file.path}: {what}; the file is damaged, write or copy it again") from error
        if table is None:
            return
        batches = table.to_batches() if isinstance(table, pa.Table) else [table]
        for batch in batches:
            for first in range(0, batch.num_rows, 256):
                part = batch.slice(first, 256)
                values = {name: _as_bytes(part.column(name)).to_pylist() for name in names}
                yield from ({name: values[name][row] for name in names} for row in range(part.num_rows))


def _as_bytes(array: Any) -> Any:
    """Return an array whose strings are bytes: those of a file need not be valid."""
    return array.cast(_type_as_bytes(array.type), safe=False)


def _type_as_bytes(type: Any) -> Any:
    if pa.types.is_string(type):
        return pa.binary()
    if pa.types.is_large_string(type):
        return pa.large_binary()
    if pa.types.is_dictionary(type):
        return _type_as_bytes(type.value_type)
    if pa.types.is_list(type):
        return pa.list_(_type_as_bytes(type.value_type))
    if pa.types.is_large_list(type):
        return pa.large_list(_type_as_bytes(type.value_type))
    if pa.types.is_struct(type):
        return pa.struct([(field.name, _type_as_bytes(field.type)) for field in type])
    return type
