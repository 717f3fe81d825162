"""unique_rows against Python dictionaries."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from ragged_columns import (
    Columns,
    assert_same,
    items,
    large_columns,
    random_columns,
    rows,
    same_for_threads,
    table,
)
from sparrow.ops.row_options import FIRST, SUM
from sparrow.ops.unique_rows import reference
from sparrow.ops.unique_rows.op import unique_rows
from tests_support import ADVERSARIAL_IDS
from triton_support import interpreted

WEIGHTS = st.floats(-1e6, 1e6, width=32)
INTEGERS = {
    torch.int64: st.one_of(st.integers(0, 5), st.sampled_from(ADVERSARIAL_IDS)),
    torch.int32: st.one_of(st.integers(-3, 3), st.sampled_from([-(2**31), 2**31 - 1])),
    torch.int16: st.integers(-4, 4),
    torch.int8: st.integers(-128, 127),
    torch.uint8: st.integers(0, 255),
    torch.bool: st.integers(0, 1),
}


def distinct(row: list[Any], policy: int) -> list[Any]:
    kept: dict[int, np.float32] = {}
    for value, weight in row:
        if value not in kept:
            kept[value] = np.float32(weight)
        elif policy == SUM:
            kept[value] = kept[value] + np.float32(weight)
    return list(kept.items())


@st.composite
def repeating_columns(draw: st.DrawFn) -> tuple[Columns, list[int], Columns]:
    columns, parameters, expected = Columns(), [], Columns()
    for _ in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from(list(INTEGERS)))
        nested = draw(rows(1, items(INTEGERS[dtype], WEIGHTS), max_length=draw(st.sampled_from([5, 12, 60]))))
        policy, weighted = draw(st.sampled_from([FIRST, SUM])), draw(st.booleans())
        parameters.append(policy)
        columns.add(nested, 1, dtype, weighted=weighted)
        expected.add([distinct(row, policy) for row in nested], 1, dtype, weighted=weighted)
    return columns, parameters, expected


@settings(max_examples=100, deadline=None)
@given(repeating_columns())
def test_the_first_are_kept(drawn: tuple[Columns, list[int], Columns]) -> None:
    columns, parameters, expected = drawn
    for body in (unique_rows, reference.unique_rows):
        assert_same(body(*columns.lists, table(parameters, 1)), expected.lists)


@pytest.mark.parametrize("policy", [FIRST, SUM])
@pytest.mark.parametrize("mean, num_rows", [(3, 5000), (20, 2100), (300, 200)])
def test_many_columns_of_many_rows(mean: int, num_rows: int, policy: int) -> None:
    columns = large_columns(3, num_rows, mean)
    values, weights, offsets = same_for_threads(lambda: unique_rows(*columns.lists, table([policy] * 3, 1)))
    for column, bounds in enumerate(columns.offsets):
        ends, items_of, weights_of = bounds.tolist(), columns.values[column].tolist(), columns.weights[column].tolist()
        wanted = Columns()
        nested = [list(zip(items_of[b:e], weights_of[b:e], strict=True)) for b, e in itertools.pairwise(ends)]
        wanted.add([distinct(row, policy) for row in nested], 1, torch.int64)
        assert_same(([values[column]], [weights[column]], [offsets[column]]), wanted.lists)


def test_a_list_of_a_million() -> None:
    """Only in time that grows with the length does this end."""
    values = torch.arange(1_000_000) * 2**20
    got, _, offsets = unique_rows([torch.cat([values, values])], [], [torch.tensor([0, 2_000_000])], table([FIRST], 1))
    assert torch.equal(got[0], values)
    assert offsets[0].tolist() == [0, 1_000_000]


def test_weights_are_optional() -> None:
    columns = large_columns(2, 20, 8)
    weighted = unique_rows(*columns.lists, table([SUM, FIRST], 1))
    columns.weights[0] = torch.empty(0)
    some = unique_rows(*columns.lists, table([SUM, FIRST], 1))
    none = unique_rows(columns.values, [], columns.offsets, table([SUM, FIRST], 1))
    assert_same((some[0], some[1][1:], some[2]), (weighted[0], weighted[1][1:], weighted[2]))
    assert_same(none, (weighted[0], [], weighted[2]))
    assert some[1][0].numel() == 0


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    cases = []
    for seed in range(4):
        columns = random_columns(seed, 12, list(INTEGERS))
        # Sums whose value depends on the order of the additions.
        weights = [(weight.nan_to_num(0.1, 3e7, -3e7) + 1 / 3) for weight in columns.weights]
        offsets = columns.innermost
        cases.append((columns.values, weights, offsets, table([(seed + position) % 2 for position in range(12)], 1)))
    large = large_columns(2, 300, 10)
    cases += [
        (*large.lists, table([SUM, FIRST], 1)),
        (large.values, [], large.offsets, table([SUM, FIRST], 1)),
        ([torch.arange(0)], [], [torch.tensor([0])], table([FIRST], 1)),
        ([torch.tensor(ADVERSARIAL_IDS * 2)], [], [torch.tensor([0, 2 * len(ADVERSARIAL_IDS)])], table([FIRST], 1)),
    ]
    for got, case in zip(interpreted("unique_rows", cases), cases, strict=True):
        assert_same(got, reference.unique_rows(*case))


def test_opcheck() -> None:
    columns = large_columns(2, 6, 3)
    columns.weights[1] = torch.empty(0)
    opcheck(torch.ops.sparrow.unique_rows.default, (*columns.lists, table([SUM, FIRST], 1)))
    opcheck(torch.ops.sparrow.unique_rows.default, ([], [], [], table([], 1)))


def arguments(**changed: Any) -> tuple[Any, ...]:
    given = {
        "values": [torch.tensor([7, 7, 8]), torch.tensor([1, 2, 1, 1])],
        "weights": [torch.empty(0), torch.ones(4)],
        "offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 0, 4])],
        "columns": table([0, 1], 1),
    }
    return tuple({**given, **changed}.values())


def test_arguments_that_make_sense() -> None:
    assert_same(unique_rows(*arguments()), reference.unique_rows(*arguments()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": table([1], 1)}, r"columns must be \[2, 1\]"),
        ({"columns": table([0, 2], 1)}, "columns: column 1 has weights policy 2"),
        ({"weights": [torch.empty(0), torch.ones(2)]}, "weights: column 1 has 2 weights for 4 values"),
        ({"values": [torch.arange(3), torch.ones(4)]}, "values: column 1 must have an integer dtype"),
        ({"values": [torch.arange(3), torch.arange(8)[::2]]}, "values: column 1 must be a contiguous"),
        ({"offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 0, 3])]}, "offsets: column 1, level 0 goes from 0 to 3"),
        ({"offsets": [torch.tensor([0, 4, 3]), torch.tensor([0, 0, 4])]}, "offsets: column 0, level 0 decreases"),
        ({"offsets": [torch.tensor([0, 2, 3])]}, "offsets: 1 tensors, too few"),
    ],
)
def test_wrong_arguments_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        unique_rows(*arguments(**changed))
