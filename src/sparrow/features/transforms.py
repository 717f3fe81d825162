"""Transforms of columns: what each takes, gives, and refuses at declaration.

A transform is a small frozen dataclass: `output_type` checks the type it is declared on, `apply` makes a new column. Columns are never
mutated. Equal transforms compare equal, so that the engine computes equal sub-expressions once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.ops.map_values import steps
from sparrow.ops.map_values.op import map_values
from sparrow.types import Column, Ragged


@dataclass(frozen=True, slots=True)
class FeatureType:
    """What is known of a feature before any data: its values, and whether every row has exactly one.

    values: `"number"`, `"id"` (int64), or `"any"` until a transform or the file decides.
    dense:  True, or None where the file decides.
    """

    values: Literal["any", "number", "id"] = "any"
    dense: bool | None = None


UNKNOWN = FeatureType()


@dataclass(frozen=True, slots=True)
class Context:
    """Whom to name in an error: the feature and its column; `locate` tells the file and row of a row of the column."""

    feature: str
    column: str
    locate: Callable[[int], str]

    def error(self, problem: str, row: int = 0) -> DataError:
        """Return a `DataError` that names feature, column, and where `row` came from: the first where all rows are wrong."""
        return DataError(f"feature {self.feature!r}, column {self.column!r}, {self.locate(row)}: {problem}")


class Transform(Protocol):
    """One step of a feature. `kind` groups transforms that one operator call can serve."""

    kind: ClassVar[str]

    def output_type(self, given: FeatureType) -> FeatureType:
        """Return the type after this transform. Raises `ConfigError` where it cannot follow `given`."""
        ...

    def apply(self, column: Column, context: Context) -> Column:
        """Return the transformed column. Raises `DataError` naming feature and column."""
        ...


@dataclass(frozen=True, slots=True)
class Fill:
    """Rows without a value, and NaN, become `value`; the column becomes dense.

    A ragged column must have at most one value a row and no weights. The dtype stays; integers and booleans become int64.
    """

    value: float
    kind: ClassVar[str] = "fill"

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, Real) or not _is_finite(self.value):
            raise ConfigError(f"fill({self.value!r}): the value must be a finite number")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            self._check_integer()
        return replace(given, dense=True)

    def _check_integer(self) -> None:
        if self.value != int(self.value) or not -(2**63) <= self.value < 2**63:
            raise ConfigError(f"fill({self.value}) does not fit integers; fill with a whole number of 64 bits or .cast('float32') first")

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "fill", context)
        if values.is_floating_point():
            if abs(self.value) > torch.finfo(values.dtype).max:
                raise context.error(f"fill({self.value}) is too large for {values.dtype}; .cast('float64') first")
            value: float = float(self.value)
            filled = torch.where(values.isnan(), value, values)
        else:
            try:
                self._check_integer()
            except ConfigError as error:
                raise context.error(str(error)) from None
            value, filled = int(self.value), values
        if isinstance(column, Tensor):
            return filled
        if len(column.offsets) != 1:
            raise context.error(f"fill needs rows of one level, got {len(column.offsets)}")
        if column.weights is not None:
            raise context.error("fill makes one number a row, which cannot carry weights")
        lengths = column.lengths()
        if bool((lengths > 1).any()):
            row = int((lengths > 1).nonzero()[0])
            raise context.error(f"fill needs at most one value a row, found {int(lengths[row])}", row)
        dense = filled.new_full((column.num_rows,), value)
        dense[lengths == 1] = filled
        return dense


@dataclass(frozen=True, slots=True)
class Log1p:
    """log(1 + max(x, 0)) of every number: counts of any size become comparable, negative codes for "unknown" become 0.

    float32 and float64 stay; integers and booleans become float64. NaN stays NaN.
    """

    kind: ClassVar[str] = "log1p"

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            raise ConfigError("log1p cannot follow a transform that makes ids")
        return replace(given, values="number")

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "log1p", context)
        return _with_values(column, _floats(values).clamp_min(0).log1p())


@dataclass(frozen=True, slots=True)
class Hash:
    """Strings or integers to 64-bit ids by FarmHash Fingerprint64; an integer hashes as its eight little-endian bytes."""

    algorithm: str = "farm"
    kind: ClassVar[str] = "hash"
    ALGORITHMS: ClassVar[tuple[str, ...]] = ("farm",)

    def __post_init__(self) -> None:
        if self.algorithm not in self.ALGORITHMS:
            raise ConfigError(f"unknown hash {self.algorithm!r}{did_you_mean(str(self.algorithm), self.ALGORITHMS)}")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "number":
            raise ConfigError("hash cannot follow a transform that makes numbers; bucketize them instead")
        return replace(given, values="id")

    def apply(self, column: Column, context: Context) -> Column:
        if isinstance(column, Ragged) and column.is_bytes:
            if column.weights is not None:
                raise context.error("hash makes one id a string, which cannot carry the weights of its bytes")
            hashes = _mapped(column.values, steps.HashBytes(self.algorithm), column.offsets[-1])
            # The byte level is gone: one string a row is now one id a row.
            return hashes if len(column.offsets) == 1 else Ragged(hashes, column.offsets[:-1])
        values = _ids(column, "hash", context)
        return _with_values(column, _mapped(values, steps.HashInts(self.algorithm)).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Mod:
    """Ids, read as unsigned 64 bits, modulo `divisor`: ids in [0, divisor)."""

    divisor: int
    kind: ClassVar[str] = "mod"

    def __post_init__(self) -> None:
        if isinstance(self.divisor, bool) or not isinstance(self.divisor, Integral) or not 1 <= self.divisor < 2**63:
            raise ConfigError(f"mod({self.divisor!r}): the divisor must be an integer of at least 1 and below 2^63")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "number":
            raise ConfigError("mod cannot follow a transform that makes numbers; it takes ids")
        return replace(given, values="id")

    def apply(self, column: Column, context: Context) -> Column:
        values = _ids(column, "mod", context)
        return _with_values(column, _mapped(values, steps.Mod(int(self.divisor))).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Bucketize:
    """Numbers to the count of boundaries they reach: ids 0 to len(boundaries); a number equal to a boundary reaches it; NaN reaches all.

    Every comparison is exact, that of a 64-bit integer too; boundaries are float64.
    """

    boundaries: tuple[float, ...]
    kind: ClassVar[str] = "bucketize"

    def __post_init__(self) -> None:
        known = self.boundaries
        if not isinstance(known, tuple) or not all(isinstance(boundary, float) for boundary in known):
            raise ConfigError(f"bucketize({known!r}): boundaries must be a list of numbers")
        if not known or any(math.isnan(boundary) for boundary in known) or any(a >= b for a, b in itertools.pairwise(known)):
            raise ConfigError(f"bucketize({list(known)}): boundaries must be at least one, and strictly increasing")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            raise ConfigError("bucketize cannot follow a transform that makes ids")
        return replace(given, values="id")

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "bucketize", context)
        return _with_values(column, _mapped(values, steps.Bucketize(self.boundaries)).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Cast:
    """Numbers as `dtype`: `"float32"` or `"float64"`. Rounds to nearest; a finite number too large for float32 is an error."""

    dtype: str
    kind: ClassVar[str] = "cast"
    DTYPES: ClassVar[dict[str, torch.dtype]] = {"float32": torch.float32, "float64": torch.float64}

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, str) or self.dtype not in self.DTYPES:
            raise ConfigError(f"cast({self.dtype!r}): unknown dtype{did_you_mean(str(self.dtype), self.DTYPES)}")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            raise ConfigError("cast cannot follow a transform that makes ids")
        return replace(given, values="number")

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "cast", context)
        numbers = values.to(self.DTYPES[self.dtype])
        if values.dtype == torch.float64 and numbers.dtype == torch.float32:
            too_large = (numbers.isinf() & values.isfinite()).reshape(-1)
            if bool(too_large.any()):
                position = int(too_large.nonzero()[0])
                raise context.error(f"{float(values.reshape(-1)[position])} is too large for float32", _row_of(column, position))
        return _with_values(column, numbers)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer no float64 holds
        return False


def _mapped(values: Tensor, step: steps.Step, offsets: Tensor | None = None) -> Tensor:
    chain = steps.Chain(0, steps=(step,)) if offsets is None else steps.Chain(0, 0, steps.Source.BYTES, (step,))
    packed = steps.pack([chain], [values.dtype])
    return map_values([_flat(values)], [] if offsets is None else [offsets.contiguous()], packed)[0][0]


def _flat(values: Tensor) -> Tensor:
    """Return values end to end, as operators take them: a column may be a strided view of a larger tensor."""
    return values.reshape(-1).contiguous()


def _floats(values: Tensor) -> Tensor:
    return values if values.is_floating_point() else values.double()


def _row_of(column: Column, position: int) -> int:
    """Return the row that holds value number `position`."""
    if isinstance(column, Tensor):
        return position // max(1, column[0].numel())
    for offsets in reversed(column.offsets):
        position = int(torch.searchsorted(offsets, position, right=True)) - 1
    return position


def _values(column: Column) -> Tensor:
    return column if isinstance(column, Tensor) else column.values


def _with_values(column: Column, values: Tensor) -> Column:
    return values if isinstance(column, Tensor) else column.with_values(values)


def _numbers(column: Column, transform: str, context: Context) -> Tensor:
    """Return the values of a numeric column: float32, float64 as they are; half precision as float32; integers and booleans as int64."""
    values = _values(column)
    if isinstance(column, Ragged) and column.is_bytes:
        raise context.error(f"{transform} takes numbers, the column holds strings; hash it instead")
    if not values.is_floating_point():
        return values.long()
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _ids(column: Column, transform: str, context: Context) -> Tensor:
    values = _values(column)
    if values.is_floating_point() or (isinstance(column, Ragged) and column.is_bytes):
        found = "numbers" if values.is_floating_point() else "strings"
        raise context.error(
            f"{transform} takes integer ids, the column holds {found}; " + ("bucketize" if found == "numbers" else "hash") + " it first"
        )
    return values.long()
