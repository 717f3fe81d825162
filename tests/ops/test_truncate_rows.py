"""truncate_rows against nested Python lists."""

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
    flat,
    items,
    large_columns,
    random_columns,
    rows,
    same_for_threads,
    table,
)
from sparrow.ops.row_options import ADDED_AT_BEGINNING, ADDED_AT_END, HEAD, NOT_ADDED, TAIL
from sparrow.ops.truncate_rows import reference
from sparrow.ops.truncate_rows.op import truncate_rows
from triton_support import interpreted

ITEMS = items(st.integers(0, 100))


def cut(nested: list[Any], level: int, length: int, kept: int, added: int) -> list[Any]:
    if level > 0:
        return [cut(row, level - 1, length, kept, added) for row in nested]
    short = [row[-length:] if kept == TAIL and length > 0 else row[:length] for row in nested]
    empty: list[list[Any]] = [[]]
    if added == ADDED_AT_END:
        return [row + empty * (length - len(row)) for row in short]
    return [empty * (length - len(row)) + row for row in short] if added == ADDED_AT_BEGINNING else short


@st.composite
def cut_columns(draw: st.DrawFn) -> tuple[Columns, list[tuple[int, ...]], list[Any]]:
    columns, parameters, expected = Columns(), [], []
    for _ in range(draw(st.integers(0, 4))):
        num_levels = draw(st.integers(1, 3))
        nested = draw(rows(num_levels, ITEMS, max_length=draw(st.sampled_from([3, 9]))))
        level = draw(st.integers(0, num_levels - 1))
        added = draw(st.sampled_from([NOT_ADDED, ADDED_AT_END, ADDED_AT_BEGINNING])) if level < num_levels - 1 else NOT_ADDED
        parameters.append((num_levels, level, draw(st.integers(0, 5)), draw(st.sampled_from([HEAD, TAIL])), added))
        dtype, weighted = draw(st.sampled_from(DTYPES)), draw(st.booleans())
        columns.add(nested, num_levels, dtype, weighted=weighted)
        expected.append((cut(nested, *parameters[-1][1:]), num_levels, dtype, weighted))
    return columns, parameters, expected


@settings(max_examples=100, deadline=None)
@given(cut_columns())
def test_lists_are_cut(drawn: tuple[Columns, list[tuple[int, ...]], list[Any]]) -> None:
    columns, parameters, expected = drawn
    wanted = Columns()
    for nested, num_levels, dtype, weighted in expected:
        wanted.add(nested, num_levels, dtype, weighted=weighted)
    for body in (truncate_rows, reference.truncate_rows):
        assert_same(body(*columns.lists, table(parameters, 5)), wanted.lists)


def test_a_string_is_cut_to_bytes_and_a_list_to_strings() -> None:
    words = [[b"ab", b"", b"cdefg"], [], [b"hij"]]
    raw, offsets = flat([[list(word) for word in row] for row in words], 2)
    values = torch.tensor(raw, dtype=torch.uint8)
    (cut_bytes,), none, (outer, inner) = truncate_rows([values], [], offsets, table([(2, 1, 2, TAIL, 0)], 5))
    assert (bytes(cut_bytes.tolist()), none, outer.tolist(), inner.tolist()) == (b"abfgij", [], [0, 3, 3, 4], [0, 2, 2, 4, 6])
    (cut_words,), _, (outer, inner) = truncate_rows([values], [], offsets, table([(2, 0, 2, TAIL, 1)], 5))
    assert (bytes(cut_words.tolist()), outer.tolist(), inner.tolist()) == (b"cdefghij", [0, 2, 4, 6], [0, 0, 5, 5, 5, 8, 8])


@pytest.mark.parametrize("kept", [HEAD, TAIL])
@pytest.mark.parametrize("length", [0, 7, 60, 1 << 40])
def test_many_columns_of_many_rows(length: int, kept: int) -> None:
    columns = large_columns(5, 5000, 40)
    got_values, got_weights, got_offsets = same_for_threads(lambda: truncate_rows(*columns.lists, table([(1, 0, length, kept, 0)] * 5, 5)))
    for column, offsets in enumerate(columns.offsets):
        lengths = offsets.diff()
        position = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths)
        if kept == TAIL:
            position = lengths.repeat_interleave(lengths) - 1 - position
        assert torch.equal(got_values[column], columns.values[column][position < length])
        assert torch.equal(got_weights[column], columns.weights[column][position < length])
        assert torch.equal(got_offsets[column].diff(), lengths.clamp(max=length))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_deep_columns_of_many_rows(level: int) -> None:
    columns = large_columns(2, 20_000, 2)
    parameters = []
    for position in (0, 1):
        # Two levels above: rows of 5 lists of 2 lists.
        columns.offsets[3 * position : 3 * position] = [torch.arange(0, 10_001, 5), torch.arange(0, 20_001, 2)]
        parameters.append((3, level, 1 + position, position, position if level < 2 else 0))
    got = same_for_threads(lambda: truncate_rows(*columns.lists, table(parameters, 5)))
    assert_same(got, reference.truncate_rows(*columns.lists, table(parameters, 5)))


