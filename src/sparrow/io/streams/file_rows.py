"""The rows of one file: the only place where streams meet the readers of file formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sparrow.io.files import SourceFile
from sparrow.io.plan import ColumnPlan, plan_columns
from sparrow.io.stripes import Position, Source, open_orc, read_stripes
from sparrow.types import Column, ColumnSpec


class FileRows(NamedTuple):
    """Some rows of a file: `num_rows` from `first_row` on. is_last: it ends with them."""

    first_row: int
    num_rows: int
    columns: dict[str, Column]
    is_last: bool


def read_file(path: str, num_bytes: int, specs: Sequence[ColumnSpec], first_row: int) -> tuple[dict[str, str], Iterator[FileRows]]:
    """Return the shapes of the columns, in words, and an iterator over the rows from `first_row` on; ({}, none) for a file without rows.

    Raises `DataError` naming file, column and row for anything wrong, now or while iterating.
    """
    file = SourceFile(path, num_bytes)
    with open_orc(file) as opened:
        if opened.num_rows == 0:
            return {}, iter(())
        types = opened.types
    plans: tuple[ColumnPlan, ...] = plan_columns(specs, types, path)
    source = Source((file,), tuple(specs), plans, path, types)
    return {plan.name: plan.shape for plan in plans}, _rows(source, first_row)


def _rows(source: Source, first_row: int) -> Iterator[FileRows]:
    for stripe in read_stripes(source, Position(0, first_row)):
        yield FileRows(stripe.first_row, stripe.num_rows, stripe.columns, stripe.after.file == 1)
