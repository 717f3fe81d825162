"""cross_rows against combinations of plain lists, hashed by a plain MurmurHash64A."""

import functools
import itertools
import operator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from row_lists_support import NO_OFFSETS, NO_WEIGHTS, assert_same, column_of, flat, given_offsets, random_column
from sparrow.ops.cross_rows import reference
from sparrow.ops.cross_rows.op import cross_rows
from sparrow.ops.hashes import murmur64a
from triton_support import compile_kernels, for_every_target, interpreted

WEIGHTS = st.floats(width=32, allow_nan=False)


@st.composite
def _crosses(draw):
    """Inputs of results as (lists, is dense, weights or None)."""
    results = []
    for _ in range(draw(st.integers(0, 3))):
        num_rows, num_inputs = draw(st.integers(0, 5)), draw(st.integers(2, 4))
        inputs = []
        for _ in range(num_inputs):
            lists, is_dense = draw(column_of(num_rows, 12 if num_inputs == 2 else 4))
            size = sum(map(len, lists))
            inputs.append((lists, is_dense, draw(st.none() | st.lists(WEIGHTS, min_size=size, max_size=size))))
        results.append(inputs)
    return results


def _arguments(results):
    inputs = list(itertools.chain(*results))
    return (
        [flat(lists) for lists, _, _ in inputs],
        [NO_WEIGHTS if weights is None else torch.tensor(weights, dtype=torch.float32) for _, _, weights in inputs],
        [given_offsets(lists, is_dense) for lists, is_dense, _ in inputs],
        torch.tensor([0, *itertools.accumulate(map(len, results))]),
    )


def _expected(inputs):
    """Ids, weights or none, and offsets by Python's own lists."""
    ids, weights, ends = [], [], [0]
    starts = [list(itertools.accumulate(map(len, lists), initial=0)) for lists, _, _ in inputs]
    for row in range(len(inputs[0][0])):
        of_row = [
            [(id, np.float32(1 if given is None else given[begins[row] + place])) for place, id in enumerate(lists[row])]
            for (lists, _, given), begins in zip(inputs, starts, strict=True)
        ]
        for combination in itertools.product(*of_row):
            ids.append(murmur64a(b"".join(id.to_bytes(8, "little", signed=True) for id, _ in combination)))
            with np.errstate(all="ignore"):
                weights.append(functools.reduce(operator.mul, (weight for _, weight in combination)))
        ends.append(len(ids))
    is_weighted = any(given for _, _, given in inputs)
    return ids, weights if is_weighted else [], ends


