"""Transforms of every value by itself: what they share. The planner fuses them into chains of `map_values`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from sparrow.errors import ConfigError
from sparrow.features.types import FeatureType
from sparrow.ops.map_values import steps


@dataclass(frozen=True, slots=True)
class Lane:
    """What flows through a chain at one place: strings, or values of a dtype (float32, float64, int64)."""

    dtype: torch.dtype | None

    @property
    def holds(self) -> str:
        if self.dtype is None:
            return "strings"
        return "numbers" if self.dtype.is_floating_point else "integers"


STRINGS, INTEGERS = Lane(None), Lane(torch.int64)


class ElementWise(ABC):
    """A transform of every value by itself; a frozen dataclass.

    takes: `"numbers"` (integers too), `"ids"` (integers), or `"ids or strings"`.
    makes: `"numbers"`, `"ids"`, or `"same"`.
    can_refuse: whether a value may be refused, which is looked for after every call.
    """

    __slots__ = ()
    kind: ClassVar[str]
    takes: ClassVar[str] = "numbers"
    makes: ClassVar[str] = "numbers"
    can_refuse: ClassVar[bool] = False

    def output_type(self, given: FeatureType) -> FeatureType:
        if self.takes == "numbers" and given.values == "id":
            raise ConfigError(f"{self.kind} cannot follow a transform that makes ids")
        if self.takes.startswith("ids") and given.values == "number":
            raise ConfigError(f"{self.kind} cannot follow a transform that makes numbers; it takes ids: bucketize them first")
        values = {"numbers": "number", "ids": "id"}.get(self.makes, given.values)
        return FeatureType(values, given.dense)  # type: ignore[arg-type]

    def after(self, lane: Lane) -> Lane:
        """Return what flows on: integers by default where ids are made, else floats (integers become float64)."""
        if self.makes == "ids":
            return INTEGERS
        return lane if self.makes == "same" or (lane.dtype is not None and lane.dtype.is_floating_point) else Lane(torch.float64)

    def check(self, lane: Lane) -> None:
        """Raise `ConfigError` where this cannot take what flows here."""
        if self.takes == "numbers" and lane.dtype is None:
            raise ConfigError(f"{self.kind} takes numbers, the column holds strings; hash it instead")
        if self.takes.startswith("ids") and lane.holds == "numbers":
            raise ConfigError(f"{self.kind} takes integer ids, the column holds numbers; bucketize it first")
        if self.takes == "ids" and lane.dtype is None:
            raise ConfigError(f"{self.kind} takes integer ids, the column holds strings; hash it first")

    @abstractmethod
    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        """Return the steps of `map_values` that compute this on what flows here. Raises `ConfigError` where it does not fit."""

    def refused(self, value: float | str) -> str:
        """Return what is wrong with `value`, which the operator refused."""
        return f"{self.kind} refuses {value}"