def test_nothing_is_mutated_or_shared() -> None:
    columns = large_columns(2, 10, 3)
    arguments = (*columns.lists, table([(1, 0, 100, 0, 0)] * 2, 5))
    before = [[tensor.clone() for tensor in tensors] for tensors in columns.lists]
    got = truncate_rows(*arguments)
    assert_same(got, before)
    for tensors in got:
        for tensor in tensors:
            tensor.zero_()
    assert_same(columns.lists, before)


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    cases = []
    for seed in range(4):
        columns = random_columns(seed, 12, DTYPES)
        parameters = []
        for position, num_levels in enumerate(columns.num_levels):
            level = position % num_levels
            added = (seed + position) % 3 if level < num_levels - 1 else NOT_ADDED
            parameters.append((num_levels, level, (seed + position) % 4, seed % 2, added))
        cases.append((*columns.lists, table(parameters, 5)))
    large = large_columns(2, 1500, 4)
    cases.append((*large.lists, table([(1, 0, 3, HEAD, 0), (1, 0, 5, TAIL, 0)], 5)))
    cases.append((large.values, [], large.offsets, table([(1, 0, 0, HEAD, 0), (1, 0, 2**40, TAIL, 0)], 5)))
    for got, case in zip(interpreted("truncate_rows", cases), cases, strict=True):
        assert_same(got, reference.truncate_rows(*case))


def test_opcheck() -> None:
    columns = large_columns(2, 6, 3)
    columns.weights[1] = torch.empty(0)
    opcheck(torch.ops.sparrow.truncate_rows.default, (*columns.lists, table([(1, 0, 2, 0, 0), (1, 0, 3, 1, 0)], 5)))
    opcheck(torch.ops.sparrow.truncate_rows.default, ([], [], [], table([], 5)))


def arguments(**changed: Any) -> tuple[Any, ...]:
    """Two columns: one level, and two levels with weights."""
    given = {
        "values": [torch.arange(3), torch.arange(4)],
        "weights": [torch.empty(0), torch.ones(4)],
        "offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1, 4])],
        "columns": table([(1, 0, 2, 0, 0), (2, 0, 2, 0, 1)], 5),
    }
    return tuple({**given, **changed}.values())


def test_arguments_that_make_sense() -> None:
    assert_same(truncate_rows(*arguments()), reference.truncate_rows(*arguments()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": table([(1, 0, 2, 0, 0)], 5)}, r"columns must be \[2, 5\]"),
        ({"columns": torch.zeros(2, 5)}, "columns has the wrong dtype"),
        ({"columns": table([(0, 0, 2, 0, 0), (2, 0, 2, 0, 0)], 5)}, "columns: column 0 has 0 levels"),
        ({"columns": table([(1, 0, 2, 0, 0), (4, 0, 2, 0, 0)], 5)}, "columns: column 1 has 4 levels"),
        ({"columns": table([(1, 1, 2, 0, 0), (2, 0, 2, 0, 0)], 5)}, "columns: column 0 has no level 1"),
        ({"columns": table([(1, 0, 2, 0, 0), (2, -1, 2, 0, 0)], 5)}, "columns: column 1 has no level -1"),
        ({"columns": table([(1, 0, 2, 0, 0), (2, 0, -2, 0, 0)], 5)}, "columns: column 1 is to be cut to length -2"),
        ({"columns": table([(1, 0, 2, 2, 0), (2, 0, 2, 0, 0)], 5)}, "columns: column 0 keeps side 2"),
        ({"columns": table([(1, 0, 2, 0, 0), (2, 0, 2, 0, 3)], 5)}, "columns: column 1 adds empty lists by 3"),
        ({"columns": table([(1, 0, 2, 0, 0), (2, 1, 2, 0, 1)], 5)}, "columns: column 1 adds empty lists to level 1"),
        ({"columns": table([(1, 0, 2, 0, 0), (2, 0, 2**62, 0, 1)], 5)}, "columns: column 1: 2 lists of length"),
        ({"columns": table([(1, 0, 2, 0, 0), (1, 0, 2, 0, 0)], 5)}, "offsets: 3 tensors for 2 levels of 2 columns"),
        ({"columns": table([(2, 0, 2, 0, 0), (2, 0, 2, 0, 0)], 5)}, "offsets: 3 tensors, too few for the levels of column 1"),
        ({"weights": [torch.empty(0)]}, "weights: 1 tensors for 2 columns"),
        ({"weights": [torch.empty(0), torch.ones(3)]}, "weights: column 1 has 3 weights for 4 values"),
        ({"weights": [torch.empty(0), torch.ones(4, dtype=torch.float64)]}, "weights: column 1 must be float32"),
        ({"values": [torch.arange(3), torch.arange(8)[::2]]}, "values: column 1 must be a contiguous"),
        ({"values": [torch.zeros(3, dtype=torch.complex128), torch.arange(4)]}, "values: column 0 has items of 16 bytes"),
        ({"values": [torch.arange(2), torch.arange(4)]}, "offsets: column 0, level 0 goes from 0 to 3, but must from 0 to 2"),
        ({"offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1, 4])]}, "offsets: column 1, level 0 goes"),
        ({"offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 1, 3]), torch.tensor([0, 5, 1, 4])]}, "offsets: column 1, level 1 decr"),
        ({"offsets": [torch.tensor([0, -2, 3]), torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1, 4])]}, "offsets: column 0, level 0 decr"),
        ({"offsets": [torch.tensor([1, 2, 3]), torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1, 4])]}, "offsets: column 0, level 0 goes"),
        ({"offsets": [torch.zeros(3), torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1, 4])]}, "offsets: column 0, level 0 must be int64"),
    ],
)
def test_wrong_arguments_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        truncate_rows(*arguments(**changed))