@settings(max_examples=150, deadline=None)
@given(_crosses())
def test_every_combination_of_a_row(results):
    arguments = _arguments(results)
    before = [[one.clone() for one in part] for part in arguments[:3]]
    got = cross_rows(*arguments)
    for part, kept in zip(arguments[:3], before, strict=True):
        assert_same(part, kept)
    for mine, specified in zip(got, reference.cross_rows(*arguments), strict=True):
        for one, other in zip(mine, specified, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    for inputs, ids, weights, offsets in zip(results, *got, strict=True):
        expected = _expected(inputs)
        assert ids.tolist() == expected[0]
        assert np.array_equal(weights.numpy(), np.array(expected[1], np.float32), equal_nan=True)
        assert offsets.tolist() == expected[2]


def test_published_vectors():
    x, y = torch.tensor([1001, 1002, 1003]), torch.tensor([1, 2, 3])
    values, weights, offsets = cross_rows([x, y], [NO_WEIGHTS] * 2, [torch.arange(4), NO_OFFSETS], torch.tensor([0, 2]))
    assert values[0].tolist() == [-7808879811642834040, -4967483181219983279, 1752425377096056168]
    assert weights[0].shape == (0,)
    assert offsets[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_and_large_columns(threads):
    """Against torch's own operations a column, over many pieces of rows."""
    generator = torch.Generator().manual_seed(3)
    (x, x_offsets), (y, y_offsets) = (random_column(5000, 9, generator) for _ in range(2))
    w = torch.rand(x.numel(), generator=generator)
    dense = torch.randint(0, 99, (5000,), generator=generator)
    first_input = torch.tensor([0, 2, 4])
    arguments = [x, y, x, dense], [w, NO_WEIGHTS, w, NO_WEIGHTS], [x_offsets, y_offsets, x_offsets, NO_OFFSETS], first_input
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        values, weights, offsets = cross_rows(*arguments)
    finally:
        torch.set_num_threads(before)
    row_of_x = torch.repeat_interleave(torch.arange(5000), x_offsets.diff())
    per_id = y_offsets.diff()[row_of_x]
    ends = per_id.cumsum(0)
    first = torch.repeat_interleave(torch.arange(x.numel()), per_id)
    second = torch.arange(int(ends[-1])) - torch.repeat_interleave(ends - per_id, per_id) + y_offsets[row_of_x][first]
    every = range(0, first.numel(), 97)
    pairs = [(int(x[first[i]]), int(y[second[i]])) for i in every]
    assert values[0][::97].tolist() == [murmur64a(b"".join(id.to_bytes(8, "little", signed=True) for id in pair)) for pair in pairs]
    assert torch.equal(weights[0], w[first])
    assert torch.equal(offsets[0].diff(), x_offsets.diff() * y_offsets.diff())
    assert torch.equal(offsets[1], x_offsets)
    assert torch.equal(weights[1], w)
    torch.set_num_threads(1)
    try:
        for got, expected in zip((values, weights, offsets), cross_rows(*arguments), strict=True):
            assert_same(got, expected)
    finally:
        torch.set_num_threads(before)


def test_one_long_row():
    x, y = torch.arange(3000), torch.arange(700) - 350
    values, _, offsets = cross_rows([x, y], [NO_WEIGHTS] * 2, [torch.tensor([0, 3000]), torch.tensor([0, 700])], torch.tensor([0, 2]))
    assert offsets[0].tolist() == [0, 2_100_000]
    for at in (0, 699, 700, 1_234_567, 2_099_999):
        pair = (at // 700, at % 700 - 350)
        assert values[0][at] == murmur64a(b"".join(id.to_bytes(8, "little", signed=True) for id in pair))


def test_what_an_empty_list_undoes_is_not_made():
    """Both 2^36 combinations of two lists would not fit into memory; an empty third, or fourth, leaves none of them."""
    many, one, none = torch.zeros(2**18, dtype=torch.int64), torch.tensor([7]), torch.zeros(0, dtype=torch.int64)
    wide, first, last = torch.tensor([0, 0, 2**18, 2**18]), torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 1, 2])
    inputs = [(many, wide), (many, wide), (none, torch.zeros(4, dtype=torch.int64)), (one, first), (torch.tensor([7, 8]), last)]
    for chosen in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [4, 0, 1], [3, 4, 4]):
        values, offsets = zip(*(inputs[i] for i in chosen), strict=True)
        arguments = [*values], [NO_WEIGHTS] * len(chosen), [*offsets], torch.tensor([0, len(chosen)])
        for got, expected in zip(cross_rows(*arguments), reference.cross_rows(*arguments), strict=True):
            assert_same(got, expected)


def test_no_results():
    assert cross_rows([], [], [], torch.tensor([0])) == ([], [], [])


