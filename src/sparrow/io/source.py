"""What a dataset reads: files, the columns asked for, and what they become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from sparrow.errors import DataError
from sparrow.io.decode import Where, decode
from sparrow.io.files import SourceFile
from sparrow.io.formats.format import FileTypes, Format
from sparrow.io.opening import Opened, StaleError, open_file
from sparrow.io.partitions import values_of, with_keys
from sparrow.io.pieces import damage, has_rows
from sparrow.io.plan import ColumnPlan, plan_columns, replan
from sparrow.io.row_work import RowWork, WorkError, error_of_columns
from sparrow.io.skipped import SkipLog
from sparrow.io.unpack import Blocks, Unpacking, unpacking_of
from sparrow.types import Column, ColumnSpec


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the columns of one file are made: a plan each, the columns to read from it, and the values of its partition keys.

    recent: of the source: how record batches of the schema that came last are unpacked.
    work:   what a user does to rows first.
    """

    plans: tuple[ColumnPlan, ...]
    names: list[str]
    values: dict[str, Any]
    recent: list[Unpacking]
    work: RowWork | None

    def columns_of(self, batch: Any, where: Where) -> tuple[Blocks | dict[str, Column], Any | None]:
        """Decode a record batch, the first row of which is `where.first_row`; return the columns, and which rows they are, None for all.

        Raises `DataError` for the first column that is wrong.
        """
        kept = None
        if self.work is not None:
            for name, value in self.values.items():
                batch = batch.append_column(name, pa.repeat(value, batch.num_rows))
            num_rows = batch.num_rows
            batch, kept = self.work.apply(batch, self.plans, f"{where.path}: {where.piece}")
            if kept is not None:
                self.work.num_filtered.add(num_rows - len(kept))
                where = replace(where, rows=kept)
        unpacking = self.recent[0] if self.recent else None
        if unpacking is None or unpacking.plans is not self.plans or not unpacking.schema.equals(batch.schema):
            unpacking = unpacking_of(batch.schema, self.plans)
            self.recent[:] = [unpacking]
        of_name = {plan.name: plan for plan in self.plans}
        return unpacking.unpack(batch, lambda name: decode(self._array(batch, name), of_name[name], replace(where, column=name))), kept

    def _array(self, batch: Any, name: str) -> Any:
        value = self.values.get(name) if self.work is None else None
        return batch.column(name) if value is None else pa.repeat(value, batch.num_rows)


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: files, the columns asked for, and what they become in the first file that has rows.

    format: of all files; None where the first bytes of each decide.
    skips:  where to note what cannot be read; None makes it an error.
    work:   what a user does to rows before they become tensors.
    recent: how record batches were unpacked last, most files being alike.
    """

    files: tuple[SourceFile, ...]
    specs: tuple[ColumnSpec, ...]
    format: Format | None
    skips: SkipLog | None
    plans: tuple[ColumnPlan, ...]
    first_path: str
    types: FileTypes
    work: RowWork | None = None
    recent: list[Unpacking] = field(default_factory=list)

    @staticmethod
    def of(
        files: tuple[SourceFile, ...],
        specs: tuple[ColumnSpec, ...],
        wanted: Format | None,
        skips: SkipLog | None,
        work: RowWork | None = None,
    ) -> Source:
        """Plan the columns by the first file that has rows. Raises `DataError` where none has, or a column cannot be had."""
        for file in files:
            with skipping(file, skips), open_file(file, wanted) as opened:
                if has_rows(file, opened):
                    values = values_of(file.place.path, file.path, opened.file.types, specs)
                    plans = _plans_of(with_keys(opened.file.types, values), specs, work, file.path)
                    return Source(files, specs, wanted, skips, plans, file.path, opened.file.types, work)
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

    def decoding_of(self, file: SourceFile, opened: Opened) -> Decoding:
        """Return how the columns of an open file are decoded. Raises `DataError` where one would come out otherwise than in the first."""
        in_file = opened.file.types
        values = values_of(file.place.path, file.path, in_file, self.specs)
        plans = self.plans
        if file.path != self.first_path:
            types = with_keys(in_file, values)
            if self.work is not None:
                types = self.work.types_after(types, self.work.reads([spec.name for spec in self.specs], types, file.path), file.path)
            try:
                plans = replan(self.specs, plans, self.first_path, types, file.path)
            except DataError as error:
                raise error_of_columns(self.work)(str(error)) from None
        if self.work is None:
            names = [plan.name for plan in plans if plan.name not in values]
        else:
            names = [
                name
                for name in self.work.reads([spec.name for spec in self.specs], with_keys(in_file, values), file.path)
                if name not in values
            ]
        # Where only partition keys are read, any column tells the number of rows.
        return Decoding(plans, names or list(in_file.of_column)[:1], values, self.recent, self.work)

    def num_rows_of(self, file: SourceFile) -> int:
        """Return the number of rows of a file, 0 where it is left out. Raises `DataError` where it cannot be read."""
        with skipping(file, self.skips), open_file(file, self.format, self.types) as opened, damage(file, "its rows cannot be counted"):
            return opened.file.count_rows()
        return 0


def _plans_of(types: FileTypes, specs: Sequence[ColumnSpec], work: RowWork | None, path: str) -> tuple[ColumnPlan, ...]:
    """Return what a file's columns become, or what a user makes of those that are read."""
    if work is None:
        return plan_columns(specs, types, path)
    return work.plans(specs, types, work.reads([spec.name for spec in specs], types, path), path)


@contextmanager
def skipping(file: SourceFile, skips: SkipLog | None) -> Iterator[None]:
    """Note a file that cannot be read in `skips` and go on behind it.

    Raise where `skips` is None, the file was changed, or a user's function is to blame.
    """
    try:
        yield
    except (StaleError, WorkError):
        raise
    except DataError as error:
        if skips is None:
            raise
        skips.add(file.path, None, error)


def nothing_left(skips: SkipLog) -> DataError:
    first = skips.found[0]
    place = first.path if first.piece is None else f"{first.path}, {first.piece}"
    return DataError(f"{place}: {first.reason}; nothing is left to read, {len(skips.found)} files and pieces were left out like this one")
