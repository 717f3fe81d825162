"""Chosen rows of a column against lists, and at a cost of what is taken."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sparrow.ops.take_rows import take_rows
from sparrow.types import Ragged

rows = st.lists(st.lists(st.lists(st.integers(-5, 5), max_size=4), max_size=4), min_size=1, max_size=6)


def as_column(lists: list[list[list[int]]]) -> Ragged:
    inner = [one for row in lists for one in row]
    offsets = [torch.tensor([0, *map(len, level)]).cumsum(0) for level in (lists, inner)]
    return Ragged(torch.tensor([value for one in inner for value in one], dtype=torch.int64), tuple(offsets))


def as_lists(column: Ragged) -> list[list[list[int]]]:
    outer, inner = (level.tolist() for level in column.offsets)
    values = column.values.tolist()
    return [[values[inner[k] : inner[k + 1]] for k in range(begin, end)] for begin, end in itertools.pairwise(outer)]


@given(rows, st.lists(st.integers(0, 5), max_size=8))
def test_rows_of_lists_of_lists(lists: list[list[list[int]]], chosen: list[int]) -> None:
    chosen = [row % len(lists) for row in chosen]
    taken = take_rows(as_column(lists), torch.tensor(chosen, dtype=torch.int64)).check("x")
    assert as_lists(taken) == [lists[row] for row in chosen]


class Made(TorchDispatchMode):
    """Remembers the bytes of the largest tensor an operation made that is no view of what it was given."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {one.untyped_storage().data_ptr() for one in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in torch.utils._pytree.tree_leaves(out):
            if isinstance(one, Tensor) and one.untyped_storage().data_ptr() not in given:
                self.largest = max(self.largest, one.untyped_storage().nbytes())
        return out


def test_few_rows_of_many_cost_little() -> None:
    """A batch of a shuffled epoch takes a few rows of all pieces in memory: whatever it makes must not grow with these."""
    column = as_column([[[1, 2], [3]]] * 10_000)
    with Made() as made:
        taken = take_rows(column, torch.tensor([7, 9_000, 7]))
    assert as_lists(taken) == [[[1, 2], [3]]] * 3
    assert 0 < made.largest < 4096
