"""What a user does to rows between the file and the tensors: leave some out, make columns of others. It runs in the reader threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.io.formats.format import FileTypes
from sparrow.io.plan import ColumnPlan, plan_columns
from sparrow.types import ColumnSpec

# A filter: an expression of `pyarrow.compute`, or a function that returns a truth value a row (Arrow, NumPy or torch).
Filter = Any
Transform = Callable[[Any], Any]

_NUMBER = "__row_number__"


class WorkError(DataError):
    """A user's function failed, or returned what it must not. The rows are not to blame, so they are never left out for it."""


def error_of_columns(work: RowWork | None) -> type[DataError]:
    """Return what columns are that come out otherwise than before: the transform's fault where there is one, for it is what makes them."""
    return DataError if work is None or work.transform is None else WorkError


class Count:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, number: int) -> None:
        with self._lock:
            self.value += number


@dataclass(frozen=True, slots=True)
class RowWork:
    """where, transform, also_read: as `Dataset` takes them. num_filtered: rows left out so far."""

    where: Filter | None
    transform: Transform | None
    also_read: tuple[str, ...]
    num_filtered: Count = field(default_factory=Count)

    @staticmethod
    def of(where: Filter | None, transform: Transform | None, also_read: Sequence[str]) -> RowWork | None:
        """Return the work, None where there is none. Raises `ConfigError` for what can do none."""
        if where is not None and not isinstance(where, pc.Expression) and not callable(where):
            raise ConfigError(f"where is {where!r}; give an expression of pyarrow.compute, or a function of a record batch")
        if transform is not None and not callable(transform):
            raise ConfigError(f"transform is {transform!r}; give a function of a record batch that returns one")
        if isinstance(also_read, str) or not all(isinstance(name, str) for name in also_read):
            raise ConfigError(f"also_read is {also_read!r}; give a list of column names")
        if where is None and transform is None:
            if also_read:
                raise ConfigError("also_read names columns for where= or transform=, and neither is given; leave it out, or add to columns")
            return None
        return RowWork(where, transform, tuple(also_read))

    def reads(self, wanted: Sequence[str], types: FileTypes, path: str) -> list[str]:
        """Return the columns of a file that are read: those wanted that it has, and `also_read`. Raises `DataError` for one it lacks."""
        for name in self.also_read:
            if name not in types.of_column:
                raise DataError(f"{path}: no column {name!r}, which also_read names{did_you_mean(name, types.of_column)}")
        return [name for name in dict.fromkeys([*wanted, *self.also_read]) if name in types.of_column]

    def types_after(self, types: FileTypes, names: Sequence[str], path: str) -> FileTypes:
        """Return the columns after the transform, which is shown a batch of no rows for it."""
        if self.transform is None:
            return types
        schema = pa.schema([(name, types.of_column[name]) for name in names])
        after = self._transformed(
            pa.RecordBatch.from_arrays([pa.array([], one) for one in schema.types], schema=schema), f"{path}: no rows"
        )
        made = FileTypes.of(after.schema)
        return FileTypes(made.of_column, types.repeated | made.repeated, " (as transform= returns them)")

    def plans(self, specs: Sequence[ColumnSpec], types: FileTypes, names: Sequence[str], path: str) -> tuple[ColumnPlan, ...]:
        """Return what the columns become that there are after the transform. names: of the columns read.

        Raises `DataError` where a column cannot be had, `WorkError` where the transform should have made it.
        """
        types = self.types_after(types, names, path)
        try:
            return plan_columns(specs, types, path)
        except DataError as error:
            raise error_of_columns(self)(str(error)) from None

    def apply(self, batch: Any, plans: Sequence[ColumnPlan], where: str) -> tuple[Any, Any | None]:
        """Return what becomes of a record batch, and which of its rows are left, int64; None for all.

        plans: of the columns after it. where: for messages. Raises `WorkError`.
        """
        kept = None if self.where is None else self._kept(batch, where)
        if kept is not None and len(kept) == batch.num_rows:
            kept = None
        if kept is not None:
            batch = batch.take(pa.array(kept))
        if self.transform is None:
            return batch, kept
        after = self._transformed(batch, where)
        _require_types(after, plans, where)
        return after, kept

    def _kept(self, batch: Any, where: str) -> Any:
        try:
            if isinstance(self.where, pc.Expression):
                numbered = pa.Table.from_batches([batch]).append_column(_NUMBER, pa.array(np.arange(batch.num_rows)))
                return numbered.filter(self.where).column(_NUMBER).to_numpy()
            assert self.where is not None
            truth = self.where(batch)
            if isinstance(truth, pa.ChunkedArray):
                truth = truth.combine_chunks()
            if isinstance(truth, pa.Array):
                truth = truth.fill_null(False).to_numpy(zero_copy_only=False)  # a null is not true
            truth = np.asarray(truth)
        except Exception as error:
            raise WorkError(
                f"{where}: where= failed ({_first_line(error)}); it must work on any record batch of the columns read, "
                "to which also_read= adds"
            ) from error
        if truth.dtype != np.bool_ or truth.shape != (batch.num_rows,):
            raise WorkError(
                f"{where}: where= returned {truth.dtype} of shape {list(truth.shape)}; "
                f"expected a truth value for each of {batch.num_rows} rows"
            )
        return np.flatnonzero(truth)

    def _transformed(self, batch: Any, where: str) -> Any:
        assert self.transform is not None
        try:
            after = self.transform(batch)
            if isinstance(after, pa.RecordBatch | pa.Table):
                after.validate()
        except Exception as error:
            raise WorkError(
                f"{where}: transform= failed ({_first_line(error)}); it must work on any record batch of the columns "
                "read, to which also_read= adds, an empty one too"
            ) from error
        if isinstance(after, pa.Table):
            after = after.combine_chunks().to_batches()[0] if after.num_rows else _no_rows(after.schema)
        if not isinstance(after, pa.RecordBatch):
            raise WorkError(f"{where}: transform= returned {type(after).__name__}; expected a pyarrow.RecordBatch or Table")
        if after.num_rows != batch.num_rows:
            raise WorkError(
                f"{where}: transform= made {after.num_rows} rows of {batch.num_rows}; it must keep the rows: leave some out with where="
            )
        return after


def _require_types(after: Any, plans: Sequence[ColumnPlan], where: str) -> None:
    """Raise `WorkError` where a transform made other columns than it said when it was shown no rows."""
    for plan in plans:
        place = after.schema.get_field_index(plan.name)
        found = "none of that name, or several" if place < 0 else f"one of type {after.schema.field(place).type}"
        if place < 0 or after.schema.field(place).type != plan.file_type:
            raise WorkError(
                f"{where}: transform= made column {plan.name!r} of type {plan.file_type} of no rows, and here {found}; it must make "
                "the same columns of any rows: say the types, as in pa.array(..., type=)"
            )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}".rstrip(": ")


def _no_rows(schema: Any) -> Any:
    return pa.RecordBatch.from_arrays([pa.array([], one) for one in schema.types], schema=schema)
