"""length_rows against the lengths of Python lists."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from ragged_columns import assert_same, flat, large_columns, random_columns, rows, same_for_threads, table
from sparrow.ops.length_rows import reference
from sparrow.ops.length_rows.op import length_rows
from triton_support import interpreted


@st.composite
def measured_columns(draw: st.DrawFn) -> tuple[list[torch.Tensor], list[tuple[int, int]], list[torch.Tensor]]:
    offsets, parameters, expected = [], [], []
    for _ in range(draw(st.integers(0, 4))):
        num_levels = draw(st.integers(1, 3))
        level = draw(st.integers(0, num_levels - 1))
        nested = draw(rows(num_levels, st.just(0)))
        offsets += flat(nested, num_levels)[1]
        parameters.append((num_levels, level))
        expected.append(torch.tensor([len(one) for one in flat(nested, level)[0]], dtype=torch.int64))
    return offsets, parameters, expected


@settings(max_examples=100, deadline=None)
@given(measured_columns())
def test_lists_are_measured(drawn: tuple[list[torch.Tensor], list[tuple[int, int]], list[torch.Tensor]]) -> None:
    offsets, parameters, expected = drawn
    for body in (length_rows, reference.length_rows):
        assert_same(body(offsets, table(parameters, 2)), expected)


def test_many_columns_of_many_rows() -> None:
    columns = large_columns(5, 20_000, 3)
    got = same_for_threads(lambda: length_rows(columns.offsets, table([(1, 0)] * 5, 2)))
    assert_same(got, [offsets.diff() for offsets in columns.offsets])


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    columns = random_columns(0, 12, [torch.int64])
    cases = [(columns.offsets, table([(levels, position % levels) for position, levels in enumerate(columns.num_levels)], 2))]
    cases += [([torch.tensor([0])], table([(1, 0)], 2)), (large_columns(2, 3000, 2).offsets, table([(1, 0)] * 2, 2))]
    for got, case in zip(interpreted("length_rows", cases), cases, strict=True):
        assert_same(got, reference.length_rows(*case))


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.length_rows.default, ([torch.tensor([0, 2, 5])] * 3, table([(2, 1), (1, 0)], 2)))
    opcheck(torch.ops.sparrow.length_rows.default, ([], table([], 2)))


@pytest.mark.parametrize(
    ("offsets", "columns", "message"),
    [
        ([[0, 1]], table([(1, 0, 0)], 3), r"columns must be \[1, 2\]"),
        ([[0, 1]], table([(1, 0)], 2).reshape(-1), r"columns must be \[0, 2\]"),
        ([[0, 1]], table([(1, 1)], 2), "columns: column 0 has no level 1"),
        ([[0, 1]], table([(0, 0)], 2), "columns: column 0 has 0 levels"),
        ([[0, 1], [0, 1]], table([(1, 0)], 2), "offsets: 2 tensors for 1 levels of 1 columns"),
        ([[0, 1]], table([(1, 0), (1, 0)], 2), "offsets: 1 tensors, too few for the levels of column 1"),
        ([[0, 1], [0, 3, 1]], table([(1, 0), (1, 0)], 2), "offsets: column 1, level 0 decreases"),
        ([[0, 1], []], table([(1, 0), (1, 0)], 2), "offsets: column 1, level 0 must be int64"),
        ([[0, 1], [0.0, 1.0]], table([(1, 0), (1, 0)], 2), "offsets: column 1, level 0 must be int64"),
    ],
)
def test_wrong_arguments_are_named(offsets: list[list[Any]], columns: torch.Tensor, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        length_rows([torch.tensor(bounds) for bounds in offsets], columns)
