"""subtract_rows against Python's integers and numpy's floats, value by value."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from row_lists_support import NO_OFFSETS, assert_same, flat, given_offsets, offsets_of, random_column, rows_of
from sparrow.ops.subtract_rows import reference
from sparrow.ops.subtract_rows.op import ALIGNED, ONE_A, ONE_B, subtract_rows

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


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [(LEAST, 1, r"result 0: -9223372036854775808 - 1 in row 1"), (0, LEAST, "0 - -9223372036854775808 in row 1"), (MOST, -1, "in row 1")],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_difference_beyond_int64_is_refused(layout, a, b, message):
    lists = {ONE_A: ([[0], [a]], [[0] * 9, [0] * 3 + [b]]), ONE_B: ([[0] * 9, [0] * 3 + [a]], [[0], [b]])}
    if layout == ONE_A and a == LEAST:
        lists[ONE_A] = ([[0], [a]], [[0] * 9, [-1] * 3 + [b]])
    left, right = lists.get(layout, ([[0] * 9, [0, a]], [[0] * 9, [0, b]]))
    arguments = (
        [flat(left)],
        [NO_OFFSETS if layout == ONE_A else offsets_of(left)],
        [flat(right)],
        [NO_OFFSETS if layout == ONE_B else offsets_of(right)],
        torch.tensor([layout]),
    )
    with pytest.raises(RuntimeError, match="beyond int64; subtract as float64"):
        subtract_rows(*arguments)
    if layout == ALIGNED:
        with pytest.raises(RuntimeError, match=message):
            subtract_rows(*arguments)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_ends_of_int64_are_reached(layout):
    """Values next to each other in memory, of different rows, are beyond int64; those of a row are not."""
    one, lists = [[MOST], [-1], [0]], [[0, MOST], [LEAST, -1] + [MOST] * 20, [1, MOST]]
    a, b = (lists, one) if layout == ONE_B else (one, lists) if layout == ONE_A else (lists, lists)
    arguments = (
        [flat(a)],
        [NO_OFFSETS if layout == ONE_A else offsets_of(a)],
        [flat(b)],
        [NO_OFFSETS if layout == ONE_B else offsets_of(b)],
        torch.tensor([layout]),
    )
    if layout == ONE_B:
        arguments[2][0][1] = 0
        b = [[MOST], [0], [0]]
    if layout == ONE_A:
        arguments[2][0][2 + 0 : 2 + 22] = torch.tensor([LEAST, MOST] + [0] * 20)
        b = [[0, MOST], [LEAST, MOST] + [0] * 20, [1, MOST]]
    (got,) = subtract_rows(*arguments)
    assert got.tolist() == _expected(a, b, layout, (torch.int64, torch.int64)).tolist()


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
