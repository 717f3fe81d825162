"""subtract_rows against Python's integers and numpy's floats, value by value."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from row_lists_support import NO_OFFSETS, assert_same, flat, given_offsets, offsets_of, random_column, rows_of
from sparrow.ops.subtract_rows import reference
from sparrow.ops.subtract_rows.layouts import ALIGNED, ONE_A, ONE_B
from sparrow.ops.subtract_rows.op import subtract_rows
from triton_support import compile_kernels, for_every_target, interpreted

LAYOUTS = [ALIGNED, ONE_B, ONE_A]
DTYPES = [torch.int64, torch.float32, torch.float64]
VALUES = {
    torch.int64: st.one_of(st.integers(-(2**62), 2**62 - 1), st.integers(-100, 100)),
    torch.float32: st.floats(width=32, allow_nan=False),
    torch.float64: st.floats(allow_nan=False),
}


@st.composite
def _subtractions(draw):
    """(a, is dense, b, is dense, layout, dtypes) a result."""
    results = []
    for _ in range(draw(st.integers(0, 3))):
        num_rows, layout = draw(st.integers(0, 5)), draw(st.sampled_from(LAYOUTS))
        dtypes = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(DTYPES))
        lists = draw(rows_of(num_rows, 20, st.none()))
        is_dense = draw(st.booleans())
        if is_dense:
            lists = [[None]] * num_rows

        def column(is_one, dtype, lists=lists, num_rows=num_rows):
            lengths = [1] * num_rows if is_one else [len(one) for one in lists]
            return [[draw(VALUES[dtype]) for _ in range(length)] for length in lengths]

        a, b = column(layout == ONE_A, dtypes[0]), column(layout == ONE_B, dtypes[1])
        results.append((a, is_dense or layout == ONE_A, b, is_dense or layout == ONE_B, layout, dtypes))
    return results


def _arguments(results):
    return (
        [flat(a, dtypes[0]) for a, *_, dtypes in results],
        [given_offsets(a, is_dense) for a, is_dense, *_ in results],
        [flat(b, dtypes[1]) for _, _, b, *_, dtypes in results],
        [given_offsets(b, is_dense) for _, _, b, is_dense, *_ in results],
        torch.tensor([layout for *_, layout, _ in results], dtype=torch.int64),
    )


def _expected(a, b, layout, dtypes):
    out = []
    for of_a, of_b in zip(a, b, strict=True):
        length = len(of_b) if layout == ONE_A else len(of_a)
        for i in range(length):
            x, y = of_a[0 if layout == ONE_A else i], of_b[0 if layout == ONE_B else i]
            if dtypes == (torch.int64, torch.int64):
                out.append(x - y)
            else:
                kind = np.float32 if dtypes == (torch.float32, torch.float32) else np.float64
                with np.errstate(all="ignore"):
                    out.append(kind(x) - kind(y))
    dtype = dtypes[0] if dtypes[0] == dtypes[1] else torch.float64
    return torch.tensor(np.array(out, dtype={torch.int64: np.int64, torch.float32: np.float32}.get(dtype, np.float64)))


@settings(max_examples=200, deadline=None)
@given(_subtractions())
def test_differences_value_by_value(results):
    arguments = _arguments(results)
    before = [[one.clone() for one in part] for part in arguments[:4]]
    got = subtract_rows(*arguments)
    for part, kept in zip(arguments[:4], before, strict=True):
        assert_same(part, kept)
    specified = reference.subtract_rows(*arguments)
    for (a, _, b, _, layout, dtypes), one, other in zip(results, got, specified, strict=True):
        expected = _expected(a, b, layout, dtypes)
        for answer in (one, other):
            assert answer.dtype == expected.dtype
            # Infinity minus infinity is a NaN, whose sign IEEE leaves open; all else is equal to the bit.
            assert torch.equal(answer.isnan(), expected.isnan())
            known = ~expected.isnan()
            assert_same([answer[known]], [expected[known]])


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_large_columns(dtype, threads):
    generator = torch.Generator().manual_seed(6)
    values, offsets = random_column(20_000, 40, generator, num_ids=2**40)
    times = torch.randint(-(2**40), 2**40, (20_000,), generator=generator)
    a, b = values.to(dtype), times.to(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        minus_one, one_minus, aligned = subtract_rows(
            [a, b, a],
            [offsets, NO_OFFSETS, offsets],
            [b, a, a.flip(0)],
            [NO_OFFSETS, offsets, offsets.clone()],
            torch.tensor(LAYOUTS)[[1, 2, 0]],
        )
    finally:
        torch.set_num_threads(before)
    spread = torch.repeat_interleave(b, offsets.diff())
    assert_same([minus_one, one_minus, aligned], [a - spread, spread - a, a - a.flip(0)])


def test_no_results():
    assert subtract_rows([], [], [], [], torch.zeros(0, dtype=torch.int64)) == []


LEAST, MOST = -(2**63), 2**63 - 1
BEYOND = [(LEAST, 1), (0, LEAST), (MOST, -1), (LEAST, MOST)]


def _of_layout(a, b, layout):
    return (
        [flat(a)],
        [NO_OFFSETS if layout == ONE_A else offsets_of(a)],
        [flat(b)],
        [NO_OFFSETS if layout == ONE_B else offsets_of(b)],
        torch.tensor([layout]),
    )


@pytest.mark.parametrize(("a", "b"), BEYOND)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_difference_beyond_int64_is_refused(layout, a, b):
    """In the second row, behind differences that are not: among eight taken together, and among the rest."""
    for before in range(12):
        of_a = [[a]] if layout == ONE_A else [[b if layout == ONE_B else 0] * before + [a]]
        of_b = [[b]] if layout == ONE_B else [[a if layout == ONE_A else 0] * before + [b]]
        arguments = _of_layout([[0], *of_a], [[0], *of_b], layout)
        with pytest.raises(RuntimeError, match=f"result 0: {a} - {b} in row 1 is beyond int64; subtract as float64"):
            subtract_rows(*arguments)


@pytest.mark.parametrize(("a", "b"), BEYOND)
@pytest.mark.parametrize("layout", [ONE_A, ONE_B])
def test_values_of_other_rows_are_not_subtracted(layout, a, b):
    """A row's neighbours in memory are beyond int64 with its one value; its own are not."""
    one, other = (a, b) if layout == ONE_A else (b, a)
    ones, lists = [[one], [0], [one]], [[one] * 3, [0 if other == LEAST else other] * 9, [one]]
    arguments = (ones, lists) if layout == ONE_A else (lists, ones)
    (got,) = subtract_rows(*_of_layout(*arguments, layout))
    assert got.tolist() == _expected(*arguments, layout, (torch.int64, torch.int64)).tolist()


