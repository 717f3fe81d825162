"""bucketize against a count in Python and torch.bucketize."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.bucketize import reference
from sparrow.ops.bucketize.op import bucketize

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(values=st.lists(FLOATS, max_size=40), boundaries=st.lists(st.floats(-1e6, 1e6), max_size=12, unique=True), double=st.booleans())
def test_counts_the_boundaries_reached(values: list[float], boundaries: list[float], double: bool) -> None:
    known = torch.tensor(sorted(boundaries), dtype=torch.float64)
    tensor = torch.tensor([*values, *boundaries], dtype=torch.float64 if double else torch.float32)
    expected = [len(boundaries) if math.isnan(v) else sum(b <= v for b in boundaries) for v in tensor.tolist()]
    assert bucketize(tensor, known).tolist() == expected
    assert reference.bucketize(tensor, known).tolist() == expected
    finite = tensor[~tensor.isnan()].double()
    assert torch.equal(bucketize(finite, known), torch.bucketize(finite, known, right=True))


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.bucketize.default, (torch.randn(7), torch.tensor([0.0, 1.0], dtype=torch.float64)))


@pytest.mark.parametrize("boundaries", [[1.0, 1.0], [2.0, 1.0], [math.nan, 1.0]])
def test_boundaries_must_increase(boundaries: list[float]) -> None:
    with pytest.raises(RuntimeError, match="boundaries"):
        bucketize(torch.zeros(1), torch.tensor(boundaries, dtype=torch.float64))
