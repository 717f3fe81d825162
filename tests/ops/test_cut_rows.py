"""cut_rows against slices of every column."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrow.ops.cut_rows import reference
from sparrow.ops.cut_rows.op import cut_rows

_DTYPES = [torch.int64, torch.float32, torch.uint8, torch.int16, torch.float64]


@st.composite
def _blocks(draw):
    num_rows, num_lists = draw(st.integers(0, 9)), draw(st.integers(0, 4))
    lengths = draw(st.lists(st.integers(0, 3), min_size=num_lists * num_rows, max_size=num_lists * num_rows))
    offsets = torch.zeros(num_lists, num_rows + 1, dtype=torch.int64)
    offsets[:, 1:] = torch.tensor(lengths, dtype=torch.int64).view(num_lists, num_rows).cumsum(1)
    values = [torch.randint(0, 100, (int(end),)).to(draw(st.sampled_from(_DTYPES))) for end in offsets[:, -1]]
    dense = [
        torch.randint(0, 100, (draw(st.integers(1, 3)), num_rows)).to(dtype)
        for dtype in draw(st.lists(st.sampled_from(_DTYPES), max_size=3))
    ]
    begin = draw(st.integers(0, num_rows))
    return offsets, values, dense, begin, draw(st.integers(begin, num_rows))


@settings(max_examples=300, deadline=None)
@given(_blocks())
def test_columns_are_those_of_the_reference(blocks):
    got, expected = cut_rows(*blocks), reference.cut_rows(*blocks)
    assert [one.dtype for one in got] == [one.dtype for one in expected]
    assert [one.tolist() for one in got] == [one.tolist() for one in expected]
    assert all(one.is_contiguous() for one in got)


def test_columns_share_the_memory_of_the_blocks_and_offsets_do_not():
    offsets, values, dense = torch.tensor([[0, 1, 3]]), [torch.arange(3)], [torch.zeros(1, 2)]
    column, of, bounds = cut_rows(offsets, values, dense, 1, 2)
    column.fill_(7)
    of.fill_(9)
    bounds.fill_(5)
    assert dense[0].tolist() == [[0, 7]]
    assert values[0].tolist() == [0, 9, 9]
    assert offsets.tolist() == [[0, 1, 3]]


def test_what_is_cut_keeps_the_blocks_alive_and_takes_part_in_autograd():
    dense = torch.arange(2_000_000, dtype=torch.float32).view(2, -1)
    expected = dense[1, -5:].clone()
    column = cut_rows(torch.zeros(0, dense.shape[1] + 1, dtype=torch.int64), [], [dense], dense.shape[1] - 5, dense.shape[1])[1]
    del dense
    torch.full((2_000_000,), -1.0)
    assert torch.equal(column, expected)
    weight = torch.ones(5, requires_grad=True)
    (weight * column).sum().backward()
    assert torch.equal(weight.grad, expected)


def _one(bounds=(0, 2, 3), num_values=3, begin=0, end=2, dense=()):
    return torch.tensor([list(bounds)]), [torch.arange(num_values)], list(dense), begin, end


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (_one(begin=-1), "rows -1 to 2 are not among 2"),
        (_one(end=3), "rows 0 to 3 are not among 2"),
        (_one(begin=2, end=1), "rows 2 to 1"),
        (_one(bounds=(0, 2, 4)), "those of column 0 decrease, or end beyond its 3 values"),
        (_one(bounds=(0, 3, 2)), "those of column 0"),
        (_one(bounds=(-1, 2, 3)), "those of column 0"),
        (_one(bounds=(0, -(2**63), 3)), "those of column 0"),
        (_one(dense=[torch.zeros(1, 3)]), "dense must be contiguous"),
        (_one(dense=[torch.zeros(2, 2).t()[:, :1].expand(2, 2)]), "dense must be contiguous"),
        ((torch.tensor([0, 1]), [], [], 0, 1), "offsets must be"),
        ((torch.tensor([[0, 1]]), [], [], 0, 1), "a tensor a row of offsets"),
        ((torch.tensor([[0, 1]]), [torch.zeros(1, 1)], [], 0, 1), "of one dimension"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        cut_rows(*arguments)
