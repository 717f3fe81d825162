"""Sketches of a stream of values, of bounded size. Each takes distinct values with their counts, and two merge into one of both streams.

What a sketch says does not depend on how the stream was cut, beyond the error it states.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Moments:
    """Count, smallest, largest, mean and variance of finite numbers; how many are 0, NaN or infinite; whether all are whole.

    Exact up to rounding (Chan's merge).
    """

    def __init__(self) -> None:
        self.count = self.num_zeros = self.num_nans = self.num_infinite = 0
        self.mean = self._squares = 0.0
        self.min, self.max = math.inf, -math.inf
        self.are_whole = True

    def update(self, values: Any, counts: Any) -> None:
        """values: float64. counts: int64, of each."""
        finite = np.isfinite(values)
        if not finite.all():
            self.num_nans += int(counts[np.isnan(values)].sum())
            self.num_infinite += int(counts[np.isinf(values)].sum())
            values, counts = values[finite], counts[finite]
        if len(values) == 0:
            return
        part = Moments()
        part.count = int(counts.sum())
        part.num_zeros = int(counts[values == 0].sum())
        part.mean = float((values * (counts / part.count)).sum())
        part._squares = float((counts * (values - part.mean) ** 2).sum())
        part.min, part.max = float(values.min()), float(values.max())
        part.are_whole = bool((values == np.floor(values)).all())
        self.merge(part)

    def merge(self, other: Moments) -> None:
        self.num_zeros, self.num_nans = self.num_zeros + other.num_zeros, self.num_nans + other.num_nans
        self.num_infinite, self.are_whole = self.num_infinite + other.num_infinite, self.are_whole and other.are_whole
        if other.count == 0:
            return
        total = self.count + other.count
        gap = other.mean - self.mean
        self._squares += other._squares + gap * gap * (self.count * other.count / total)
        self.mean += gap * (other.count / total)
        self.count, self.min, self.max = total, min(self.min, other.min), max(self.max, other.max)

    @property
    def std(self) -> float:
        """Of the population."""
        return math.sqrt(max(0.0, self._squares) / self.count) if self.count else math.nan


class Quantiles:
    """Quantiles of numbers with a relative error of at most 1% of the value (DDSketch: Masson, Rim and Lee, VLDB 2019).

    Magnitudes are counted in buckets whose bounds grow by a constant factor; below 1e-12 they count as 0. At most some 5,500 buckets.
    """

    ERROR = 0.01
    _GAMMA = (1 + ERROR) / (1 - ERROR)
    _SMALLEST = 1e-12

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # bucket -> count; 0 for zero, negative for negative values

    def update(self, values: Any, counts: Any) -> None:
        """values: float64, those that are not finite do not count. counts: int64, of each."""
        finite = np.isfinite(values)
        values, counts = values[finite], counts[finite]
        magnitude = np.abs(values)
        is_zero = magnitude < self._SMALLEST
        # Bucket b > 0 holds magnitudes from SMALLEST * GAMMA ** (b - 1) on.
        buckets = 1 + np.floor(np.log(np.where(is_zero, 1.0, magnitude) / self._SMALLEST) / math.log(self._GAMMA)).astype(np.int64)
        buckets = np.where(is_zero, 0, np.copysign(buckets, values)).astype(np.int64)
        found, places = np.unique(buckets, return_inverse=True)
        for bucket, count in zip(found.tolist(), np.bincount(places, weights=counts).astype(np.int64).tolist(), strict=True):
            self._counts[bucket] = self._counts.get(bucket, 0) + count

    def merge(self, other: Quantiles) -> None:
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count

    @property
    def count(self) -> int:
        return sum(self._counts.values())

    def at(self, share: float) -> float:
        """Return the value that `share` of the values do not exceed; NaN of none."""
        rank, seen = share * (self.count - 1), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen > rank:
                return self._value_of(bucket)
        return math.nan

    def histogram(self, low: float, high: float, num_bins: int) -> list[int]:
        """Return how many values lie in each of `num_bins` equal bins of low..high, as far as buckets tell."""
        bins = [0] * num_bins
        width = (high - low) / num_bins or 1.0
        for bucket, count in self._counts.items():
            bins[min(num_bins - 1, max(0, int((self._value_of(bucket) - low) / width)))] += count
        return bins

    def _value_of(self, bucket: int) -> float:
        if bucket == 0:
            return 0.0
        # In the middle of the bucket, relatively, so that its bounds are equally far.
        return math.copysign(self._SMALLEST * self._GAMMA ** (abs(bucket) - 1) * 2 * self._GAMMA / (1 + self._GAMMA), bucket)


class Distinct:
    """How many distinct values there are, by their hashes: HyperLogLog (Flajolet and others, 2007) of 2^14 registers.

    Standard error 0.8%; counts below some 40,000 are estimated by empty registers, which is closer.
    """

    _BITS = 14
    STANDARD_ERROR = 1.04 / math.sqrt(1 << _BITS)

    def __init__(self) -> None:
        self._registers = np.zeros(1 << self._BITS, dtype=np.uint8)

    def update(self, hashes: Any) -> None:
        """hashes: uint64, as good as random."""
        places = (hashes >> np.uint64(64 - self._BITS)).astype(np.int64)
        rest = hashes << np.uint64(self._BITS)
        # Leading zeros of what follows: the exponent of a float tells, where rounding up cannot (the low bits are cleared).
        _, exponents = np.frexp((rest >> np.uint64(11)).astype(np.float64))
        ranks = np.where(rest >> np.uint64(11) == 0, 64 - self._BITS + 1, 54 - exponents)
        np.maximum.at(self._registers, places, ranks.astype(np.uint8))

    def merge(self, other: Distinct) -> None:
        np.maximum(self._registers, other._registers, out=self._registers)

    def estimate(self) -> int:
        size = len(self._registers)
        raw = 0.7213 / (1 + 1.079 / size) * size * size / np.ldexp(1.0, -self._registers.astype(np.int64)).sum()
        empty = int((self._registers == 0).sum())
        if raw <= 2.5 * size and empty:
            return round(size * math.log(size / empty))
        return round(raw)


class TopItems:
    """The most frequent values (Misra and Gries, 1982, merged as Agarwal and others, 2012).

    Keeps 1,024 values. A count is too low by at most `error`, itself at most the number of values / 1,025; what occurs more often is there.
    """

    CAPACITY = 1024

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self.error = 0
        self.total = 0

    def update(self, values: list[Any], counts: list[int]) -> None:
        """values: distinct and hashable. counts: of each."""
        self.total += sum(counts)
        for value, count in zip(values, counts, strict=True):
            self._counts[value] = self._counts.get(value, 0) + count
        self._prune()

    def merge(self, other: TopItems) -> None:
        for value, count in other._counts.items():
            self._counts[value] = self._counts.get(value, 0) + count
        self.total, self.error = self.total + other.total, self.error + other.error
        self._prune()

    def _prune(self) -> None:
        if len(self._counts) <= self.CAPACITY:
            return
        least = sorted(self._counts.values(), reverse=True)[self.CAPACITY]
        self._counts = {value: count - least for value, count in self._counts.items() if count > least}
        self.error += least

    def top(self, number: int) -> list[tuple[Any, int]]:
        """Return the most frequent values and their counts, at least; equal counts in the order of the values."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number]

    @property
    def num_kept(self) -> int:
        return len(self._counts)
