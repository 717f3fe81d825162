"""In which order an epoch's rows are read, and which of them are whose: arithmetic, the same on every rank.

An epoch is a sequence of deals, a deal a run of files. Its rows have an order that is a function of (files, seed, epoch, shuffle options)
and of nothing else. With C rows dealt before it, rank r of W has been dealt C // W + (r < C % W) rows, so nobody needs to ask anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparrow.errors import ConfigError

# Files a deal where rows are not shuffled: enough that ranks share footers and pieces, few enough that the first batch does not wait.
FILES_IN_ORDER = 16
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Rows in an order that depends on these numbers and the epoch alone, not on ranks, threads or batch size.

    The files of an epoch are permuted; the pieces (stripes, row groups) of `window_files` of them are permuted together; and the rows of
    `buffer_pieces` pieces are permuted together.

    seed:          any whole number of 64 bits without sign.
    window_files:  files whose footers are read together. Between ranks a window is shared: let it hold `world_size * buffer_pieces`
                   pieces or more, else ranks decode rows that they do not use.
    buffer_pieces: decoded pieces in memory together, on top of those read ahead.

    Files that cannot be entered anywhere (CSV, TFRecord, IPC streams) keep their pieces in order among themselves, and are read through
    once more, to be counted, when their window begins.
    """

    seed: int = 0
    window_files: int = 64
    buffer_pieces: int = 8

    def __post_init__(self) -> None:
        for name, value, least in (
            ("seed", self.seed, 0),
            ("window_files", self.window_files, 1),
            ("buffer_pieces", self.buffer_pieces, 1),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"Shuffle: {name} is {value!r}; expected a whole number of at least {least}")
        if self.seed > _MASK:
            raise ConfigError(f"Shuffle: seed is {self.seed}; expected less than 2**64")


def permutation(num_items: int, *key: int) -> Any:
    """Return the numbers below `num_items` (int64) in an order fixed by `key`. Cost: a sort.

    They are sorted by a 64-bit mix of number and key. The mix is one to one, so no two are equal, and no library's generator has a say.
    """
    state = 0
    for part in key:
        state = _mix((state ^ (part & _MASK)) + _GOLDEN & _MASK)
    mixed = np.arange(num_items, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(state)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.argsort(mixed)


def _mix(word: int) -> int:
    """Mix 64 bits, one to one: the finalizer of splitmix64."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _MASK
    return word ^ (word >> 31)


def dealt_to(rank: int, world_size: int, rows: int) -> int:
    """Return how many of the first `rows` rows are this rank's."""
    return rows // world_size + (rank < rows % world_size)


def share(rank: int, world_size: int, dealt: int, rows: int) -> Interval:
    """Return which of the `rows` rows that follow after `dealt` are this rank's: a run of them, rank 0's first."""

    def before(other: int) -> int:
        # Ranks below `other` hold the floor each, and one more for each of them below the remainder.
        def held(total: int) -> int:
            return total // world_size * other + min(other, total % world_size)

        return held(dealt + rows) - held(dealt)

    return before(rank), before(rank + 1)


def epoch_files(num_files: int, shuffle: Shuffle | None, epoch: int) -> Sequence[int]:
    """Return the places of the files in the order of an epoch."""
    if shuffle is None:
        return range(num_files)
    order: list[int] = permutation(num_files, shuffle.seed, epoch).tolist()
    return order


def files_per_deal(shuffle: Shuffle | None) -> int:
    return FILES_IN_ORDER if shuffle is None else shuffle.window_files


# Sorted, disjoint, non-touching intervals of a deal's order.


def intersect(intervals: Iterable[Interval], begin: int, end: int) -> Iterator[Interval]:
    """Yield the parts of `intervals` that lie in begin..end."""
    for low, high in intervals:
        if max(low, begin) < min(high, end):
            yield max(low, begin), min(high, end)


def within(intervals: Iterable[Interval], begin: int, end: int) -> Iterator[Interval]:
    """Yield what the elements begin..end of the concatenation of `intervals` are."""
    first = 0
    for low, high in intervals:
        if max(first, begin) < min(first + high - low, end):
            yield low + max(0, begin - first), low + min(high - low, end - first)
        first += high - low


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return what any of `intervals` hold, sorted and merged. Raises `ValueError` where two overlap."""
    merged: list[Interval] = []
    for low, high in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if merged and low < merged[-1][1]:
            raise ValueError(f"rows {low} to {min(high, merged[-1][1])} twice")
        if merged and low == merged[-1][1]:
            merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return merged