def _two(**changes):
    arguments = {
        "values": [torch.arange(3), torch.arange(2)],
        "weights": [NO_WEIGHTS, NO_WEIGHTS],
        "offsets": [torch.tensor([0, 2, 3]), NO_OFFSETS],
        "first_input": torch.tensor([0, 2]),
    }
    return {**arguments, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": [torch.arange(3), torch.arange(2).int()]}, "values of input 1 has the wrong dtype"),
        ({"values": [torch.arange(6)[::2], torch.arange(2)]}, "values of input 0 must be a contiguous"),
        ({"weights": [NO_WEIGHTS, torch.ones(3)]}, "weights of input 1 are 3, its values 2"),
        ({"weights": [NO_WEIGHTS]}, "as many inputs, are 2, 1 and 2"),
        ({"weights": [NO_WEIGHTS, torch.ones(2).double()]}, "weights of input 1 has the wrong dtype"),
        ({"offsets": [torch.tensor([0, 2, 4]), NO_OFFSETS]}, "offsets of input 0 go from 0 to 4, must go from 0 to 3"),
        ({"offsets": [torch.tensor([0, 5, 3]), NO_OFFSETS]}, "offsets of input 0 must never decrease, do at row 1"),
        ({"offsets": [torch.tensor([0, 3]), NO_OFFSETS]}, "result 0: input 1 has 2 rows, its first input has 1"),
        ({"first_input": torch.tensor([0, 1, 2])}, "result 0 has 1 inputs, must have at least 2"),
        ({"first_input": torch.tensor([0, 3])}, "first_input must go from 0 to 2"),
        ({"first_input": torch.tensor([0.0, 2.0])}, "first_input has the wrong dtype"),
        ({"first_input": torch.zeros(0, dtype=torch.int64)}, "first_input must go from 0 to 2"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(RuntimeError, match=message):
        cross_rows(**_two(**changes))


def test_too_many_ids_name_the_row():
    many = torch.zeros(70_000, dtype=torch.int64)
    offsets = torch.tensor([0, 100, 100, 50_000, 70_000])
    with pytest.raises(RuntimeError, match=r"result 0 makes too many ids: with row 2 this call makes more than 2147483648"):
        cross_rows([many, many], [NO_WEIGHTS] * 2, [offsets, offsets], torch.tensor([0, 2]))


def test_opcheck():
    w = torch.tensor([0.5, 2.0, 1.0])
    arguments = _two(weights=[w, NO_WEIGHTS])
    opcheck(torch.ops.sparrow.cross_rows.default, tuple(arguments.values()))
    opcheck(torch.ops.sparrow.cross_rows.default, ([], [], [], torch.tensor([0])))


def test_triton_body_in_the_interpreter():
    """Several blocks of rows and of combinations, empty columns, three inputs, more ids than a call may make."""
    generator = torch.Generator().manual_seed(8)
    (x, x_offsets), (y, y_offsets) = random_column(1100, 3, generator), random_column(1100, 2, generator)
    dense, w = torch.randint(0, 9, (1100,), generator=generator), torch.rand(y.numel(), generator=generator)
    empty, many = torch.zeros(3, dtype=torch.int64), torch.zeros(70_000, dtype=torch.int64)
    calls = [
        (
            [x, y, x, dense, y, dense, dense, empty[:0], empty[:1], empty[:0], empty[:0]],
            [NO_WEIGHTS, w, NO_WEIGHTS, NO_WEIGHTS, w, *[NO_WEIGHTS] * 6],
            [x_offsets, y_offsets, x_offsets, NO_OFFSETS, y_offsets, NO_OFFSETS, NO_OFFSETS, empty[:2], NO_OFFSETS, NO_OFFSETS, NO_OFFSETS],
            torch.tensor([0, 2, 5, 7, 9, 11]),
        ),
        ([], [], [], torch.tensor([0])),
        ([empty[:0]] * 2, [NO_WEIGHTS] * 2, [NO_OFFSETS] * 2, torch.tensor([0, 2])),
        (
            [x, many, many],
            [NO_WEIGHTS] * 3,
            [x_offsets, torch.tensor([0, 100, 100, 50_000, 70_000])] * 1 + [NO_OFFSETS],
            torch.tensor([0, 3]),
        ),
        (
            [dense, dense, many, many],
            [NO_WEIGHTS] * 4,
            [NO_OFFSETS, NO_OFFSETS, *[torch.tensor([0, 100, 100, 50_000, 70_000])] * 2],
            torch.tensor([0, 2, 4]),
        ),
    ]
    *answers, rows, many_ids = interpreted("cross_rows", calls)
    for got, call in zip(answers, calls, strict=False):
        for mine, specified in zip(got, reference.cross_rows(*call), strict=True):
            assert_same(mine, specified)
    assert rows == "result 0: input 1 has 4 rows, its first input has 1100"
    assert many_ids.startswith("result 1 makes too many ids: with row 2 this call makes more than 2147483648")


def test_triton_kernels_compile_for_real_targets():
    compiled = compile_kernels("cross_rows.triton", "cross_kernel", constants={"BLOCK_N": 1024})
    assert sorted(compiled) == for_every_target("cross_kernel")
