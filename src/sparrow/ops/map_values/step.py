"""What every step of `map_values` is, and how parameters are checked and packed."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.ops.map_values.lookup_tables import float_bits

# A column is in one of four states, named by a dtype.
BYTES, IDS, SINGLE, DOUBLE = torch.uint8, torch.int64, torch.float32, torch.float64
Kind = Literal["bytes", "numbers", "ids"]


class Tables(Protocol):
    """Where a step leaves what it looks up; equal steps share one table."""

    def add(self, table: Tensor) -> int:
        """Return the number of a table."""
        ...


class Step:
    """One step. `name` is how errors call it, `code` how the operator does.

    takes: bytes, ids, or numbers. A step of numbers also takes ids: as they are where `exact_on_ids`, else as float64.
    gives: ids; or numbers, in the dtype that came, where not told otherwise.
    """

    __slots__ = ()
    name: ClassVar[str]
    code: ClassVar[int]
    takes: ClassVar[Kind]
    gives: ClassVar[Kind]
    exact_on_ids: ClassVar[bool] = False

    def output_dtype(self, given: torch.dtype) -> torch.dtype:
        """Return the state after this step. Raises `ConfigError` where it cannot follow `given`."""
        found = "bytes" if given == BYTES else "ids" if given == IDS else "numbers"
        if found != self.takes and not (self.takes == "numbers" and found == "ids"):
            ways = {"bytes": "hash them first", "numbers": "bucketize or cast them first", "ids": "it stands first, on strings"}
            raise ConfigError(f"takes {self.takes}, gets {found}; {ways[found]}")
        if self.gives == "ids" or (found == "ids" and self.exact_on_ids):
            return IDS
        return DOUBLE if found == "ids" else given

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        """Return at most three 64-bit parameters for a column in state `given`. Raises `ConfigError` where they do not fit it."""
        return ()


def check_number(step: str, what: str, value: Any, *, infinite: bool = False) -> None:
    fits = isinstance(value, Real) and not isinstance(value, bool)
    try:
        fits = fits and not math.isnan(value) and (infinite or math.isfinite(value))
    except OverflowError:  # an integer no float64 holds
        fits = isinstance(value, Integral)
    if not fits:
        raise ConfigError(f"{step}: {what} is {value!r}, expected a {'' if infinite else 'finite '}number")


def check_whole(step: str, what: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise ConfigError(f"{step}: {what} is {value!r}, expected an integer from {low} to {high}")


def as_number(step: str, what: str, value: float, given: torch.dtype) -> int:
    """Return the float64 bits of a parameter as the column's dtype holds it."""
    try:
        number = float(value)
    except OverflowError:
        raise ConfigError(f"{step}: {what} {value} is too large for {given}") from None
    if given != SINGLE:
        return float_bits(number)
    single = torch.tensor(number, dtype=torch.float64).float().item()
    if math.isinf(single) and not math.isinf(number):
        raise ConfigError(f"{step}: {what} {value} is too large for {given}; cast to float64 first")
    return float_bits(single)


def as_id(step: str, what: str, value: float) -> int:
    """Return a parameter as an integer of 64 bits; infinities are its ends."""
    if isinstance(value, float) and math.isinf(value):
        return 2**63 - 1 if value > 0 else -(2**63)
    if value != int(value) or not -(2**63) <= value < 2**63:
        raise ConfigError(f"{step}: {what} {value} does not fit integers; take a whole number of 64 bits, or cast to float32 first")
    return int(value)
