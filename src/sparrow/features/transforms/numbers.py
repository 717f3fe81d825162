"""Transforms of numbers by themselves."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import torch

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.transforms.element_wise import INTEGERS, ElementWise, Lane
from sparrow.features.types import FeatureType
from sparrow.ops.map_values import steps


@dataclass(frozen=True, slots=True)
class Fill(ElementWise):
    """Rows without a value, and NaN, become `value`; the column becomes dense.

    A ragged column must have at most one value a row and no weights. The dtype stays; integers and booleans become int64.
    """

    value: float
    kind: ClassVar[str] = "fill"
    makes: ClassVar[str] = "same"

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, Real) or not _is_finite(self.value):
            raise ConfigError(f"fill({self.value!r}): the value must be a finite number")

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "id":
            self._check_integer()
        return FeatureType(given.values, True)

    def _check_integer(self) -> None:
        if self.value != int(self.value) or not -(2**63) <= self.value < 2**63:
            raise ConfigError(f"fill({self.value}) does not fit integers; fill with a whole number of 64 bits or .cast('float32') first")

    def check(self, lane: Lane) -> None:
        ElementWise.check(self, lane)
        if lane.holds == "integers":
            self._check_integer()
        elif lane.dtype is not None and abs(self.value) > torch.finfo(lane.dtype).max:
            raise ConfigError(f"fill({self.value}) is too large for {lane.dtype}; .cast('float64') first")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Fill(int(self.value) if lane.holds == "integers" else float(self.value)),)

    def refused(self, value: float | str) -> str:
        return f"fill needs at most one value a row, found {value}"


@dataclass(frozen=True, slots=True)
class Cast(ElementWise):
    """Numbers as `dtype`: `"float32"`, `"float64"` (to nearest; a finite number too large for float32 is an error), or `"int64"` (whole
    numbers of 64 bits; anything else is an error), which are ids from then on."""

    dtype: str
    kind: ClassVar[str] = "cast"
    can_refuse: ClassVar[bool] = True
    DTYPES: ClassVar[dict[str, torch.dtype]] = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64}

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, str) or self.dtype not in self.DTYPES:
            raise ConfigError(f"cast({self.dtype!r}): unknown dtype{did_you_mean(str(self.dtype), self.DTYPES)}")

    def output_type(self, given: FeatureType) -> FeatureType:
        made = ElementWise.output_type(self, given)
        return FeatureType("id", made.dense) if self.dtype == "int64" else made

    def after(self, lane: Lane) -> Lane:
        return Lane(self.DTYPES[self.dtype])

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Cast(self.dtype),)

    def refused(self, value: float | str) -> str:
        return f"{value} is too large for float32" if self.dtype == "float32" else f"{value} is no whole number of 64 bits"


@dataclass(frozen=True, slots=True)
class Log1p(ElementWise):
    """log(1 + max(x, 0)) of every number: counts of any size become comparable, negative codes for "unknown" become 0.

    float32 and float64 stay; integers and booleans become float64. NaN stays NaN.
    """

    kind: ClassVar[str] = "log1p"

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Log1p(),)


@dataclass(frozen=True, slots=True)
class Log(ElementWise):
    """The natural logarithm: 0 becomes -infinity, a negative number NaN; `finite` says what becomes of these."""

    kind: ClassVar[str] = "log"

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Log(),)


@dataclass(frozen=True, slots=True)
class ZScore(ElementWise):
    """(x - mean) / std."""

    mean: float
    std: float
    kind: ClassVar[str] = "zscore"

    def __post_init__(self) -> None:
        _require_finite(self.kind, mean=self.mean, std=self.std)
        if self.std <= 0:
            raise ConfigError(f"zscore: std is {self.std}, it must be above 0")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.ZScore(float(self.mean), float(self.std)),)


@dataclass(frozen=True, slots=True)
class MinMax(ElementWise):
    """(x - low) / (high - low): 0 at `low`, 1 at `high`; beyond them outside of [0, 1], unless `clip` follows."""

    low: float
    high: float
    kind: ClassVar[str] = "min_max"

    def __post_init__(self) -> None:
        _require_finite(self.kind, low=self.low, high=self.high)
        if self.low >= self.high:
            raise ConfigError(f"min_max({self.low}, {self.high}): low must be below high")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.MinMax(float(self.low), float(self.high)),)


@dataclass(frozen=True, slots=True)
class Clip(ElementWise):
    """Numbers limited to [low, high]; NaN stays NaN, integers stay integers."""

    low: float
    high: float
    kind: ClassVar[str] = "clip"
    makes: ClassVar[str] = "same"

    def __post_init__(self) -> None:
        _require_finite(self.kind, low=self.low, high=self.high)
        if self.low > self.high:
            raise ConfigError(f"clip({self.low}, {self.high}): low must not be above high")

    def check(self, lane: Lane) -> None:
        ElementWise.check(self, lane)
        if lane.holds == "integers" and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ConfigError(f"clip({self.low}, {self.high}) of integers needs whole limits; .cast('float64') first")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        if lane.holds == "integers":
            return (steps.Clip(int(self.low), int(self.high)),)
        return (steps.Clip(float(self.low), float(self.high)),)


@dataclass(frozen=True, slots=True)
class Finite(ElementWise):
    """What becomes of NaN and infinities, which are counted in `FeatureEngine.counters` whatever the policy.

    policy: `"count"` keeps them, `"error"` refuses them, `"replace"` puts `value` in their place.
    """

    policy: str = "error"
    value: float = 0.0
    kind: ClassVar[str] = "finite"
    makes: ClassVar[str] = "same"
    can_refuse: ClassVar[bool] = True
    POLICIES: ClassVar[tuple[str, ...]] = ("count", "error", "replace")

    def __post_init__(self) -> None:
        if self.policy not in self.POLICIES:
            raise ConfigError(f"finite({self.policy!r}): unknown policy{did_you_mean(str(self.policy), self.POLICIES)}")
        _require_finite(self.kind, value=self.value)
        if self.value != 0 and self.policy != "replace":
            raise ConfigError(f"finite({self.policy!r}, {self.value}): only 'replace' puts a value in their place")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        if lane.holds == "integers":
            return ()
        return (steps.Finite(self.policy, float(self.value) if self.policy == "replace" else None),)

    def refused(self, value: float | str) -> str:
        return f"{value} is not finite; finite('replace', value) or fill(value) would put a number in its place"


@dataclass(frozen=True, slots=True)
class Bucketize(ElementWise):
    """Numbers to the count of boundaries they reach: ids 0 to len(boundaries); a number equal to a boundary reaches it; NaN reaches all.

    Every comparison is exact, that of a 64-bit integer too; boundaries are float64.
    """

    boundaries: tuple[float, ...]
    kind: ClassVar[str] = "bucketize"
    makes: ClassVar[str] = "ids"

    def __post_init__(self) -> None:
        known = self.boundaries
        if not isinstance(known, tuple) or not all(isinstance(boundary, float) for boundary in known):
            raise ConfigError(f"bucketize({known!r}): boundaries must be a list of numbers")
        if not known or any(math.isnan(boundary) for boundary in known) or any(a >= b for a, b in itertools.pairwise(known)):
            raise ConfigError(f"bucketize({_shortened(known)}): boundaries must be at least one, and strictly increasing")

    def after(self, lane: Lane) -> Lane:
        return INTEGERS

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Bucketize(self.boundaries),)


def exact_boundary(boundary: float, position: int) -> float:
    """Return a boundary as float64. Raises `ConfigError` for an integer that is none: it would put ids into the wrong bucket, unseen."""
    try:
        number = float(boundary)
    except OverflowError:
        raise ConfigError(f"bucketize: boundary {position} is beyond float64, whose largest number is 1.8e308") from None
    if isinstance(boundary, Integral) and int(boundary) != number:
        raise ConfigError(f"bucketize: boundary {boundary!r} is no float64; the nearest is {int(number)}")
    return number


def _shortened(boundaries: tuple[float, ...]) -> str:
    shown = ", ".join(map(str, boundaries[:8]))
    return f"[{shown}{', ...' if len(boundaries) > 8 else ''}]"


def _require_finite(kind: str, **arguments: float) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not _is_finite(value):
            raise ConfigError(f"{kind}: {name} is {value!r}, it must be a finite number")


def _is_finite(value: Real | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer no float64 holds
        return False
