"""pack_lists against lists joined row by row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.pack_lists import reference
from sparrow.ops.pack_lists.op import pack_lists
from triton_support import compile_kernels, for_every_target, interpreted

_DTYPES = [torch.int64, torch.float32, torch.uint8, torch.int16, torch.float64, torch.bool]


@st.composite
def _parts(draw):
    num_columns, dtype = draw(st.integers(1, 4)), draw(st.sampled_from(_DTYPES))
    offsets, values = [], []
    for num_rows in draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)):
        lengths = torch.tensor(draw(st.lists(st.integers(0, 12), min_size=num_columns * num_rows, max_size=num_columns * num_rows)))
        bounds = torch.zeros(num_columns, num_rows + 1, dtype=torch.int64)
        bounds[:, 1:] = lengths.view(num_columns, num_rows).cumsum(1)
        offsets.append(bounds)
        values += [torch.randint(0, 100, (int(end),)).to(dtype) for end in bounds[:, -1]]
    total = sum(bounds.shape[1] - 1 for bounds in offsets)
    if total and draw(st.booleans()):
        return offsets, values, torch.tensor(draw(st.lists(st.integers(0, total - 1), max_size=8)), dtype=torch.int64)
    runs = draw(st.lists(st.tuples(st.integers(0, total), st.integers(0, total)).map(sorted), max_size=6))
    return offsets, values, torch.tensor(runs, dtype=torch.int64).view(-1, 2)


@settings(max_examples=150, deadline=None)
@given(_parts())
def test_rows_are_those_of_the_reference(parts):
    expected = reference.pack_lists(*parts)
    for sizes in (None, expected[2]):
        _assert_same(pack_lists(*parts, sizes), expected)


def _assert_same(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("threads", [1, 4])
def test_many_columns_and_large_parts(threads):
    generator = torch.Generator().manual_seed(5)
    bounds = torch.randint(0, 9, (30, 20_001), generator=generator)
    bounds[:, 0] = 0
    bounds = bounds.cumsum(1)
    values = [torch.randint(-(2**62), 2**62, (int(end),), generator=generator) for end in bounds[:, -1]]
    index = torch.randperm(20_000, generator=generator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        offsets, packed, sizes = pack_lists([bounds], values, index)
    finally:
        torch.set_num_threads(before)
    for column, (of, one) in enumerate(zip(packed.split_with_sizes(sizes.tolist()), offsets, strict=True)):
        lists = values[column].split_with_sizes(bounds[column].diff().tolist())
        assert torch.equal(one.diff(), bounds[column].diff()[index])
        assert torch.equal(of, torch.cat([lists[row] for row in index.tolist()]))


def _one(bounds=(0, 2, 3), num_values=3, rows=((0, 2),)):
    return [torch.tensor([list(bounds)])], [torch.arange(num_values)], torch.tensor(rows, dtype=torch.int64).view(-1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (_one(rows=[(0, 3)]), "run 0 from 0 to 3 is not among 2 rows"),
        (_one(rows=[(0, 1), (2, 1)]), "run 1 from 2 to 1"),
        (_one(rows=[(-1, 1)]), "run 0 from -1"),
        (_one(bounds=(0, 2, 4)), "column 0 of part 0 ends at 4, but has 3 values"),
        (_one(bounds=(1, 2, 3)), "column 0 of part 0"),
        (_one(bounds=(0, 5, 3)), "those of column 0 decrease"),
        (_one(bounds=(0, -(2**63), 3)), "those of column 0 decrease"),
        (([], [], torch.zeros(0, 2, dtype=torch.int64)), "must have a part"),
        ((*_one()[:2], torch.zeros(2, 3, dtype=torch.int64)), r"rows must be \[R, 2\], or \[R\]"),
        ((*_one()[:2], torch.zeros(2, 2, 1, dtype=torch.int64)), r"rows must be \[R, 2\], or \[R\]"),
        ((*_one()[:2], torch.tensor([0, 2])), "run 1 from 2 to 3 is not among 2 rows"),
        ((*_one()[:2], torch.tensor([-1])), "run 0 from -1 to 0 is not among 2 rows"),
        ((*_one()[:2], torch.tensor([2**63 - 1])), "run 0 from 9223372036854775807 to -9223372036854775808"),
        ((_one()[0], [torch.arange(3), torch.arange(3)], _one()[2]), "parts x columns"),
        ((_one()[0] * 2, [torch.arange(3), torch.arange(3.0)], _one()[2]), "of one dtype"),
        ((*_one(), torch.tensor([4])), "sizes: column 0 gets 3 values, not 4"),
        ((*_one(), torch.tensor([3, 0])), "sizes must be a number a column"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        pack_lists(*arguments)


def test_opcheck():
    opcheck(torch.ops.sparrow.pack_lists.default, _one())
    opcheck(torch.ops.sparrow.pack_lists.default, (*_one(), torch.tensor([3])))


def _random_parts(num_columns, rows_of_parts, dtype, longest, generator):
    """Parts with columns without values, and lists of 0 to `longest` values."""
    offsets, values = [], []
    for num_rows in rows_of_parts:
        bounds = torch.zeros(num_columns, num_rows + 1, dtype=torch.int64)
        bounds[:, 1:] = torch.randint(0, longest + 1, (num_columns, num_rows), generator=generator).cumsum(1)
        bounds[num_columns - 1] = 0
        offsets.append(bounds)
        values += [torch.randint(0, 2, (int(end),), generator=generator).to(dtype) for end in bounds[:, -1]]
    return offsets, values


def _triton_calls():
    """Few runs and many, with sizes and without; several blocks; empty runs, parts and columns; every size of item."""
    generator = torch.Generator().manual_seed(9)
    calls = []
    for dtype in _DTYPES:
        parts = _random_parts(3, (5, 0, 9), dtype, 4, generator)
        for runs in ([[3, 11]], [[2, 2], [13, 14], [0, 14]], [[0, 0]], []):
            calls.append((*parts, torch.tensor(runs, dtype=torch.int64).view(-1, 2)))
    large = _random_parts(2, (1300, 40, 900), torch.int64, 3, generator)
    calls.append((*large, torch.tensor([[100, 2100], [2239, 2240], [1290, 1345]])))
    index = torch.randint(0, 2240, (1500,), generator=generator)
    calls.append((*large, torch.stack([index, index + 1], 1)))
    calls += [(*large, index), (*large, index[:9]), (large[0][:1], large[1][:2], index[index < 1300])]
    begins = torch.randint(0, 2235, (50,), generator=generator)
    calls.append((*large, torch.stack([begins, begins + torch.arange(50) % 6], 1)))
    return calls


def test_triton_body_in_the_interpreter():
    calls = _triton_calls()
    expected = [reference.pack_lists(*call) for call in calls]
    with_sizes = [(*call, sizes) for call, (_, _, sizes) in zip(calls, expected, strict=True)]
    refused = [
        (*_one(rows=[(0, 3)]), torch.tensor([3])),
        (*_one(), torch.tensor([3, 0])),
        (*_one()[:2], torch.zeros(1, 3, dtype=torch.int64)),
    ]
    answers = interpreted("pack_lists", [*calls, *with_sizes, *refused])
    for got, wanted in zip(answers, [*expected, *expected], strict=False):
        _assert_same(got, wanted)
    assert answers[-3:] == [
        "rows: run 0 from 0 to 3 is not among 2 rows",
        "sizes must be a number a column",
        "rows must be int64 [R, 2], or [R]",
    ]


def test_triton_kernels_compile_for_real_targets():
    kernels = ("pack_runs_kernel", "find_lists_kernel", "copy_lists_kernel")
    types = dict.fromkeys(("num_runs", "num_parts", "num_rows", "num_steps"), "i32")
    assert sorted(compile_kernels("pack_lists.triton", *kernels, types=types, constants={"BLOCK_N": 1024})) == for_every_target(*kernels)