def _one(**changes):
    arguments = {
        "a": [torch.arange(3)],
        "a_offsets": [torch.tensor([0, 2, 3])],
        "b": [torch.arange(2.0)],
        "b_offsets": [NO_OFFSETS],
        "columns": torch.tensor([ONE_B]),
    }
    return {**arguments, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": [torch.arange(3).int()]}, "a of result 0 must be int64, float32 or float64"),
        ({"b": [torch.arange(4)[::2]]}, "b of result 0 must be a contiguous"),
        ({"b": []}, "as many results, are 1, 1, 0 and 1"),
        ({"a_offsets": [torch.tensor([0, 2, 4])]}, "a_offsets of result 0 go from 0 to 4, must go from 0 to 3"),
        ({"a_offsets": [torch.tensor([0, 4, 3])]}, "a_offsets of result 0 must never decrease, do at row 1"),
        ({"b": [torch.arange(3)]}, "result 0: a has 2 rows, b 3"),
        ({"b_offsets": [torch.tensor([0, 1, 2])]}, "b_offsets of result 0 must be empty"),
        ({"columns": torch.tensor([ONE_A])}, "a_offsets of result 0 must be empty"),
        ({"columns": torch.tensor([ALIGNED])}, "result 0: a and b must have equal offsets"),
        ({"columns": torch.tensor([3])}, "columns: result 0 has layout 3"),
        ({"columns": torch.zeros(0, dtype=torch.int64)}, r"columns must be \[1\], has 0"),
        (
            {"columns": torch.tensor([ALIGNED]), "b": [torch.arange(3)], "b_offsets": [torch.tensor([0, 1, 3])]},
            "result 0: a_offsets and b_offsets differ at row 1: 2 and 1",
        ),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(RuntimeError, match=message):
        subtract_rows(**_one(**changes))


def test_opcheck():
    opcheck(torch.ops.sparrow.subtract_rows.default, tuple(_one().values()))
    opcheck(torch.ops.sparrow.subtract_rows.default, ([], [], [], [], torch.zeros(0, dtype=torch.int64)))


def test_triton_body_in_the_interpreter():
    """Several blocks of values, every layout and pair of types, empty columns, a difference beyond int64."""
    generator = torch.Generator().manual_seed(8)
    values, offsets = random_column(1100, 3, generator, num_ids=2**40)
    dense, empty = torch.randint(-99, 99, (1100,), generator=generator), torch.zeros(3, dtype=torch.int64)
    results = [
        *((values.to(x), offsets, dense.to(y), NO_OFFSETS, ONE_B) for x in DTYPES for y in DTYPES),
        (dense, NO_OFFSETS, values, offsets, ONE_A),
        (values, offsets, values.flip(0).float(), offsets, ALIGNED),
        (dense, NO_OFFSETS, dense.flip(0), NO_OFFSETS, ALIGNED),
        (empty[:0], empty, dense[:2], NO_OFFSETS, ONE_B),
        (empty[:0], NO_OFFSETS, empty[:0], NO_OFFSETS, ALIGNED),
    ]
    beyond = torch.zeros_like(values)
    beyond[offsets[1050] :] = LEAST
    row = int((offsets <= offsets[1050]).sum()) - 1
    *lists, layouts = map(list, zip(*results, strict=True))
    calls = [
        (*lists, torch.tensor(layouts)),
        ([], [], [], [], torch.zeros(0, dtype=torch.int64)),
        ([values, dense], [offsets, NO_OFFSETS], [dense, beyond], [NO_OFFSETS, offsets], torch.tensor([ONE_B, ONE_A])),
        tuple(_one(columns=torch.tensor([3])).values()),
    ]
    *answers, refused, layout = interpreted("subtract_rows", calls)
    for got, call in zip(answers, calls, strict=False):
        assert_same(got, reference.subtract_rows(*call))
    first = next(r for r in range(row, 1100) if offsets[r + 1] > offsets[r] and dense[r] >= 0)
    assert refused == f"result 1: a difference in row {first} is beyond int64; subtract as float64"
    assert layout.startswith("columns: result 0 has layout 3")


def test_triton_kernel_compiles_for_real_targets():
    compiled = compile_kernels("subtract_rows.triton", "subtract_kernel", types={"num_steps": "i32"}, constants={"BLOCK_N": 1024})
    assert sorted(compiled) == for_every_target("subtract_kernel")
