"""overlap_rows against Python's sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from row_lists_support import NO_OFFSETS, assert_same, column_of, flat, given_offsets, random_column
from sparrow.ops.overlap_rows import reference
from sparrow.ops.overlap_rows.kinds import KINDS
from sparrow.ops.overlap_rows.op import overlap_rows
from tests_support import ids
from triton_support import compile_kernels, for_every_target, interpreted

# Few enough that lists share ids.
IDS = st.one_of(st.integers(0, 5), ids)


def _number(kind: str, a: set[int], b: set[int]) -> np.float32:
    both, whole = np.float32(len(a & b)), {"ratio": a, "jaccard": a | b}.get(kind)
    if whole is not None:
        return both / np.float32(len(whole)) if whole else np.float32(0)
    return np.float32({"count": len(a & b), "contains": a >= b, "equal": a == b, "any": bool(a & b)}[kind])


@st.composite
def _pairs(draw):
    results = []
    for _ in range(draw(st.integers(0, 4))):
        num_rows = draw(st.integers(0, 5))
        a, b = draw(column_of(num_rows, 20, IDS)), draw(column_of(num_rows, 20, IDS))
        if draw(st.booleans()) and not b[1]:
            # Rows of equal sets, which chance would hardly make.
            b = ([draw(st.permutations(row + row[:2])) for row in a[0]], False)
        results.append((*a, *b, draw(st.sampled_from(KINDS))))
    return results


def _arguments(results):
    return (
        [flat(a) for a, *_ in results],
        [given_offsets(a, is_dense) for a, is_dense, *_ in results],
        [flat(b) for _, _, b, *_ in results],
        [given_offsets(b, is_dense) for _, _, b, is_dense, _ in results],
        torch.tensor([KINDS.index(kind) for *_, kind in results], dtype=torch.int64),
    )


@settings(max_examples=200, deadline=None)
@given(_pairs())
def test_numbers_are_those_of_sets(results):
    arguments = _arguments(results)
    before = [[one.clone() for one in part] for part in arguments[:4]]
    got = overlap_rows(*arguments)
    for part, kept in zip(arguments[:4], before, strict=True):
        assert_same(part, kept)
    assert_same(got, reference.overlap_rows(*arguments))
    for (a, _, b, _, kind), one in zip(results, got, strict=True):
        expected = np.array([_number(kind, set(x), set(y)) for x, y in zip(a, b, strict=True)], np.float32)
        assert one.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("longest", [3, 40, 2000])
def test_threads_and_long_rows(longest, threads):
    """Rows around the length from which a table is filled, and far beyond it, with ids that repeat."""
    generator = torch.Generator().manual_seed(longest)
    num_rows = 60_000 // longest
    a, a_offsets = random_column(num_rows, longest, generator, num_ids=max(2, longest // 4))
    b, b_offsets = random_column(num_rows, longest, generator, num_ids=max(2, longest // 4))
    x = len(KINDS)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = overlap_rows([a] * x, [a_offsets] * x, [b] * x, [b_offsets] * x, torch.arange(x))
    finally:
        torch.set_num_threads(before)
    rows = [
        (set(a[a_offsets[row] : a_offsets[row + 1]].tolist()), set(b[b_offsets[row] : b_offsets[row + 1]].tolist()))
        for row in range(num_rows)
    ]
    for kind, one in zip(KINDS, got, strict=True):
        assert one.tolist() == [_number(kind, *row) for row in rows], kind


def test_very_long_rows_are_not_quadratic():
    ends = torch.tensor([0, 400_000])
    evens, threes = torch.arange(400_000) * 2, torch.arange(400_000) * 3
    (count,) = overlap_rows([evens], [ends], [threes], [ends], torch.tensor([KINDS.index("count")]))
    assert count.tolist() == [len(set(range(0, 800_000, 2)) & set(range(0, 1_200_000, 3)))]


def test_no_results():
    assert overlap_rows([], [], [], [], torch.zeros(0, dtype=torch.int64)) == []


def _one(**changes):
    arguments = {
        "a": [torch.arange(3)],
        "a_offsets": [torch.tensor([0, 2, 3])],
        "b": [torch.arange(2)],
        "b_offsets": [NO_OFFSETS],
        "columns": torch.tensor([0]),
    }
    return {**arguments, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": [torch.arange(3).int()]}, "a of result 0 has the wrong dtype"),
        ({"b": [torch.arange(4)[::2]]}, "b of result 0 must be a contiguous"),
        ({"b": []}, "as many results, are 1, 1, 0 and 1"),
        ({"a_offsets": [torch.tensor([0, 2, 4])]}, "a_offsets of result 0 go from 0 to 4, must go from 0 to 3"),
        ({"a_offsets": [torch.tensor([0, 4, 3])]}, "a_offsets of result 0 must never decrease, do at row 1"),
        ({"b_offsets": [torch.tensor([0, 3, 2])]}, "b_offsets of result 0 must never decrease, do at row 1"),
        ({"b_offsets": [torch.tensor([0, 2])]}, "result 0: a has 2 rows, b 1"),
        ({"columns": torch.tensor([6])}, "columns: result 0 has kind 6, must be from 0 to 5"),
        ({"columns": torch.tensor([-1])}, "columns: result 0 has kind -1"),
        ({"columns": torch.tensor([0, 0])}, r"columns must be \[1\], has 2"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(RuntimeError, match=message):
        overlap_rows(**_one(**changes))


def test_opcheck():
    opcheck(torch.ops.sparrow.overlap_rows.default, tuple(_one().values()))
    opcheck(torch.ops.sparrow.overlap_rows.default, ([], [], [], [], torch.zeros(0, dtype=torch.int64)))


def test_triton_body_in_the_interpreter():
    """More rows than a program takes, lists longer than a tile, equal sets, empty columns, every kind."""
    generator = torch.Generator().manual_seed(8)
    (a, a_offsets), (b, b_offsets) = random_column(10, 45, generator, num_ids=20), random_column(10, 45, generator, num_ids=20)
    dense = torch.randint(-20, 20, (10,), generator=generator)
    subset = a[torch.cat([a_offsets[:-1][a_offsets.diff() > 0], a_offsets[1:][a_offsets.diff() > 0] - 1])]
    subset_offsets = torch.tensor([0, *(2 * (a_offsets.diff() > 0).long()).cumsum(0).tolist()])
    empty = torch.zeros(3, dtype=torch.int64)
    results = [
        *((a, a_offsets, b, b_offsets, kind) for kind in range(len(KINDS))),
        *((a, a_offsets, a.flip(0).flip(0), a_offsets, kind) for kind in (3, 4)),
        (a, a_offsets, subset, subset_offsets, 3),
        (dense, NO_OFFSETS, b, b_offsets, 2),
        (empty[:0], empty, dense[:2], NO_OFFSETS, 1),
        (empty[:0], empty, empty[:0], empty, 2),
        (empty[:0], NO_OFFSETS, empty[:0], NO_OFFSETS, 0),
    ]
    *lists, kinds = map(list, zip(*results, strict=True))
    calls = [
        (*lists, torch.tensor(kinds)),
        ([], [], [], [], torch.zeros(0, dtype=torch.int64)),
        tuple(_one(columns=torch.tensor([6])).values()),
    ]
    *answers, refused = interpreted("overlap_rows", calls)
    for got, call in zip(answers, calls, strict=False):
        assert_same(got, reference.overlap_rows(*call))
    assert refused == "columns: result 0 has kind 6, must be from 0 to 5"


def test_triton_kernel_compiles_for_real_targets():
    compiled = compile_kernels("overlap_rows.triton", "overlap_kernel", types={"num_steps": "i32"}, constants={"BLOCK_N": 32, "ROWS": 8})
    assert sorted(compiled) == for_every_target("overlap_kernel")
