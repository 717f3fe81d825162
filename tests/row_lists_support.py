"""Ragged columns drawn by hypothesis, as operators that combine columns row by row take them."""

import itertools

import torch
from hypothesis import strategies as st
from torch import Tensor

from ragged_columns import assert_same as assert_same
from tests_support import ids

NO_OFFSETS = torch.zeros(0, dtype=torch.int64)
NO_WEIGHTS = torch.zeros(0)


def offsets_of(lists: list[list]) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(map(len, lists))])


def flat(lists: list[list], dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.tensor([value for one in lists for value in one], dtype=dtype)


def rows_of(num_rows: int, max_size: int, values: st.SearchStrategy = ids) -> st.SearchStrategy[list[list]]:
    return st.lists(st.lists(values, max_size=max_size), min_size=num_rows, max_size=num_rows)


def column_of(num_rows: int, max_size: int, values: st.SearchStrategy = ids) -> st.SearchStrategy[tuple[list[list], bool]]:
    """Lists of rows, and whether they go without offsets because each row has one value."""
    dense = st.lists(st.lists(values, min_size=1, max_size=1), min_size=num_rows, max_size=num_rows)
    return st.one_of(st.tuples(rows_of(num_rows, max_size, values), st.just(False)), st.tuples(dense, st.booleans()))


def given_offsets(lists: list[list], is_dense: bool) -> Tensor:
    return NO_OFFSETS if is_dense else offsets_of(lists)


def random_column(num_rows: int, max_size: int, generator: torch.Generator, num_ids: int = 2**62) -> tuple[Tensor, Tensor]:
    """Ids and offsets of rows of 0 to max_size ids."""
    offsets = torch.zeros(num_rows + 1, dtype=torch.int64)
    offsets[1:] = torch.randint(0, max_size + 1, (num_rows,), generator=generator).cumsum(0)
    return torch.randint(-num_ids, num_ids, (int(offsets[-1]),), generator=generator), offsets
