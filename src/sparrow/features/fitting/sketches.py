"""Summaries of a stream of values, updated batch by batch and merged: moments, range, quantiles, counts."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any, Protocol

import torch
from torch import Tensor

from sparrow.errors import ConfigError


class Sketch(Protocol):
    """A summary of values seen. `merge` gives that of both streams; how values were cut into batches matters for rounding alone."""

    def update(self, values: Tensor) -> None: ...

    def merge(self, other: Any) -> None: ...


class Moments:
    """Count, mean and sum of squared deviations, in float64; NaN and infinities are left out.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def update(self, values: Tensor) -> None:
        numbers = _finite(values)
        if numbers.numel():
            mean = float(numbers.mean())
            self._join(numbers.numel(), mean, float((numbers - mean).square().sum()))

    def merge(self, other: Moments) -> None:
        if other.count:
            self._join(other.count, other.mean, other.squares)

    def _join(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        apart = mean - self.mean
        self.squares += squares + apart * apart * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total

    @property
    def std(self) -> float:
        """The standard deviation of what was seen (divided by the count, not one less)."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan


class Range:
    """Least and greatest finite number."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def update(self, values: Tensor) -> None:
        numbers = _finite(values)
        if numbers.numel():
            self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))

    def merge(self, other: Range) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


class Quantiles:
    """Numbers by rank. Exact up to `size` of them; beyond, ranks are off by at most log2(n / size) / size of n: 0.2% at a billion.

    Full buffers are sorted and every other number moves up a level, where it counts double; which of two alternates, so that errors
    cancel. Nothing is random. Memory: `size` numbers a level. Source: Manku, Rajagopalan and Lindsay (1998); Karnin, Lang and Liberty
    (2016), with a fixed choice in place of a random one.
    """

    def __init__(self, size: int = 8192) -> None:
        self.size = size
        self._levels: list[Tensor] = [torch.empty(0, dtype=torch.float64)]
        self._odd: list[bool] = [False]

    @property
    def count(self) -> int:
        """How many numbers were seen (NaN and infinities are left out)."""
        return sum(level.numel() << height for height, level in enumerate(self._levels))

    def update(self, values: Tensor) -> None:
        for chunk in _finite(values).split(self.size):
            self._add(0, chunk)

    def merge(self, other: Quantiles) -> None:
        for height, level in enumerate(other._levels):
            self._add(height, level)

    def _add(self, height: int, numbers: Tensor) -> None:
        while len(self._levels) <= height:
            self._levels.append(numbers.new_empty(0))
            self._odd.append(False)
        held = torch.cat([self._levels[height], numbers])
        if held.numel() <= self.size:
            self._levels[height] = held
            return
        ordered = held.sort().values
        whole = ordered.numel() // 2 * 2
        first = int(self._odd[height])
        self._odd[height] = not self._odd[height]
        # An odd one out stays, so that the count is exact.
        self._levels[height] = ordered[whole:].clone()
        self._add(height + 1, ordered[first:whole:2])

    def at(self, fractions: Tensor) -> Tensor:
        """Return the least number that at least each fraction (float64, above 0, at most 1) of those seen do not exceed."""
        numbers = torch.cat(self._levels)
        counts = torch.cat([torch.full((level.numel(),), 1 << height) for height, level in enumerate(self._levels)])
        order = numbers.argsort()
        running = counts[order].cumsum(0)
        wanted = (fractions.double() * self.count).ceil().clamp_min(1)
        return numbers[order][torch.searchsorted(running.double(), wanted).clamp_max(numbers.numel() - 1)]


class Counts:
    """How often each string or integer occurs, exactly.

    most_distinct: beyond so many, `update` raises `ConfigError`: hash such a column instead of listing its values.
    """

    def __init__(self, most_distinct: int = 20_000_000) -> None:
        self.most_distinct = most_distinct
        self.counts: Counter[int | bytes] = Counter()

    def update(self, values: Tensor) -> None:
        """Count int64 values."""
        distinct, counts = torch.unique(values, return_counts=True)
        self._count(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))

    def update_strings(self, values: Tensor, offsets: Tensor) -> None:
        """Count the strings that `offsets` cut from bytes."""
        data, ends = values.numpy().tobytes(), offsets.tolist()
        self._count(Counter(data[begin:end] for begin, end in itertools.pairwise(ends)))

    def merge(self, other: Counts) -> None:
        self._count(other.counts)

    def _count(self, counts: dict[int, int] | dict[bytes, int] | Counter[bytes] | Counter[int | bytes]) -> None:
        self.counts.update(counts)
        if len(self.counts) > self.most_distinct:
            raise ConfigError(f"vocabulary: more than {self.most_distinct:,} distinct values; hash the column instead")

    def most_frequent(self, min_count: int, max_size: int | None) -> list[int | bytes]:
        """Return the values that occur `min_count` times or more, most frequent first, equals in order of value; at most `max_size`."""
        kept = [(value, count) for value, count in self.counts.items() if count >= min_count]
        kept.sort(key=lambda pair: (-pair[1], pair[0]))
        return [value for value, _ in kept[:max_size]]


def _finite(values: Tensor) -> Tensor:
    numbers = values.reshape(-1).double()
    return numbers[numbers.isfinite()]
