"""Transforms to and of ids by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.transforms.element_wise import ElementWise, Lane
from sparrow.ops.map_values import steps


@dataclass(frozen=True, slots=True)
class Hash(ElementWise):
    """Strings or integers to 64-bit ids; an integer hashes as its eight little-endian bytes.

    algorithm:    `"farm"` (FarmHash Fingerprint64), `"murmur"` (MurmurHash64A, seed 0) or `"xxh64"` (seed 0).
    non_negative: clear the top bit, as hashing while reading does in RecIS.
    buckets:      where not 0, the id read as unsigned modulo so many.
    """

    algorithm: str = "farm"
    buckets: int = 0
    non_negative: bool = False
    kind: ClassVar[str] = "hash"
    takes: ClassVar[str] = "ids or strings"
    makes: ClassVar[str] = "ids"
    ALGORITHMS: ClassVar[tuple[str, ...]] = ("farm", "murmur", "xxh64")

    def __post_init__(self) -> None:
        if self.algorithm not in self.ALGORITHMS:
            raise ConfigError(f"unknown hash {self.algorithm!r}{did_you_mean(str(self.algorithm), self.ALGORITHMS)}")
        if self.buckets != 0:
            require_count("hash: buckets", self.buckets)
        if not isinstance(self.non_negative, bool):
            raise ConfigError(f"hash: non_negative is {self.non_negative!r}, expected True or False")

    def check(self, lane: Lane) -> None:
        if lane.holds == "numbers":
            raise ConfigError("hash takes integer ids, the column holds numbers; bucketize it first")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        made: list[steps.Step] = [steps.HashBytes(self.algorithm) if lane.dtype is None else steps.HashInts(self.algorithm)]
        if self.non_negative:
            made.append(steps.NonNegative())
        if self.buckets:
            made.append(steps.Mod(self.buckets))
        return tuple(made)


@dataclass(frozen=True, slots=True)
class Mod(ElementWise):
    """Ids, read as unsigned 64 bits, modulo `divisor`: ids in [0, divisor)."""

    divisor: int
    kind: ClassVar[str] = "mod"
    takes: ClassVar[str] = "ids"
    makes: ClassVar[str] = "ids"

    def __post_init__(self) -> None:
        require_count(f"mod({self.divisor!r}): the divisor", self.divisor)

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Mod(int(self.divisor)),)


@dataclass(frozen=True, slots=True)
class Quotient(ElementWise):
    """Ids, read as unsigned 64 bits, divided by `divisor`, without the remainder: with `Mod` the complementary pair of a Q-R embedding."""

    divisor: int
    kind: ClassVar[str] = "quotient"
    takes: ClassVar[str] = "ids"
    makes: ClassVar[str] = "ids"

    def __post_init__(self) -> None:
        require_count(f"quotient({self.divisor!r}): the divisor", self.divisor)

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        return (steps.Quotient(int(self.divisor)),)


@dataclass(frozen=True, slots=True)
class MultiHash(ElementWise):
    """The `number`-th of up to four independent hashes into `num_buckets`: ((x * multiplier) mod prime) mod num_buckets.

    The multiplier is 1, 3, 5 or 7; the prime the largest up to 29, 47, 67 or 83 times `num_buckets`.
    """

    number: int
    num_buckets: int
    kind: ClassVar[str] = "multi_hash"
    takes: ClassVar[str] = "ids"
    makes: ClassVar[str] = "ids"
    MULTIPLIERS: ClassVar[tuple[int, ...]] = (1, 3, 5, 7)
    FACTORS: ClassVar[tuple[int, ...]] = (29, 47, 67, 83)

    def __post_init__(self) -> None:
        if not isinstance(self.number, int) or not 0 <= self.number < len(self.MULTIPLIERS):
            raise ConfigError(f"multi_hash: there are {len(self.MULTIPLIERS)} hashes, numbered from 0, not {self.number!r}")
        require_count("multi_hash: the number of buckets", self.num_buckets, below=2**56)

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        prime = _prime_up_to(self.FACTORS[self.number] * self.num_buckets)
        return (steps.MultiHash(self.MULTIPLIERS[self.number], prime, int(self.num_buckets)),)


def require_count(what: str, value: object, below: int = 2**63) -> None:
    """Raise `ConfigError` unless `value` is an integer of at least 1 and below `below`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) < below:
        raise ConfigError(f"{what} must be an integer of at least 1 and below 2^{below.bit_length() - 1}, got {value!r}")


def _prime_up_to(limit: int) -> int:
    return next(number for number in range(limit, 1, -1) if _is_prime(number))


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test by the first twelve primes, which is exact below 2^64 (Sorenson and Webster, 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number in bases or any(number % base == 0 for base in bases):
        return number in bases
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        if not any((power := power * power % number) == number - 1 for _ in range(twos - 1)):
            return False
    return True
