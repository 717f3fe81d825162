"""Steps that make one column of several, row by row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.transforms.lists import bits_in, ids_of, innermost_of, nothing, packed, require_value, values_and_offsets
from sparrow.features.types import Call, Context, FeatureType
from sparrow.ops import recorded
from sparrow.ops.concat_rows.op import concat_rows
from sparrow.ops.cross_rows.op import cross_rows
from sparrow.ops.lookup_rows.answers import ITEM, MATCH
from sparrow.ops.lookup_rows.op import lookup_rows
from sparrow.ops.overlap_rows.kinds import KINDS
from sparrow.ops.overlap_rows.op import overlap_rows
from sparrow.ops.subtract_rows.layouts import ALIGNED, ONE_A, ONE_B
from sparrow.ops.subtract_rows.op import subtract_rows
from sparrow.types import Column, Ragged


class Several:
    """A step of several columns of one batch group, computed for many features at once."""

    __slots__ = ()
    kind: ClassVar[str]

    def apply(self, *arguments: Column | Context) -> Column:
        """Compute one feature."""
        *columns, context = arguments
        (made,) = self.apply_all([Call(self, tuple(columns), context)])  # type: ignore[arg-type]
        return made

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        raise NotImplementedError


def _require_ids(kind: str, given: Sequence[FeatureType]) -> None:
    if any(one.values == "number" for one in given):
        raise ConfigError(f"{kind} takes ids; one of its columns holds numbers: bucketize it first")


@dataclass(frozen=True, slots=True)
class Cross(Several):
    """An id for every combination of one id of each column, the last varying fastest: MurmurHash64A of their bytes; weights multiply."""

    kind: ClassVar[str] = "cross"

    def output_type(self, *given: FeatureType) -> FeatureType:
        _require_several(self.kind, given)
        _require_ids(self.kind, given)
        return FeatureType("id", True if all(one.dense is True for one in given) else None)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        taken = [[ids_of(call, column) for column in call.columns] for call in calls]
        parts = innermost_of((call, column) for call, columns in zip(calls, taken, strict=True) for column in columns)
        if recorded.current_on(parts[0][0].device) is not None:
            _refuse_unpredictable(calls)
        made = cross_rows(*parts, _first_inputs(calls))
        return [
            _one_a_row_or_lists(columns, values, weights, offsets) for columns, values, weights, offsets in zip(taken, *made, strict=True)
        ]


def _refuse_unpredictable(calls: Sequence[Call]) -> None:
    """Raise `BackendError` where a captured step cannot know the most ids that a cross has."""
    for call in calls:
        num_lists = sum(isinstance(column, Ragged) or column.shape[1:].numel() != 1 for column in call.columns)
        if num_lists > 1:
            raise call.context.refusal(
                f"cross of {num_lists} columns of lists makes as many ids as the data decides, which a captured step cannot know: cross "
                f"them before the step, or columns of which one has lists and the others one id a row"
            )


def _one_a_row_or_lists(columns: Sequence[Column], values: Tensor, weights: Tensor, offsets: Tensor) -> Column:
    """Return what columns of one id a row each make as one id a row, other columns' as lists."""
    are_lists = weighted = False
    for column in columns:
        if isinstance(column, Ragged):
            are_lists, weighted = True, weighted or column.weights is not None
        elif column.dim() != 1:
            are_lists = True
    return Ragged(values, (offsets,), weights if weighted else None) if are_lists else values


@dataclass(frozen=True, slots=True)
class Concat(Several):
    """The lists of several columns one after the other, row by row; of dense columns their values side by side."""

    kind: ClassVar[str] = "concat"

    def output_type(self, *given: FeatureType) -> FeatureType:
        _require_several(self.kind, given)
        kinds = {one.values for one in given} - {"any"}
        if len(kinds) > 1:
            raise ConfigError("concat of numbers and ids; bucketize the numbers or leave them apart")
        dense = True if all(one.dense is True for one in given) else None
        return FeatureType(kinds.pop() if kinds else "any", dense)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        for call in calls:
            dtypes = {column.dtype if isinstance(column, Tensor) else column.values.dtype for column in call.columns}
            if len(dtypes) > 1:
                raise call.context.error(f"concat of columns of {', '.join(sorted(map(str, dtypes)))}; cast them to one")
        parts = innermost_of((call, column) for call in calls for column in call.columns)
        made = concat_rows(*parts, _first_inputs(calls))
        return [_side_by_side(call.columns, *one) for call, *one in zip(calls, *made, strict=True)]


def _side_by_side(columns: Sequence[Column], values: Tensor, weights: Tensor, offsets: Tensor) -> Column:
    """Return joined rows as a tensor where all that is joined is dense."""
    ragged = [column for column in columns if isinstance(column, Ragged)]
    if ragged:
        return Ragged(values, (offsets,), weights if any(column.weights is not None for column in ragged) else None)
    return values.reshape(offsets.numel() - 1, sum([column.shape[1:].numel() for column in columns if isinstance(column, Tensor)]))


