"""Messages -> columns: Arrow IPC streams and JSON."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pyarrow as pa
import torch

from sparrow.errors import ConfigError, DataError
from sparrow.io.decode import Where, decode
from sparrow.io.formats.format import FileTypes
from sparrow.io.plan import ColumnPlan, plan_columns
from sparrow.io.row_work import RowWork, WorkError, error_of_columns
from sparrow.io.streams.json_values import check_of
from sparrow.types import Column, ColumnSpec


class PoisonError(Exception):
    """A message is not what was asked for; the text says why, without naming the message."""


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """The rows of one message from `first_row` on, `plans` saying what they become. content: pa.Table; of JSON, values a field."""

    plans: tuple[ColumnPlan, ...]
    num_rows: int
    content: Any
    first_row: int = 0

    def since(self, row: int) -> Parsed:
        """Return the rows from `row` on."""
        if row == 0:
            return self
        rest = self.content.slice(row) if isinstance(self.content, pa.Table) else [values[row:] for values in self.content]
        return Parsed(self.plans, self.num_rows - row, rest, row)


class AbstractPayloads(ABC):
    """Reads messages of one kind, for columns of fixed shapes.

    shapes: column -> what it becomes, in words. What the columns asked for leave open, the first good message decides.
    work:   what a user does to rows before they become columns.
    """

    def __init__(self, specs: Sequence[ColumnSpec], work: RowWork | None = None) -> None:
        self.specs, self.work = tuple(specs), work
        self.shapes: dict[str, str] = {}

    @abstractmethod
    def parse(self, value: bytes, path: str = "") -> Parsed:
        """Return the rows of a message. path: its name. Raises `PoisonError`, and `WorkError` where the transform takes no such columns."""

    @abstractmethod
    def _joined(self, messages: Sequence[Parsed]) -> Any:
        """Return the content of messages of the same plans, end to end, as one record batch. May raise what pyarrow raises."""

    def columns(self, messages: Sequence[Parsed], path: str) -> tuple[dict[str, Column], Any | None]:
        """Return the columns of messages of the same plans, end to end, and which of their rows those are, int64; None for all.

        path: what to call them. Raises `PoisonError` where one of them is wrong, `WorkError` for what is wrong with a user's functions.
        """
        plans = messages[0].plans
        # Of messages that arrive together some may differ from the first, which decides when it is decoded.
        self.require_shapes(plans, path)
        try:
            batch = self._joined(messages)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise PoisonError(f"cannot be joined with others of its columns and types ({first_line(error)})") from None
        num_rows, kept = batch.num_rows, None
        if self.work is not None:
            batch, kept = self.work.apply(batch, plans, path)
        # Rows of several messages have no number that tells anything: where one is wrong, this is called again for each by itself.
        first_row = messages[0].first_row
        columns = {plan.name: self._column(plan, batch, Where(path, plan.name, "message", first_row, kept)) for plan in plans}
        for plan in plans:
            self.shapes.setdefault(plan.name, plan.shape)
        if self.work is not None and kept is not None:
            # Not before: where one message is wrong, this is called again with the others.
            self.work.num_filtered.add(num_rows - len(kept))
        return columns, kept

    def _column(self, plan: ColumnPlan, batch: Any, where: Where) -> Column:
        try:
            return decode(batch.column(plan.name), plan, where)
        except DataError as error:
            raise PoisonError(str(error).removeprefix(f"{where.path}: ")) from None
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise PoisonError(f"column {plan.name!r}: cannot be decoded ({first_line(error)})") from None

    def require_shapes(self, plans: Sequence[ColumnPlan], path: str) -> None:
        """Raise `PoisonError` where a column would come out otherwise than before, `WorkError` where a transform made it."""
        for plan in plans:
            expected = self.shapes.get(plan.name, plan.shape)
            if plan.shape != expected:
                what = (
                    f"column {plan.name!r} has type {plan.file_type} and would be {plan.shape}, but the messages before gave {expected}; "
                    "produce all alike, or ask for one kind and dtype in a ColumnSpec"
                )
                if error_of_columns(self.work) is WorkError:
                    raise WorkError(f"{path}: {what}, or make it of one type in transform=")
                raise PoisonError(what)


@final
class ArrowPayloads(AbstractPayloads):
    """Arrow IPC streams: a schema, record batches, the end marker, and nothing else."""

    def __init__(self, specs: Sequence[ColumnSpec], work: RowWork | None = None) -> None:
        super().__init__(specs, work)
        self._last: tuple[Any, list[str], tuple[ColumnPlan, ...]] | None = None

    def parse(self, value: bytes, path: str = "") -> Parsed:
        if not value:
            raise PoisonError("the message is empty; expected an Arrow IPC stream")
        try:
            source = pa.BufferReader(value)
            reader = pa.ipc.open_stream(source)
            names, plans = self._plans_for(reader.schema, path)
            batches, end_of_rows = [], source.tell()
            for batch in _batches_of(reader):
                chosen = batch.select(names)
                chosen.validate(full=True)
                batches.append(chosen)
                end_of_rows = source.tell()
            schema = batches[0].schema if batches else pa.schema([reader.schema.field(name) for name in names])
            table = pa.Table.from_batches(batches, schema=schema)
            end = source.tell()
        except WorkError:
            raise
        # A hostile message may fail at any of pyarrow's layers.
        except (pa.ArrowException, ValueError, TypeError, OverflowError, OSError, KeyError, MemoryError) as error:
            raise PoisonError(f"is no Arrow IPC stream, or a damaged one ({first_line(error)}); produce it again") from None
        if end == end_of_rows:
            raise PoisonError("the Arrow IPC stream has no end marker, so it may be cut short; close the writer before taking its bytes")
        if end != len(value):
            raise PoisonError(f"{len(value) - end} bytes follow the end of the Arrow IPC stream; produce one stream a message")
        return Parsed(plans, table.num_rows, table)

    def _plans_for(self, schema: Any, path: str) -> tuple[list[str], tuple[ColumnPlan, ...]]:
        """Return which columns of messages of a schema are read, and what they become."""
        if self._last is None or not self._last[0].equals(schema):
            types, names = FileTypes.of(schema), [spec.name for spec in self.specs]
            try:
                if self.work is None:
                    plans = plan_columns(self.specs, types, path)
                else:
                    # Where a transform needs none, any column tells the number of rows.
                    names = self.work.reads(names, types, path) or list(types.of_column)[:1]
                    plans = self.work.plans(self.specs, types, names, path)
            except WorkError:
                raise
            except DataError as error:
                raise PoisonError(str(error).removeprefix(f"{path}: ")) from None
            self.require_shapes(plans, path)
            self._last = schema, names, plans
        return self._last[1:]

    def _joined(self, messages: Sequence[Parsed]) -> Any:
        # All columns at once: an object of Python for each of each message would take as long as their bytes.
        table = pa.concat_tables([message.content for message in messages]).combine_chunks()
        batches = table.to_batches()
        if len(batches) > 1:
            raise ValueError("more bytes of strings than one array holds")
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _batches_of(reader: Any) -> Iterator[Any]:
    while True:
        try:
            yield reader.read_next_batch()
        except StopIteration:
            return


@final
class JsonPayloads(AbstractPayloads):
    """JSON in UTF-8: one object a message, or an array of objects. Types are those of the columns asked for.

    Nothing says which fields a message has, so a transform is shown those of `also_read` alone: others it may be about to make.
    """

    def __init__(self, specs: Sequence[ColumnSpec], types: Mapping[str, Any], work: RowWork | None = None) -> None:
        super().__init__(specs, work)
        of_name = {spec.name: spec for spec in specs}
        names = list(of_name)
        if work is not None:
            names = list(dict.fromkeys(work.also_read if work.transform is not None else (*names, *work.also_read)))
            if not names:
                raise ConfigError("of JSON, transform= is shown the fields that also_read names, and it names none; name those it needs")
        wanted = {name: types.get(name, None) or _json_type(of_name.get(name, ColumnSpec(name))) for name in names}
        self._checks = [(name, check_of(wanted[name])) for name in names]
        self._schema = pa.schema(list(wanted.items()))
        fields = FileTypes(wanted, frozenset())
        self._plans = plan_columns(specs, fields, "JSON") if work is None else work.plans(specs, fields, names, "JSON")
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_distinct)
        for plan in self._plans:
            self.shapes[plan.name] = plan.shape

    def parse(self, value: bytes, path: str = "") -> Parsed:
        try:
            rows = self._decoder.decode(value.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise PoisonError(f"is not UTF-8 ({first_line(error)}); produce JSON in UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise PoisonError(f"is not JSON ({first_line(error)}); expected an object or an array of objects") from None
        rows = rows if isinstance(rows, list) else [rows]
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise PoisonError(f"row {index} is a JSON {type(row).__name__}; expected an object")
        content = []
        for name, check in self._checks:
            values = [row.get(name) for row in rows]
            for index, one in enumerate(values):
                wrong = check(one)
                if wrong is not None:
                    raise PoisonError(f"column {name!r}, row {index}: {wrong}")
            content.append(values)
        return Parsed(self._plans, len(rows), content)

    def _joined(self, messages: Sequence[Parsed]) -> Any:
        arrays = []
        for field, values in zip(self._schema, zip(*(message.content for message in messages), strict=True), strict=True):
            try:
                arrays.append(pa.array(list(itertools.chain.from_iterable(values)), field.type))
            except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                raise PoisonError(f"column {field.name!r}: cannot be decoded ({first_line(error)})") from None
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _json_type(spec: ColumnSpec) -> Any:
    """Return the Arrow type in which a column is gathered: the widest of its kind, so that the cast to its dtype can tell what is lost."""
    if spec.kind == "bytes":
        return pa.string()
    if spec.dtype is None:
        raise ConfigError(
            f'column {spec.name!r}: JSON does not say what kind of number it holds; give ColumnSpec(dtype=...), kind="bytes" for strings, '
            f"or types={{{spec.name!r}: an Arrow type}}"
        )
    leaf = pa.bool_() if spec.dtype == torch.bool else pa.float64() if spec.dtype.is_floating_point else pa.int64()
    is_list = spec.kind == "ragged" or (spec.kind == "dense" and spec.width > 1)
    return pa.list_(leaf) if is_list else leaf


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("an object names a field twice")
    return row


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
