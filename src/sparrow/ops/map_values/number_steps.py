"""Steps of `map_values` on numbers."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from sparrow.errors import ConfigError, did_you_mean
from sparrow.ops.map_values.lookup_tables import bucket_table
from sparrow.ops.map_values.packed import OUTPUT_DTYPES
from sparrow.ops.map_values.step import DOUBLE, IDS, Step, Tables, as_id, as_number, check_number

POLICIES = {"count": 0, "error": 1, "replace": 2}


@dataclass(frozen=True, slots=True)
class Fill(Step):
    """NaN becomes `value`, and, as the first step of a chain of rows, so does an empty row. Ids pass."""

    value: float
    name, code, takes, gives, exact_on_ids = "Fill", 0, "numbers", "numbers", True

    def __post_init__(self) -> None:
        check_number(self.name, "value", self.value)

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        if given == IDS:
            return (0, as_id(self.name, "value", self.value))
        return (as_number(self.name, "value", self.value, given), 0)


@dataclass(frozen=True, slots=True)
class Cast(Step):
    """Numbers as `dtype`: "float32", "float64", "int64". Rounds to nearest.

    Refused: a finite number that float32 makes infinite; for int64, what is no whole number of 64 bits. Ids become float32 with one
    rounding, and stay as they are for int64.
    """

    dtype: str
    name, code, takes, gives = "Cast", 1, "numbers", "numbers"
    DTYPES: ClassVar[dict[str, torch.dtype]] = {"int64": torch.int64, "float32": torch.float32, "float64": torch.float64}

    def __post_init__(self) -> None:
        if self.dtype not in self.DTYPES:
            raise ConfigError(f"Cast: unknown dtype {self.dtype!r}{did_you_mean(str(self.dtype), self.DTYPES)}")

    def output_dtype(self, given: torch.dtype) -> torch.dtype:
        Step.output_dtype(self, given)
        return self.DTYPES[self.dtype]

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (OUTPUT_DTYPES.index(self.DTYPES[self.dtype]),)


@dataclass(frozen=True, slots=True)
class Log1p(Step):
    """log(1 + max(x, 0)). NaN stays."""

    name, code, takes, gives = "Log1p", 2, "numbers", "numbers"


@dataclass(frozen=True, slots=True)
class Log(Step):
    """The natural logarithm: -inf of 0, NaN of what is below. NaN stays."""

    name, code, takes, gives = "Log", 3, "numbers", "numbers"


@dataclass(frozen=True, slots=True)
class ZScore(Step):
    """(x - mean) / std, in float64, then rounded."""

    mean: float
    std: float
    name, code, takes, gives = "ZScore", 4, "numbers", "numbers"

    def __post_init__(self) -> None:
        check_number(self.name, "mean", self.mean)
        check_number(self.name, "std", self.std)
        if not self.std > 0:
            raise ConfigError(f"ZScore: std is {self.std!r}, expected a number above 0")

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (as_number(self.name, "mean", self.mean, DOUBLE), as_number(self.name, "std", self.std, DOUBLE))


@dataclass(frozen=True, slots=True)
class MinMax(Step):
    """(x - low) / (high - low), in float64, then rounded. Numbers outside of the range stay outside; clip them where that is not wanted."""

    low: float
    high: float
    name, code, takes, gives = "MinMax", 5, "numbers", "numbers"

    def __post_init__(self) -> None:
        check_number(self.name, "low", self.low)
        check_number(self.name, "high", self.high)
        if not self.low < self.high or not math.isfinite(float(self.high) - float(self.low)) or float(self.high) == float(self.low):
            raise ConfigError(f"MinMax: low is {self.low!r} and high {self.high!r}, expected low below high, and a finite difference")

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (as_number(self.name, "low", self.low, DOUBLE), as_number(self.name, "high", self.high, DOUBLE))


@dataclass(frozen=True, slots=True)
class Clip(Step):
    """What is below `low` becomes `low`, what is above `high` `high`. NaN stays. Exact on ids, whose bounds are whole or infinite."""

    low: float
    high: float
    name, code, takes, gives, exact_on_ids = "Clip", 6, "numbers", "numbers", True

    def __post_init__(self) -> None:
        check_number(self.name, "low", self.low, infinite=True)
        check_number(self.name, "high", self.high, infinite=True)
        if self.low > self.high:
            raise ConfigError(f"Clip: low is {self.low!r} and high {self.high!r}, expected low not above high")

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        bounds = (("low", self.low), ("high", self.high))
        if given == IDS:
            return tuple(as_id(self.name, what, bound) for what, bound in bounds)
        return tuple(as_number(self.name, what, bound, given) for what, bound in bounds)


@dataclass(frozen=True, slots=True)
class Finite(Step):
    """Counts NaN and infinities; `policy` "error" also refuses them, "replace" makes them `value`."""

    policy: str = "count"
    value: float | None = None
    name, code, takes, gives = "Finite", 7, "numbers", "numbers"

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(f"Finite: unknown policy {self.policy!r}{did_you_mean(str(self.policy), POLICIES)}")
        if self.policy == "replace":
            check_number(self.name, "value", self.value)
        elif self.value is not None:
            raise ConfigError(f"Finite: policy {self.policy!r} takes no value, got {self.value!r}")

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (POLICIES[self.policy], as_number(self.name, "value", self.value or 0.0, given))


@dataclass(frozen=True, slots=True)
class Bucketize(Step):
    """How many of `boundaries` (float64, strictly increasing) the number reaches; an equal one is reached, and NaN reaches all. Exact."""

    boundaries: tuple[float, ...]
    name, code, takes, gives, exact_on_ids = "Bucketize", 8, "numbers", "ids", True

    def __post_init__(self) -> None:
        for boundary in self.boundaries:
            check_number(self.name, "a boundary", boundary, infinite=True)
        for before, after in itertools.pairwise(self.boundaries):
            if not before < after:
                raise ConfigError(f"Bucketize: boundary {after} follows {before}, expected strictly increasing ones")

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (tables.add(bucket_table([float(boundary) for boundary in self.boundaries], given)),)