@dataclass(frozen=True, slots=True)
class Lookup(Several):
    """For each id the item beside the first equal key of its row, else `default`."""

    default: float = 0
    kind: ClassVar[str] = "lookup"

    def __post_init__(self) -> None:
        require_value(self.kind, "default", self.default)

    def output_type(self, *given: FeatureType) -> FeatureType:
        queries, keys, items = given
        _require_ids(self.kind, [queries, keys])
        return FeatureType(items.values, queries.dense)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        parameters = [(ITEM, _default_of(call)) for call in calls]
        return _looked_up(calls, [_items_of(call) for call in calls], parameters)


def _items_of(call: Call) -> Tensor:
    """Return the items of a lookup. Raises `DataError` where they do not lie beside the keys; on a GPU their number alone is looked at."""
    _, keys, items = call.columns
    if isinstance(items, Ragged) and items.is_bytes:
        raise call.context.error("lookup gives numbers or ids, the items are strings; hash them first")
    (num_keys, key_offsets), ((values,), _, (item_offsets,)) = _size_and_offsets(keys), innermost_of([(call, items)])
    if num_keys != values.numel() and recorded.current_on(values.device) is not None:
        raise call.context.refusal(
            f"lookup: there is memory for {num_keys} keys and {values.numel()} items in a captured step; they lie beside each other, so "
            f"give both columns the same most_values, and the same transforms that change lengths"
        )
    if num_keys != values.numel() or key_offsets.numel() != item_offsets.numel():
        raise call.context.error(f"lookup: {num_keys} keys and {values.numel()} items; they must lie beside each other")
    if key_offsets is not item_offsets and values.device.type == "cpu" and not torch.equal(key_offsets, item_offsets):
        row = int((key_offsets != item_offsets).nonzero()[0]) - 1
        key_count, item_count = (int(offsets[row + 1] - offsets[row]) for offsets in (key_offsets, item_offsets))
        raise call.context.error(f"lookup: {key_count} keys and {item_count} items; they must lie beside each other", row)
    return values


def _size_and_offsets(column: Column) -> tuple[int, Tensor]:
    values, offsets = values_and_offsets(column)
    return values.numel(), offsets


@dataclass(frozen=True, slots=True)
class Match(Several):
    """For each id 1 where its row of the other column holds it, else 0: int64."""

    kind: ClassVar[str] = "match"

    def output_type(self, *given: FeatureType) -> FeatureType:
        _require_ids(self.kind, given)
        return FeatureType("id", given[0].dense)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        first = calls[0].columns[0]
        none = nothing(torch.int64, first.device if isinstance(first, Tensor) else first.values.device)
        return _looked_up(calls, [none] * len(calls), [(MATCH, 0)] * len(calls))


