"""concat_rows against lists joined in Python."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from row_lists_support import NO_OFFSETS, NO_WEIGHTS, assert_same, column_of, flat, given_offsets, offsets_of, random_column
from sparrow.ops.concat_rows import reference
from sparrow.ops.concat_rows.op import concat_rows
from triton_support import compile_kernels, for_every_target, interpreted

DTYPES = [torch.int64, torch.float32, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.float64, torch.bool]


@st.composite
def _concats(draw):
    """Inputs of results as (lists, is dense, weights or None), and a dtype a result."""
    results = []
    for _ in range(draw(st.integers(0, 3))):
        num_rows, dtype = draw(st.integers(0, 6)), draw(st.sampled_from(DTYPES))
        values = st.booleans() if dtype == torch.bool else st.integers(0, 100)
        inputs = []
        for _ in range(draw(st.integers(1, 4))):
            lists, is_dense = draw(column_of(num_rows, 20, values))
            size = sum(map(len, lists))
            inputs.append((lists, is_dense, draw(st.none() | st.lists(st.floats(width=32), min_size=size, max_size=size))))
        results.append((inputs, dtype))
    return results


def _arguments(results):
    inputs = [(*one, dtype) for of_result, dtype in results for one in of_result]
    return (
        [flat(lists, dtype) for lists, _, _, dtype in inputs],
        [NO_WEIGHTS if weights is None else torch.tensor(weights, dtype=torch.float32) for _, _, weights, _ in inputs],
        [given_offsets(lists, is_dense) for lists, is_dense, _, _ in inputs],
        torch.tensor([0, *itertools.accumulate(len(of_result) for of_result, _ in results)]),
    )


@settings(max_examples=150, deadline=None)
@given(_concats())
def test_lists_one_after_the_other(results):
    arguments = _arguments(results)
    before = [[one.clone() for one in part] for part in arguments[:3]]
    got = concat_rows(*arguments)
    for part, kept in zip(arguments[:3], before, strict=True):
        assert_same(part, kept)
    for mine, specified in zip(got, reference.concat_rows(*arguments), strict=True):
        assert_same(mine, specified)
    for (inputs, dtype), values, weights, offsets in zip(results, *got, strict=True):
        rows = [list(itertools.chain(*row)) for row in zip(*(lists for lists, _, _ in inputs), strict=True)]
        assert_same([values, offsets], [flat(rows, dtype), offsets_of(rows)])
        if not any(given for _, _, given in inputs):
            assert weights.shape == (0,)
            continue
        expected = []
        starts = [list(itertools.accumulate(map(len, lists), initial=0)) for lists, _, _ in inputs]
        for row in range(len(rows)):
            for (_, _, given_), begins in zip(inputs, starts, strict=True):
                begin, end = begins[row : row + 2]
                expected += [1.0] * (end - begin) if given_ is None else given_[begin:end]
        assert_same([weights], [torch.tensor(expected, dtype=torch.float32)])


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_and_large_columns(threads):
    generator = torch.Generator().manual_seed(4)
    columns = [random_column(9000, longest, generator) for longest in (40, 1, 7)]
    dense = torch.randint(0, 99, (9000,), generator=generator)
    values = [*(ids for ids, _ in columns), dense]
    offsets = [*(ends for _, ends in columns), NO_OFFSETS]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (joined,), (weights,), (ends,) = concat_rows(values, [NO_WEIGHTS] * 4, offsets, torch.tensor([0, 4]))
    finally:
        torch.set_num_threads(before)
    rows = [ids.split_with_sizes(bounds.diff().tolist()) for ids, bounds in columns] + [dense.split(1)]
    assert torch.equal(joined, torch.cat(list(itertools.chain(*zip(*rows, strict=True)))))
    assert torch.equal(ends, columns[0][1] + columns[1][1] + columns[2][1] + torch.arange(9001))
    assert weights.shape == (0,)


def test_no_results():
    assert concat_rows([], [], [], torch.tensor([0])) == ([], [], [])


def _two(**changes):
    arguments = {
        "values": [torch.arange(3), torch.arange(2)],
        "weights": [NO_WEIGHTS, torch.tensor([0.5, 2.0])],
        "offsets": [torch.tensor([0, 2, 3]), NO_OFFSETS],
        "first_input": torch.tensor([0, 2]),
    }
    return {**arguments, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": [torch.arange(3), torch.arange(2).int()]}, "result 0: values of input 1 have another dtype"),
        (
            {"values": [torch.zeros(2, dtype=torch.complex64)] * 2, "offsets": [NO_OFFSETS] * 2, "weights": [NO_WEIGHTS] * 2},
            "values of input 0 have a dtype that columns do not have",
        ),
        ({"values": [torch.arange(6)[::2], torch.arange(2)]}, "values of input 0 must be a contiguous"),
        ({"weights": [torch.ones(2), NO_WEIGHTS]}, "weights of input 0 are 2, its values 3"),
        ({"offsets": [torch.tensor([0, 2, 3])]}, "as many inputs, are 2, 2 and 1"),
        ({"offsets": [torch.tensor([1, 2, 3]), NO_OFFSETS]}, "offsets of input 0 go from 1 to 3, must go from 0 to 3"),
        ({"offsets": [torch.tensor([0, 5, 3]), NO_OFFSETS]}, "offsets of input 0 must never decrease, do at row 1"),
        ({"offsets": [torch.tensor([0, -(2**63), 3]), NO_OFFSETS]}, "offsets of input 0 must never decrease, do at row 0"),
        ({"offsets": [torch.tensor([0, 3]), NO_OFFSETS]}, "result 0: input 1 has 2 rows, its first input has 1"),
        ({"first_input": torch.tensor([0, 0, 2])}, "result 0 has 0 inputs, must have at least 1"),
        ({"first_input": torch.tensor([0, 1])}, "first_input must go from 0 to 2"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(RuntimeError, match=message):
        concat_rows(**_two(**changes))


def test_opcheck():
    opcheck(torch.ops.sparrow.concat_rows.default, tuple(_two().values()))
    opcheck(torch.ops.sparrow.concat_rows.default, ([], [], [], torch.tensor([0])))


def test_tracing_several_dtypes_is_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(NotImplementedError, match="trace one dtype"):
        concat_rows([torch.empty(2), torch.empty(2).double()], [NO_WEIGHTS] * 2, [NO_OFFSETS] * 2, torch.arange(3))


def test_triton_body_in_the_interpreter():
    """Several blocks of values and of rows, empty columns, every size of item."""
    generator = torch.Generator().manual_seed(8)
    (x, x_offsets), (y, y_offsets) = random_column(1100, 3, generator), random_column(1100, 2, generator)
    dense, w = torch.arange(1100), torch.rand(y.numel(), generator=generator)
    empty = torch.zeros(3, dtype=torch.int64)
    calls = [
        (
            [x, y, dense, x.short(), y.short(), empty[:0], empty[:0].float(), x.to(torch.int8), dense.to(torch.int8), x.float()],
            [NO_WEIGHTS, w, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS, torch.rand(1100), NO_WEIGHTS],
            [x_offsets, y_offsets, NO_OFFSETS, x_offsets, y_offsets, empty, NO_OFFSETS, x_offsets, NO_OFFSETS, x_offsets],
            torch.tensor([0, 3, 5, 6, 7, 9, 10]),
        ),
        ([], [], [], torch.tensor([0])),
        ([x, dense[:-1]], [NO_WEIGHTS] * 2, [x_offsets, NO_OFFSETS], torch.tensor([0, 2])),
    ]
    *answers, refused = interpreted("concat_rows", calls)
    for got, call in zip(answers, calls, strict=False):
        for mine, specified in zip(got, reference.concat_rows(*call), strict=True):
            assert_same(mine, specified)
    assert refused == "result 0: input 1 has 1099 rows, its first input has 1100"


def test_triton_kernels_compile_for_real_targets():
    compiled = compile_kernels("concat_rows.triton", "concat_kernel", types={"num_steps": "i32"}, constants={"BLOCK_N": 1024})
    assert sorted(compiled) == for_every_target("concat_kernel")
