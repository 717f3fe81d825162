"""Transforms of columns: what each takes, gives, and refuses at declaration.

A transform is a small frozen dataclass: `output_type` checks the type it is declared on, `apply` makes a new column. Columns are never
mutated. Equal transforms compare equal, so that the engine computes equal sub-expressions once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.ops.bucketize.op import bucketize
from sparrow.ops.farm_hash.op import farm_hash, farm_hash_ints
from sparrow.ops.unsigned_mod.op import unsigned_mod
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
    """Whom to name in an error: the feature and its column; `locate` tells the file and row of a sample."""

    feature: str
    column: str
    locate: Callable[[int], str]

    def error(self, problem: str) -> DataError:
        return DataError(f"feature {self.feature!r}, column {self.column!r}: {problem}")


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

    A ragged column must have at most one value a row.
    """

    value: float
    kind: ClassVar[str] = "fill"

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ConfigError(f"fill({self.value}): the value must be finite")

    def output_type(self, given: FeatureType) -> FeatureType:
        return replace(given, dense=True)

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "fill", context)
        if values.dtype == torch.int64 and self.value != int(self.value):
            raise context.error(f"fill({self.value}) would round in an integer column; fill with a whole number or .cast('float32') first")
        filled = torch.where(values.isnan(), self.value, values) if values.is_floating_point() else values
        if isinstance(column, Tensor):
            return filled
        if len(column.offsets) != 1:
            raise context.error(f"fill needs one level, got {len(column.offsets)}")
        lengths = column.lengths()
        if bool((lengths > 1).any()):
            row = int((lengths > 1).nonzero()[0])
            raise context.error(f"{context.locate(row)}: fill needs at most one value a row, found {int(lengths[row])}")
        dense = torch.full((column.num_rows,), self.value, dtype=filled.dtype)
        dense[lengths == 1] = filled
        return dense


@dataclass(frozen=True, slots=True)
class Log1p:
    """log(1 + max(x, 0)) of every number: counts of any size become comparable, negative codes for "unknown" become 0."""

    kind: ClassVar[str] = "log1p"

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            raise ConfigError("log1p cannot follow a transform that makes ids")
        return replace(given, values="number")

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "log1p", context)
        floats = values if values.is_floating_point() else values.double()
        return _with_values(column, floats.clamp_min(0).log1p())


@dataclass(frozen=True, slots=True)
class Hash:
    """Strings or integers to 64-bit ids by FarmHash Fingerprint64; an integer hashes as its eight little-endian bytes."""

    algorithm: str = "farm"
    kind: ClassVar[str] = "hash"
    ALGORITHMS: ClassVar[tuple[str, ...]] = ("farm",)

    def __post_init__(self) -> None:
        if self.algorithm not in self.ALGORITHMS:
            raise ConfigError(f"unknown hash {self.algorithm!r}{did_you_mean(self.algorithm, self.ALGORITHMS)}")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "number":
            raise ConfigError("hash cannot follow a transform that makes numbers; bucketize them instead")
        return replace(given, values="id")

    def apply(self, column: Column, context: Context) -> Column:
        if isinstance(column, Ragged) and column.is_bytes:
            hashes = farm_hash(column.values, column.offsets[-1])
            # The byte level is gone: one string a row is now one id a row.
            return hashes if len(column.offsets) == 1 else Ragged(hashes, column.offsets[:-1], column.weights)
        values = _ids(column, "hash", context)
        return _with_values(column, farm_hash_ints(values.reshape(-1)).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Mod:
    """Ids, read as unsigned 64 bits, modulo `divisor`: ids in [0, divisor)."""

    divisor: int
    kind: ClassVar[str] = "mod"

    def __post_init__(self) -> None:
        if not 1 <= self.divisor < 2**63:
            raise ConfigError(f"mod({self.divisor}): the divisor must be at least 1 and below 2^63")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "number":
            raise ConfigError("mod cannot follow a transform that makes numbers; it takes ids")
        return replace(given, values="id")

    def apply(self, column: Column, context: Context) -> Column:
        values = _ids(column, "mod", context)
        return _with_values(column, unsigned_mod(values.reshape(-1), self.divisor).reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Bucketize:
    """Numbers to the count of boundaries they reach: ids 0 to len(boundaries); a number equal to a boundary reaches it; NaN reaches all."""

    boundaries: tuple[float, ...]
    kind: ClassVar[str] = "bucketize"

    def __post_init__(self) -> None:
        known = self.boundaries
        if not known or any(math.isnan(boundary) for boundary in known) or any(a >= b for a, b in itertools.pairwise(known)):
            raise ConfigError(f"bucketize({list(known)}): boundaries must be at least one, and strictly increasing")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            raise ConfigError("bucketize cannot follow a transform that makes ids")
        return replace(given, values="id")

    def apply(self, column: Column, context: Context) -> Column:
        values = _numbers(column, "bucketize", context)
        floats = values if values.is_floating_point() else values.double()
        ids = bucketize(floats.reshape(-1), torch.tensor(self.boundaries, dtype=torch.float64))
        return _with_values(column, ids.reshape(values.shape))


@dataclass(frozen=True, slots=True)
class Cast:
    """Numbers as `dtype`: `"float32"` or `"float64"`."""

    dtype: str
    kind: ClassVar[str] = "cast"
    DTYPES: ClassVar[dict[str, torch.dtype]] = {"float32": torch.float32, "float64": torch.float64}

    def __post_init__(self) -> None:
        if self.dtype not in self.DTYPES:
            raise ConfigError(f"cast({self.dtype!r}): unknown dtype{did_you_mean(self.dtype, self.DTYPES)}")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            raise ConfigError("cast cannot follow a transform that makes ids")
        return replace(given, values="number")

    def apply(self, column: Column, context: Context) -> Column:
        return _with_values(column, _numbers(column, "cast", context).to(self.DTYPES[self.dtype]))


def _values(column: Column) -> Tensor:
    return column if isinstance(column, Tensor) else column.values


def _with_values(column: Column, values: Tensor) -> Column:
    return values if isinstance(column, Tensor) else column.with_values(values)


def _numbers(column: Column, transform: str, context: Context) -> Tensor:
    """Return the values of a numeric column: float32, float64 as they are; integers and booleans as int64."""
    values = _values(column)
    if isinstance(column, Ragged) and column.is_bytes:
        raise context.error(f"{transform} takes numbers, the column holds strings; hash it instead")
    return values if values.is_floating_point() else values.long()


def _ids(column: Column, transform: str, context: Context) -> Tensor:
    values = _values(column)
    if values.is_floating_point() or (isinstance(column, Ragged) and column.is_bytes):
        found = "numbers" if values.is_floating_point() else "strings"
        raise context.error(
            f"{transform} takes integer ids, the column holds {found}; " + ("bucketize" if found == "numbers" else "hash") + " it first"
        )
    return values.long()