def _looked_up(calls: Sequence[Call], items: Sequence[Tensor], parameters: Sequence[tuple[int, int]]) -> list[Column]:
    queries = [ids_of(call, call.columns[0]) for call in calls]
    asked, _, asked_offsets = innermost_of(zip(calls, queries, strict=True))
    keys, _, key_offsets = innermost_of((call, ids_of(call, call.columns[1])) for call in calls)
    made = lookup_rows(asked, asked_offsets, keys, key_offsets, list(items), packed(*parameters))
    return [
        Ragged(one, column.offsets) if isinstance(column, Ragged) else one if column.dim() == 1 else one.reshape(column.shape)
        for one, column in zip(made, queries, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Overlap(Several):
    """A number a row of what two lists of ids share, each id counted once: float32.

    how: `"count"`; `"ratio"`: count over the ids of the first; `"jaccard"`: over those of both; `"contains"`: 1 where the first has all of
    the second; `"equal"`: 1 where both have the same; `"any"`: 1 where they share one.
    """

    how: str = "count"
    kind: ClassVar[str] = "overlap"

    def __post_init__(self) -> None:
        if self.how not in KINDS:
            raise ConfigError(f"overlap: unknown kind {self.how!r}{did_you_mean(str(self.how), KINDS)}")

    def output_type(self, *given: FeatureType) -> FeatureType:
        _require_ids(self.kind, given)
        return FeatureType("number", True)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        first, _, first_offsets = innermost_of((call, ids_of(call, call.columns[0])) for call in calls)
        second, _, second_offsets = innermost_of((call, ids_of(call, call.columns[1])) for call in calls)
        kinds = packed(*((KINDS.index(call.transform.how),) for call in calls if isinstance(call.transform, Overlap))).reshape(-1)
        return list(overlap_rows(first, first_offsets, second, second_offsets, kinds))


@dataclass(frozen=True, slots=True)
class Subtract(Several):
    """The first column minus the second, value by value; one value a row goes with the whole list of the other.

    Integers stay integers, and a difference beyond 64 bits is an error; floats and mixed columns follow IEEE in the wider type.
    """

    kind: ClassVar[str] = "time_difference"

    def output_type(self, *given: FeatureType) -> FeatureType:
        if any(one.values == "id" for one in given):
            raise ConfigError("time_difference takes times; one of its columns holds ids")
        dense = True if all(one.dense is True for one in given) else None
        return FeatureType("any", dense)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        a, _, a_offsets = innermost_of((call, _times(call, call.columns[0])) for call in calls)
        b, _, b_offsets = innermost_of((call, _times(call, call.columns[1])) for call in calls)
        which = packed(tuple(map(_which_is_one, a_offsets, b_offsets))).reshape(-1)
        try:
            made = _subtracted(calls, a, a_offsets, b, b_offsets, which)
        except RuntimeError as error:
            raise _named(error, calls) from None
        return [_shaped_as(call, one) for call, one in zip(calls, made, strict=True)]


def _subtracted(calls: Sequence[Call], *arguments: Any) -> list[Tensor]:
    step = recorded.current_on(arguments[0][0].device)
    if step is None:
        return list(subtract_rows(*arguments))
    _refuse_unequal_memory(calls, arguments[0], arguments[2])
    contexts = [call.context for call in calls]

    def named(error: Exception) -> Exception:
        said = re.match(r"result (\d+): (.*)", str(error))
        return error if said is None else contexts[int(said[1])].late_error(said[2])

    with step.naming(named):
        return list(subtract_rows(*arguments))


def _refuse_unequal_memory(calls: Sequence[Call], a: Sequence[Tensor], b: Sequence[Tensor]) -> None:
    for call, minuend, subtrahend in zip(calls, a, b, strict=True):
        if all(isinstance(column, Ragged) for column in call.columns) and minuend.numel() != subtrahend.numel():
            raise call.context.refusal(
                f"time_difference: there is memory for {minuend.numel()} values and for {subtrahend.numel()} in a captured step; lists are "
                f"subtracted one by one, so give both columns the same most_values, and the same transforms that change lengths"
            )


def _times(call: Call, column: Column) -> Column:
    """Return a column of numbers as the operator takes it: int64, float32 or float64."""
    if isinstance(column, Ragged) and column.is_bytes:
        raise call.context.error(f"{call.transform.kind} takes numbers, the column holds strings")
    values = column if isinstance(column, Tensor) else column.values
    if values.dtype in (torch.int64, torch.float32, torch.float64):
        return column
    if values.is_complex():
        raise call.context.error(f"{call.transform.kind} takes numbers, the column holds values of {values.dtype}")
    wide = values.float() if values.is_floating_point() else values.long()
    return wide if isinstance(column, Tensor) else column.with_values(wide)


def _which_is_one(a_offsets: Tensor, b_offsets: Tensor) -> int:
    if (a_offsets.numel() == 0) == (b_offsets.numel() == 0):
        return ALIGNED
    return ONE_A if a_offsets.numel() == 0 else ONE_B


def _named(error: RuntimeError, calls: Sequence[Call]) -> Exception:
    """Return an operator's refusal of data as an error that names feature, column and row."""
    said = re.search(r"result (\d+): (.*?)(?: in row (\d+) (.*))?$", str(error).split("\n")[0])
    if said is None:
        return error
    call = calls[int(said[1])]
    lists = [column.lengths() for column in call.columns if isinstance(column, Ragged)]
    if said[3] is None and len(lists) == 2:
        row = int((lists[0] != lists[1]).nonzero()[0])
        return call.context.error(f"lists of {int(lists[0][row])} and of {int(lists[1][row])} values cannot be subtracted one by one", row)
    return call.context.error(f"{said[2]} {said[4] or ''}".rstrip(), int(said[3] or 0))


def _shaped_as(call: Call, values: Tensor) -> Column:
    ragged = next((column for column in call.columns if isinstance(column, Ragged)), None)
    if ragged is not None:
        return Ragged(values, ragged.offsets, ragged.weights)
    (first, _) = call.columns
    assert isinstance(first, Tensor)
    return values.reshape(first.shape) if values.numel() == first.numel() else values.reshape(call.columns[1].shape)  # type: ignore[union-attr]


def _require_several(kind: str, given: Sequence[FeatureType]) -> None:
    if len(given) < 2:
        raise ConfigError(f"{kind} needs another column")


def _first_inputs(calls: Sequence[Call]) -> Tensor:
    ends = [0]
    for call in calls:
        ends.append(ends[-1] + len(call.columns))
    return packed(tuple(ends)).reshape(-1)


def _default_of(call: Call) -> int:
    """Return the bits of what a key that is not there reads, as the dtype of the items."""
    assert isinstance(call.transform, Lookup)
    items = call.columns[2]
    return bits_in(call, "default", call.transform.default, items.dtype if isinstance(items, Tensor) else items.values.dtype)
