"""Transforms of the lists of one column: cutting, filling up, choosing, counting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

from torch import Tensor

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.transforms.lists import (
    bits_in,
    even_offsets,
    is_whole,
    packed,
    ragged_of,
    require_value,
    values_and_offsets,
    weights_of,
    with_lists,
)
from sparrow.features.types import Call, Context, FeatureType
from sparrow.ops.length_rows.op import length_rows
from sparrow.ops.pad_rows.op import pad_rows
from sparrow.ops.row_options import ADDED_AT_BEGINNING, ADDED_AT_END, FIRST, HEAD, LEFT, NOT_ADDED, RIGHT, SUM, TAIL
from sparrow.ops.top_rows.op import top_rows
from sparrow.ops.truncate_rows.op import truncate_rows
from sparrow.ops.unique_rows.op import unique_rows
from sparrow.types import Column, Ragged

ENDS = {"head": HEAD, "tail": TAIL}
SIDES = {"right": RIGHT, "left": LEFT}
_ADDED = {"right": ADDED_AT_END, "left": ADDED_AT_BEGINNING}


class OfLists:
    """A transform of lists, computed for many columns at once."""

    __slots__ = ()
    kind: ClassVar[str]

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.dense is True:
            raise ConfigError(f"{self.kind} takes lists; what comes before it makes the same number of values in every row")
        return FeatureType(given.values, False)

    def apply(self, column: Column, context: Context) -> Column:
        """Compute one column."""
        (made,) = self.apply_all([Call(self, (column,), context)])
        return made

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Truncate(OfLists):
    """The first (`keep` `"head"`) or last (`"tail"`) `length` elements of every list of a level, 0 being the outermost; weights too."""

    length: int
    keep: str = "head"
    level: int = 0
    kind: ClassVar[str] = "truncate"

    def __post_init__(self) -> None:
        _require_length(self.kind, self.length)
        _require_choice(self.kind, "keep", self.keep, ENDS)
        if isinstance(self.level, bool) or not isinstance(self.level, Integral) or not 0 <= int(self.level) <= 2:
            raise ConfigError(f"truncate: level is {self.level!r}; 0 is the outermost, 2 the innermost of three")

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        columns = [ragged_of(call, call.column) for call in calls]
        return _truncated(columns, [_cut(call, column) for call, column in zip(calls, columns, strict=True)])


def _cut(call: Call, column: Ragged) -> tuple[int, ...]:
    cut: Truncate = call.transform
    num_levels = len(column.offsets)
    if cut.level >= num_levels - column.is_bytes:
        raise call.context.error(f"truncate at level {cut.level} of a column of {num_levels - column.is_bytes} levels; the outermost is 0")
    return num_levels, cut.level, cut.length, ENDS[cut.keep], NOT_ADDED


def _truncated(columns: Sequence[Ragged], parameters: Sequence[tuple[int, ...]]) -> list[Column]:
    values, weights, offsets = truncate_rows(
        [column.values.contiguous() for column in columns],
        [weights_of(column) for column in columns],
        [level for column in columns for level in column.offsets],
        packed(*parameters),
    )
    levels = iter(offsets)
    return [
        Ragged(made, tuple(itertools.islice(levels, len(column.offsets))), None if column.weights is None else weight)
        for column, made, weight in zip(columns, values, weights, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Pad(OfLists):
    """Lists to tensors of fixed lengths, one a level; None last keeps the innermost lists as they are, as rows of exactly so many lists.

    Missing elements are `value` (lists: empty), put to the `"right"` or `"left"`; of lists too long the `"head"` or `"tail"` stays.
    """

    lengths: tuple[int | None, ...]
    value: float = 0
    side: str = "right"
    keep: str = "head"
    kind: ClassVar[str] = "pad"

    @staticmethod
    def of(length: Any, value: float, side: str, keep: str) -> Pad:
        return Pad(_lengths("pad", length), value, side, keep)

    def __post_init__(self) -> None:
        for length in self.lengths[:-1]:
            _require_length(self.kind, length)
        if self.lengths[-1] is not None:
            _require_length(self.kind, self.lengths[-1])
        elif len(self.lengths) == 1:
            raise ConfigError("pad: the only length is None; truncate cuts lists without filling them up")
        require_value(self.kind, "value", self.value)
        _require_choice(self.kind, "side", self.side, SIDES)
        _require_choice(self.kind, "keep", self.keep, ENDS)

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id" and not is_whole(self.value):
            raise ConfigError(f"pad: the value {self.value} does not fit ids")
        return FeatureType(OfLists.output_type(self, given).values, self.lengths[-1] is not None)

    @property
    def operator(self) -> str:
        """What computes it: the planner makes one call for all transforms of a kind that have the same."""
        return "truncate_rows" if self.lengths[-1] is None else "pad_rows"

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        return _filled_with_lists(calls) if _pad_of(calls[0]).lengths[-1] is None else _padded(calls, mask=False)


@dataclass(frozen=True, slots=True)
class Mask(OfLists):
    """float32, 1 where `Pad` of the same arguments puts an element, 0 where it fills up."""

    lengths: tuple[int, ...]
    side: str = "right"
    keep: str = "head"
    kind: ClassVar[str] = "mask"

    @staticmethod
    def of(length: Any, side: str, keep: str) -> Mask:
        return Mask(_lengths("mask", length), side, keep)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        for length in self.lengths:
            _require_length(self.kind, length)
        _require_choice(self.kind, "side", self.side, SIDES)
        _require_choice(self.kind, "keep", self.keep, ENDS)

    def output_type(self, given: FeatureType) -> FeatureType:
        OfLists.output_type(self, given)
        return FeatureType("number", True)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        return _padded(calls, mask=True)


def _padded(calls: Sequence[Call], *, mask: bool) -> list[Column]:
    columns, parameters = [], []
    for call in calls:
        pad, column = call.transform, ragged_of(call, call.column)
        assert isinstance(pad, Pad | Mask)
        _require_levels(call, column, pad.lengths)
        bits = bits_in(call, "value", pad.value, column.values.dtype) if isinstance(pad, Pad) else 0
        lengths = [0 if length is None else length for length in (*pad.lengths, 0, 0)[:3]]
        parameters.append((len(pad.lengths), *lengths, ENDS[pad.keep], SIDES[pad.side], bits))
        columns.append(column)
    values = [] if mask else [column.values.contiguous() for column in columns]
    made = pad_rows(values, [level for column in columns for level in column.offsets], packed(*parameters), mask)
    return [one.reshape(column.num_rows, *(call.transform.lengths)) for one, column, call in zip(made, columns, calls, strict=True)]


def _pad_of(call: Call) -> Pad:
    assert isinstance(call.transform, Pad)
    return call.transform


def _filled_with_lists(calls: Sequence[Call]) -> list[Column]:
    columns, parameters = [], []
    for call in calls:
        pad, column = _pad_of(call), ragged_of(call, call.column)
        _require_levels(call, column, pad.lengths)
        if len(pad.lengths) != 2:
            raise call.context.error("pad keeps innermost lists of columns of two levels alone")
        length = pad.lengths[0]
        assert length is not None
        columns.append(column)
        parameters.append((len(column.offsets), 0, length, ENDS[pad.keep], _ADDED[pad.side]))
    return _truncated(columns, parameters)


def _require_levels(call: Call, column: Ragged, lengths: Sequence[int | None]) -> None:
    if column.is_bytes and lengths[-1] is not None:
        raise call.context.error(f"{call.transform.kind} takes numbers or ids, the column holds strings; hash it first")
    num_levels = len(column.offsets) - column.is_bytes
    if len(lengths) != num_levels:
        raise call.context.error(
            f"{call.transform.kind} of {len(lengths)} lengths, the column has {num_levels} levels; give one length a level"
        )


@dataclass(frozen=True, slots=True)
class Top(OfLists):
    """The `count` values of greatest weight of each innermost list, in their order; of equal weights the first, NaN last."""

    count: int
    kind: ClassVar[str] = "top"

    def __post_init__(self) -> None:
        _require_length(self.kind, self.count)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        columns = [_numbers(call) for call in calls]
        for call, column in zip(calls, columns, strict=True):
            if column.weights is None:
                raise call.context.error("top chooses by weight, and the column has no weights")
        parts = [values_and_offsets(column) for column in columns]
        counts = packed(*((call.transform.count,) for call in calls if isinstance(call.transform, Top)))
        made = top_rows([part[0] for part in parts], [weights_of(column) for column in columns], [part[1] for part in parts], counts)
        return [with_lists(column, *one, weighted=True) for column, *one in zip(columns, *made, strict=True)]


@dataclass(frozen=True, slots=True)
class Unique(OfLists):
    """Each value of an innermost list once, at its first place, with the `"first"` weight or the `"sum"` of them."""

    weights: str = "first"
    kind: ClassVar[str] = "unique"
    WEIGHTS: ClassVar[dict[str, int]] = {"first": FIRST, "sum": SUM}

    def __post_init__(self) -> None:
        _require_choice(self.kind, "weights", self.weights, self.WEIGHTS)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        columns = [_numbers(call) for call in calls]
        for call, column in zip(calls, columns, strict=True):
            if column.values.is_floating_point():
                raise call.context.error("unique takes integer ids, the column holds numbers; bucketize it first")
        parts = [values_and_offsets(column) for column in columns]
        policies = packed(*((cls.WEIGHTS[call.transform.weights],) for call in calls if isinstance(call.transform, Unique)))
        made = unique_rows([part[0] for part in parts], [weights_of(column) for column in columns], [part[1] for part in parts], policies)
        return [with_lists(column, *one, weighted=column.weights is not None) for column, *one in zip(columns, *made, strict=True)]


@dataclass(frozen=True, slots=True)
class Length(OfLists):
    """How many elements each row has: int64 [rows]. Of nested lists those of the outermost level; of a string, its bytes."""

    kind: ClassVar[str] = "length"

    def output_type(self, given: FeatureType) -> FeatureType:
        return FeatureType("any", True)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        offsets = [even_offsets(call.column) if isinstance(call.column, Tensor) else call.column.offsets[0] for call in calls]
        return list(length_rows(offsets, packed(*((1, 0) for _ in offsets))))


@dataclass(frozen=True, slots=True)
class Weights(OfLists):
    """The weights of a column as the values of its lists: float32."""

    kind: ClassVar[str] = "weights"

    def output_type(self, given: FeatureType) -> FeatureType:
        OfLists.output_type(self, given)
        return FeatureType("number", False)

    @classmethod
    def apply_all(cls, calls: Sequence[Call]) -> list[Column]:
        made: list[Column] = []
        for call in calls:
            column = ragged_of(call, call.column)
            if column.weights is None:
                raise call.context.error("the column has no weights")
            made.append(Ragged(column.weights.float(), column.offsets))
        return made


def _numbers(call: Call) -> Ragged:
    column = ragged_of(call, call.column)
    if column.is_bytes:
        raise call.context.error(f"{call.transform.kind} takes numbers or ids, the column holds strings; hash it first")
    return column


def _lengths(kind: str, length: Any) -> tuple[int | None, ...]:
    lengths = tuple(length) if isinstance(length, list | tuple) else (length,)
    if not 1 <= len(lengths) <= 3:
        raise ConfigError(f"{kind}({length!r}): give one length a level, one to three")
    return lengths


def _require_length(kind: str, length: object) -> None:
    if isinstance(length, bool) or not isinstance(length, Integral) or not 0 <= int(length) < 2**31:
        raise ConfigError(f"{kind}: the length is {length!r}, expected an integer of at least 0")


def _require_choice(kind: str, name: str, value: object, known: dict[str, int]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{kind}: {name} is {value!r}{did_you_mean(str(value), known)}")
