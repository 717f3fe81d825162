"""bucketize against a count in Python and torch.bucketize."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.bucketize import reference
from sparrow.ops.bucketize.op import bucketize
from tests_support import id_lists

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
DTYPES = [torch.float32, torch.float64, torch.int64]


@given(values=st.lists(FLOATS, max_size=40), boundaries=st.lists(st.floats(-1e6, 1e6), max_size=12, unique=True), double=st.booleans())
def test_counts_the_boundaries_reached(values: list[float], boundaries: list[float], double: bool) -> None:
    known = torch.tensor(sorted(boundaries), dtype=torch.float64)
    tensor = torch.tensor([*values, *boundaries], dtype=torch.float64 if double else torch.float32)
    expected = [len(boundaries) if math.isnan(v) else sum(b <= v for b in boundaries) for v in tensor.tolist()]
    assert bucketize(tensor, known).tolist() == expected
    assert reference.bucketize(tensor, known).tolist() == expected
    finite = tensor[~tensor.isnan()].double()
    assert torch.equal(bucketize(finite, known), torch.bucketize(finite, known, right=True))


# Around the ends of the range, and where a float64 stops telling neighbours apart.
EDGES = [-math.inf, -(2.0**63) - 2048, -(2.0**63), -0.5, 0.0, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63 - 1024, 2.0**63, math.inf]


@given(ids=id_lists(30), boundaries=st.sets(st.one_of(st.sampled_from(EDGES), st.floats(allow_nan=False)), max_size=12))
def test_integers_are_compared_exactly(ids: list[int], boundaries: set[float]) -> None:
    inside = [int(b) for b in boundaries if -(2**63) < b < 2**63]
    values = [*ids, *(v for b in inside for v in (b - 1, b, b + 1) if -(2**63) <= v < 2**63), 2**53 + 1, 2**63 - 1, -(2**63)]
    expected = [sum(b <= v for b in boundaries) for v in values]  # Python compares an int with a float exactly
    tensor, known = torch.tensor(values, dtype=torch.int64), torch.tensor(sorted(boundaries), dtype=torch.float64)
    assert bucketize(tensor, known).tolist() == expected
    assert reference.bucketize(tensor, known).tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_boundaries", [0, 1, 2, 63, 1000])
@pytest.mark.parametrize("size", [0, 1, 63, 100_000])
def test_sizes_and_threads(size: int, num_boundaries: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(size)
    values = (torch.randn(size, generator=generator, dtype=torch.float64) * 500).to(dtype)
    boundaries = torch.arange(num_boundaries, dtype=torch.float64) - num_boundaries / 3
    torch.set_num_threads(1)
    one = bucketize(values, boundaries)
    torch.set_num_threads(2)
    assert torch.equal(one, bucketize(values, boundaries))
    assert np.array_equal(one.numpy(), np.digitize(values.numpy(), boundaries.numpy()) if num_boundaries else np.zeros(size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype) -> None:
    opcheck(torch.ops.sparrow.bucketize.default, (torch.arange(7).to(dtype), torch.tensor([0.0, 1.0], dtype=torch.float64)))


@pytest.mark.parametrize("boundaries", [[1.0, 1.0], [2.0, 1.0], [math.nan, 1.0], [1.0, math.nan], [math.nan]])
def test_boundaries_must_increase(boundaries: list[float]) -> None:
    with pytest.raises(RuntimeError, match="boundaries"):
        bucketize(torch.zeros(1), torch.tensor(boundaries, dtype=torch.float64))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(RuntimeError, match="values must be float32, float64 or int64"):
        bucketize(torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="values must be a contiguous"):
        bucketize(torch.zeros(4)[::2], torch.zeros(1, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="boundaries has the wrong dtype"):
        bucketize(torch.zeros(1), torch.zeros(1))
