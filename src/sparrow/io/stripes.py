"""ORC files, stripe by stripe: open, check, decode. The only module that meets pyarrow's ORC reader."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import orc

from sparrow.errors import DataError
from sparrow.io.decode import Where, decode
from sparrow.io.files import SourceFile
from sparrow.io.plan import ColumnPlan, FileTypes, plan_columns, replan
from sparrow.types import Column, ColumnSpec

_MAGIC = b"ORC"
# What a file that is not ORC turns out to be, by its first bytes.
_OTHER_FORMATS = {b"PAR1": "a Parquet file", b"ARROW1": "an Arrow IPC file", b"\x1f\x8b": "gzip data", b"PK\x03\x04": "a zip archive"}


class Position(NamedTuple):
    """The next row to read: a place in the list of files, and a row of that file. `(number of files, 0)` is the end."""

    file: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Stripe:
    """Decoded rows of one stripe.

    path, first_row, num_rows: the rows of the file these are.
    after:   where reading continues once `num_rows` are consumed.
    file:    place of the file in the list.
    columns: name -> column of `num_rows` rows.
    """

    path: str
    file: int
    first_row: int
    num_rows: int
    after: Position
    columns: dict[str, Column]


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: files, the columns asked for, and what they become in the first file that has rows."""

    files: tuple[SourceFile, ...]
    specs: tuple[ColumnSpec, ...]
    plans: tuple[ColumnPlan, ...]
    first_path: str
    types: FileTypes

    @staticmethod
    def of(files: tuple[SourceFile, ...], specs: tuple[ColumnSpec, ...]) -> Source:
        """Plan the columns by the first file that has rows. Raises `DataError` where none has, or a column cannot be had."""
        for file in files:
            with open_orc(file) as opened:
                if opened.num_rows:
                    plans = plan_columns(specs, opened.types, file.path)
                    return Source(files, specs, plans, file.path, opened.types)
        others = f" and the other {len(files) - 1} files" if len(files) > 1 else ""
        raise DataError(f"{files[0].path}{others}: no rows at all; name files that hold some")


@dataclass(frozen=True, slots=True)
class OpenOrc:
    """An open ORC file: pyarrow's reader, and what its footer says."""

    reader: Any
    num_rows: int
    num_stripes: int
    types: FileTypes


@contextmanager
def open_orc(file: SourceFile) -> Iterator[OpenOrc]:
    """Give an open file, closed on leaving. Raises `DataError` saying what is wrong with it instead."""
    try:
        source = pa.OSFile(file.path)
    except FileNotFoundError:
        raise DataError(f"{file.path}: the file is gone since the dataset was made; put it back, or make the dataset anew") from None
    except OSError as error:
        raise DataError(f"{file.path}: cannot be opened ({_first_line(error)}); check the path and its permissions") from None
    with source:
        if source.size() != file.num_bytes:
            raise DataError(f"{file.path}: changed while in use, {file.num_bytes} bytes before, {source.size()} now; make the dataset anew")
        try:
            reader = orc.ORCFile(source)
            opened = OpenOrc(reader, reader.nrows, reader.nstripes, FileTypes.of(reader.schema))
        except Exception as error:
            raise DataError(f"{file.path}: {_diagnose(source, error)}") from error
        yield opened


def _diagnose(source: Any, error: Exception) -> str:
    num_bytes = source.size()
    if num_bytes == 0:
        return "the file is empty (0 bytes); write or copy it again"
    source.seek(0)
    head = source.read(8)
    for magic, found in _OTHER_FORMATS.items():
        if head.startswith(magic):
            return f"is {found}, expected ORC; convert it to ORC"
    if not head.startswith(_MAGIC):
        return f"is not an ORC file (it begins with {head!r}); name ORC files, or convert it"
    source.seek(max(0, num_bytes - 4))
    if source.read(3) != _MAGIC:
        return f"is truncated: it begins as an ORC file, but its end is missing after {num_bytes} bytes; write or copy it again"
    return f"is a damaged ORC file ({_first_line(error)}); write or copy it again"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def read_stripes(source: Source, start: Position) -> Generator[Stripe, None, None]:
    """Yield the rows from `start` on, a stripe at a time. Stripes are decoded when asked for, one file open at a time."""
    for index in range(start.file, len(source.files)):
        first_row = start.row if index == start.file else 0
        with open_orc(source.files[index]) as opened:
            yield from _read_file(source, index, opened, first_row)


def _read_file(source: Source, index: int, opened: OpenOrc, begin: int) -> Iterator[Stripe]:
    path, num_rows = source.files[index].path, opened.num_rows
    if begin > num_rows:
        raise DataError(f"{path}: the saved position is row {begin}, but the file has {num_rows}; the state belongs to another file")
    if begin == num_rows:
        return
    plans = source.plans if path == source.first_path else replan(source.specs, source.plans, source.first_path, opened.types, path)
    names = [plan.name for plan in plans]
    row = 0
    for stripe in range(opened.num_stripes):
        if row < begin and opened.num_stripes > 1:
            # A stripe tells its length only when decoded; one column is the cheapest way to ask.
            length = _read_stripe(opened.reader, path, stripe, row, names[:1]).num_rows
            if row + length <= begin:
                row += length
                continue
        arrays = _read_stripe(opened.reader, path, stripe, row, names)
        skip = max(0, begin - row)
        first, row = row + skip, row + arrays.num_rows
        if row > num_rows or skip > arrays.num_rows:
            break
        if skip:
            arrays = arrays.slice(skip)
        if arrays.num_rows:
            columns = {plan.name: decode(arrays.column(plan.name), plan, Where(path, plan.name, stripe, first)) for plan in plans}
            after = Position(index + 1, 0) if row == num_rows else Position(index, row)
            yield Stripe(path, index, first, arrays.num_rows, after, columns)
    if row != num_rows:
        raise DataError(
            f"{path}: its footer counts {num_rows} rows, its stripes another number; the file is damaged, write or copy it again"
        )


def _read_stripe(reader: Any, path: str, stripe: int, row: int, names: Sequence[str]) -> Any:
    try:
        arrays = reader.read_stripe(stripe, columns=list(names))
        arrays.validate()
        if set(arrays.schema.names) != set(names):
            raise ValueError(f"columns {arrays.schema.names} came back")
    except Exception as error:
        what = f"stripe {stripe} (from row {row}) cannot be decoded ({_first_line(error)})"
        raise DataError(f"{path}: {what}; the file is damaged, write or copy it again") from error
    return arrays
