"""Ragged columns as nested Python lists of (value, weight) pairs, and as tensors: what tests of operators on rows share."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = [torch.uint8, torch.int8, torch.bool, torch.int16, torch.bfloat16, torch.int32, torch.float32, torch.int64, torch.float64]

# Weights whose order is not that of their bits, among others; each a float32, so that what Python compares is what the columns hold.
WEIGHTS = st.one_of(
    st.sampled_from([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 2.0**-149, -(2.0**-149), 1.0, -1.0]), st.floats(-4, 4, width=32)
)


def items(values: st.SearchStrategy[int], weights: st.SearchStrategy[float] = WEIGHTS) -> st.SearchStrategy[tuple[int, float]]:
    return st.tuples(values, weights)


def rows(num_levels: int, item: st.SearchStrategy[Any], max_rows: int = 6, max_length: int = 6) -> st.SearchStrategy[list[Any]]:
    """Rows of lists of that many levels."""
    of_level = item
    for level in range(num_levels):
        of_level = st.lists(of_level, max_size=max_length if level == 0 else max(max_length // 2, 1))
    return st.lists(of_level, max_size=max_rows)


def flat(nested: list[Any], num_levels: int) -> tuple[list[Any], list[Tensor]]:
    """Return the items end to end, and the offsets of all levels, outermost first."""
    offsets = []
    for _ in range(num_levels):
        ends = [0]
        for one in nested:
            ends.append(ends[-1] + len(one))
        offsets.append(torch.tensor(ends))
        nested = [element for one in nested for element in one]
    return nested, offsets


class Columns:
    """Columns given one by one, gathered into the arguments of an operator."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.offsets: list[Tensor] = []
        self.num_levels: list[int] = []

    def add(self, nested: list[Any], num_levels: int, dtype: torch.dtype, *, weighted: bool = True) -> None:
        pairs, offsets = flat(nested, num_levels)
        self.values.append(torch.tensor([value for value, _ in pairs], dtype=torch.int64).to(dtype))
        self.weights.append(torch.tensor([weight for _, weight in pairs] if weighted else [], dtype=torch.float32))
        self.offsets += offsets
        self.num_levels.append(num_levels)

    @property
    def innermost(self) -> list[Tensor]:
        """The innermost offsets of each column."""
        ends = itertools.accumulate(self.num_levels)
        return [self.offsets[end - 1] for end in ends]

    @property
    def lists(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return self.values, self.weights, self.offsets


def table(rows_of: list[Any], width: int) -> Tensor:
    """Return the parameters of columns, int64 [C, width]."""
    return torch.tensor(rows_of, dtype=torch.int64).reshape(-1, width)


def assert_same(got: Any, expected: Any) -> None:
    """Assert that lists of tensors, or tuples of them, are equal to the bit."""
    assert len(got) == len(expected)
    for one, two in zip(got, expected, strict=True):
        if isinstance(two, Tensor):
            assert one.dtype == two.dtype
            assert one.shape == two.shape
            assert torch.equal(one.view(torch.uint8), two.view(torch.uint8)), (one, two)
        else:
            assert_same(one, two)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def same_for_threads(function: Callable[[], Any]) -> Any:
    """Return what `function` returns, having asserted that 1, 2 and 4 threads give the same bits."""
    with threads(1):
        expected = function()
    for count in (2, 4):
        with threads(count):
            assert_same(function(), expected)
    return expected


def large_columns(num_columns: int, num_rows: int, mean: int, *, seed: int = 1) -> Columns:
    """Return columns of one level: int64 values of all bits, some repeated, weights of few distinct values."""
    generator = torch.Generator().manual_seed(seed)
    columns = Columns()
    for _ in range(num_columns):
        lengths = torch.randint(0, 2 * mean + 1, (num_rows,), generator=generator)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        total = int(offsets[-1])
        known = torch.randint(-(2**62), 2**62, (3 * mean,), generator=generator)
        columns.values.append(known[torch.randint(0, known.numel(), (total,), generator=generator)])
        columns.weights.append(torch.randint(-9, 9, (total,), generator=generator).float())
        columns.offsets.append(offsets)
        columns.num_levels.append(1)
    return columns


def random_columns(seed: int, num_columns: int, dtypes: list[torch.dtype]) -> Columns:
    """Return columns of 1 to 3 levels, some without weights; some have no rows, and some no items."""
    dice = random.Random(seed)
    columns = Columns()

    def nested(num_levels: int) -> Any:
        if num_levels < 0:
            return dice.randrange(5), dice.choice([0.0, -0.0, 1.0, -1.0, 0.5, float("inf"), -float("inf"), float("nan"), 1e-45])
        return [nested(num_levels - 1) for _ in range(dice.choice([0, 1, 2, 3, 7]))]

    for position in range(num_columns):
        num_levels = dice.randint(1, 3)
        columns.add(nested(num_levels), num_levels, dtypes[position % len(dtypes)], weighted=dice.random() < 0.7)
    return columns
