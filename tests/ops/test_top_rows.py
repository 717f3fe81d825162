"""top_rows against sorted Python lists."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from ragged_columns import (
    DTYPES,
    Columns,
    assert_same,
    items,
    large_columns,
    random_columns,
    rows,
    same_for_threads,
    table,
)
from sparrow.ops.top_rows import reference
from sparrow.ops.top_rows.op import top_rows
from triton_support import interpreted


def greatest(row: list[Any], k: int) -> list[Any]:
    """Take the best that is left, k times; then put them in order of position."""
    left, taken = list(range(len(row))), []
    while left and len(taken) < k:
        best = left[0]
        for position in left:
            weight, known = row[position][1], row[best][1]
            if weight > known or (math.isnan(known) and not math.isnan(weight)):
                best = position
        left.remove(best)
        taken.append(best)
    return [row[position] for position in sorted(taken)]


@st.composite
def ranked_columns(draw: st.DrawFn) -> tuple[Columns, list[int], Columns]:
    columns, parameters, expected = Columns(), [], Columns()
    for _ in range(draw(st.integers(0, 4))):
        nested = draw(rows(1, items(st.integers(0, 100)), max_length=draw(st.sampled_from([5, 12, 70]))))
        k, dtype = draw(st.integers(0, 12)), draw(st.sampled_from(DTYPES))
        parameters.append(k)
        columns.add(nested, 1, dtype)
        expected.add([greatest(row, k) for row in nested], 1, dtype)
    return columns, parameters, expected


@settings(max_examples=100, deadline=None)
@given(ranked_columns())
def test_the_greatest_are_kept(drawn: tuple[Columns, list[int], Columns]) -> None:
    columns, parameters, expected = drawn
    for body in (top_rows, reference.top_rows):
        assert_same(body(*columns.lists, table(parameters, 1)), expected.lists)


@pytest.mark.parametrize("k", [0, 10, 100])
@pytest.mark.parametrize("mean", [20, 300])
def test_many_columns_of_many_rows(mean: int, k: int) -> None:
    columns = large_columns(3, 2500, mean)
    values, weights, offsets = same_for_threads(lambda: top_rows(*columns.lists, table([k] * 3, 1)))
    for column, bounds in enumerate(columns.offsets):
        row = torch.arange(2500).repeat_interleave(bounds.diff())
        order = torch.sort(columns.weights[column], descending=True, stable=True).indices
        order = order[torch.sort(row[order], stable=True).indices]
        rank = torch.arange(order.numel()) - bounds[:-1][row]
        kept = torch.sort(order[rank < k]).values
        assert torch.equal(values[column], columns.values[column][kept])
        assert torch.equal(weights[column], columns.weights[column][kept])
        assert torch.equal(offsets[column].diff(), bounds.diff().clamp(max=k))


def test_long_lists_of_equal_weights() -> None:
    count = 5000
    weights = torch.zeros(count)
    weights[::7] = -0.0
    got = top_rows([torch.arange(count)], [weights], [torch.tensor([0, count])], table([1000], 1))
    assert_same(got, ([torch.arange(1000)], [weights[:1000]], [torch.tensor([0, 1000])]))


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    cases = []
    for seed in range(4):
        columns = random_columns(seed, 12, DTYPES)
        offsets = columns.innermost
        weights = [
            torch.arange(one.numel()) % 3 - 1.0 if weight.numel() == 0 else weight
            for one, weight in zip(columns.values, columns.weights, strict=True)
        ]
        cases.append((columns.values, weights, offsets, table([(seed + position) % 5 for position in range(12)], 1)))
    large = large_columns(2, 300, 10)
    cases += [(*large.lists, table([4, 1], 1)), ([torch.arange(0)], [torch.empty(0)], [torch.tensor([0])], table([4], 1))]
    for got, case in zip(interpreted("top_rows", cases), cases, strict=True):
        assert_same(got, reference.top_rows(*case))


def test_opcheck() -> None:
    columns = large_columns(2, 6, 3)
    opcheck(torch.ops.sparrow.top_rows.default, (*columns.lists, table([2, 1], 1)))
    opcheck(torch.ops.sparrow.top_rows.default, ([], [], [], table([], 1)))


def arguments(**changed: Any) -> tuple[Any, ...]:
    given = {
        "values": [torch.arange(3), torch.arange(4)],
        "weights": [torch.tensor([1.0, 3.0, 2.0]), torch.ones(4)],
        "offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 0, 4])],
        "columns": table([1, 2], 1),
    }
    return tuple({**given, **changed}.values())


def test_arguments_that_make_sense() -> None:
    assert_same(top_rows(*arguments()), reference.top_rows(*arguments()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": table([1], 1)}, r"columns must be \[2, 1\]"),
        ({"columns": table([1, -1], 1)}, "columns: column 1 is to keep -1 items"),
        ({"weights": [torch.ones(3), torch.empty(0)]}, "weights: column 1 has 0 weights for 4 values"),
        ({"weights": [torch.ones(3)]}, "weights: 1 tensors for 2 columns"),
        ({"weights": [torch.arange(3), torch.ones(4)]}, "weights: column 0 must be float32"),
        ({"values": [torch.arange(3), torch.arange(8)[::2]]}, "values: column 1 must be a contiguous"),
        ({"offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 0, 3])]}, "offsets: column 1, level 0 goes from 0 to 3"),
        ({"offsets": [torch.tensor([0, 4, 3]), torch.tensor([0, 0, 4])]}, "offsets: column 0, level 0 decreases"),
        ({"offsets": [torch.tensor([0, 2, 3])]}, "offsets: 1 tensors, too few"),
    ],
)
def test_wrong_arguments_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        top_rows(*arguments(**changed))
