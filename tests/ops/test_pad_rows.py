"""pad_rows against nested Python lists."""

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
from sparrow.ops.pad_rows import reference
from sparrow.ops.pad_rows.op import pad_rows
from sparrow.ops.row_options import HEAD, LEFT, RIGHT, TAIL
from sparrow.ops.value_bits import value_bits
from triton_support import interpreted

ITEMS = items(st.integers(0, 100))


def pad(nested: list[Any], lengths: list[int], kept: int, side: int, padding: Any) -> list[Any]:
    """Return every list of `nested` brought to lengths[0], flattened."""
    length, *below = lengths
    out = []
    for row in nested:
        stay = row[-length:] if kept == TAIL and length > 0 else row[:length]
        missing = [[] if below else padding] * (length - len(stay))
        full = missing + stay if side == LEFT else stay + missing
        out += pad(full, below, kept, side, padding) if below else full
    return out


@st.composite
def padded_columns(draw: st.DrawFn) -> tuple[Columns, list[list[int]], list[torch.Tensor], list[torch.Tensor]]:
    columns, parameters, expected, masks = Columns(), [], [], []
    for _ in range(draw(st.integers(0, 4))):
        num_levels, dtype = draw(st.integers(1, 3)), draw(st.sampled_from(DTYPES))
        nested = draw(rows(num_levels, ITEMS, max_length=draw(st.sampled_from([3, 9]))))
        lengths = draw(st.lists(st.integers(0, 5), min_size=3, max_size=3))
        kept, side = draw(st.sampled_from([HEAD, TAIL])), draw(st.sampled_from([RIGHT, LEFT]))
        padding = draw(st.sampled_from([0, 1] if dtype in (torch.bool, torch.uint8) else [0, 1, -1]))
        parameters.append([num_levels, *lengths, kept, side, value_bits(padding, dtype)])
        columns.add(nested, num_levels, dtype)
        pairs = pad(nested, lengths[:num_levels], kept, side, None)
        expected.append(torch.tensor([padding if pair is None else pair[0] for pair in pairs], dtype=torch.int64).to(dtype))
        masks.append(torch.tensor([float(pair is not None) for pair in pairs]))
    return columns, parameters, expected, masks


@settings(max_examples=100, deadline=None)
@given(padded_columns())
def test_lists_are_padded(drawn: tuple[Columns, list[list[int]], list[torch.Tensor], list[torch.Tensor]]) -> None:
    columns, parameters, expected, masks = drawn
    for body in (pad_rows, reference.pad_rows):
        assert_same(body(columns.values, columns.offsets, table(parameters, 7)), expected)
        assert_same(body(columns.values, columns.offsets, table(parameters, 7), True), masks)
        assert_same(body([], columns.offsets, table(parameters, 7), True), masks)


@pytest.mark.parametrize("kept", [HEAD, TAIL])
@pytest.mark.parametrize("side", [RIGHT, LEFT])
@pytest.mark.parametrize("length", [1, 50, 300])
def test_many_columns_of_many_rows(length: int, side: int, kept: int) -> None:
    columns = large_columns(4, 5000, 40)
    parameters = table([(1, length, 0, 0, kept, side, -7)] * 4, 7)
    got = same_for_threads(lambda: pad_rows(columns.values, columns.offsets, parameters))
    masks = same_for_threads(lambda: pad_rows([], columns.offsets, parameters, True))
    for column, offsets in enumerate(columns.offsets):
        lengths = offsets.diff()[:, None]
        shorter = lengths.clamp(max=length)
        place = torch.arange(length)[None] - (length - shorter if side == LEFT else 0)
        is_there = (place >= 0) & (place < shorter)
        index = (offsets[:-1, None] + place + (lengths - shorter if kept == TAIL else 0))[is_there]
        expected = torch.full((5000, length), -7)
        expected[is_there] = columns.values[column][index]
        assert torch.equal(got[column].view(5000, length), expected)
        assert torch.equal(masks[column].view(5000, length), is_there.float())


def test_padding_of_any_dtype() -> None:
    for dtype, padding in ((torch.float32, -0.5), (torch.bfloat16, float("-inf")), (torch.int8, -128), (torch.float64, 1e-300)):
        (out,) = pad_rows([torch.zeros(0, dtype=dtype)], [torch.tensor([0, 0])], table([(1, 2, 0, 0, 0, 0, value_bits(padding, dtype))], 7))
        assert torch.equal(out, torch.tensor([padding, padding], dtype=dtype))


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    cases = []
    for seed in range(4):
        columns = random_columns(seed, 12, DTYPES)
        parameters = [
            (num_levels, *((seed + position + level) % 4 for level in range(3)), seed % 2, position % 2, position % 2)
            for position, num_levels in enumerate(columns.num_levels)
        ]
        cases.append((columns.values, columns.offsets, table(parameters, 7), False))
        cases.append(([], columns.offsets, table(parameters, 7), True))
        # Lists of one item below lists of several, and above.
        for lengths in ((3, 1, 1), (2, 1, 2), (1, 3, 1)):
            parameters = [(num_levels, *lengths, seed % 2, position % 2, 0) for position, num_levels in enumerate(columns.num_levels)]
            cases.append((columns.values, columns.offsets, table(parameters, 7), False))
    large = large_columns(2, 300, 8)
    cases.append((large.values, large.offsets, table([(1, 8, 0, 0, 0, 0, -3), (1, 9, 0, 0, 1, 1, 2**62)], 7), False))
    for got, case in zip(interpreted("pad_rows", cases), cases, strict=True):
        assert_same(got, reference.pad_rows(*case))


def test_opcheck() -> None:
    columns = large_columns(2, 6, 3)
    parameters = table([(1, 2, 0, 0, 0, 0, 0), (1, 3, 0, 0, 1, 1, 5)], 7)
    opcheck(torch.ops.sparrow.pad_rows.default, (columns.values, columns.offsets, parameters))
    opcheck(torch.ops.sparrow.pad_rows.default, ([], columns.offsets, parameters, True))
    opcheck(torch.ops.sparrow.pad_rows.default, ([], [], table([], 7)))


def arguments(**changed: Any) -> tuple[Any, ...]:
    """Two columns, of one level and of two."""
    given = {
        "values": [torch.arange(3), torch.arange(4)],
        "offsets": [torch.tensor([0, 2, 3]), torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1, 4])],
        "columns": table([(1, 2, 0, 0, 0, 0, 0), (2, 2, 3, 0, 1, 1, 9)], 7),
        "mask": False,
    }
    return tuple({**given, **changed}.values())


def test_arguments_that_make_sense() -> None:
    assert_same(pad_rows(*arguments()), reference.pad_rows(*arguments()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": table([(1, 2, 0, 0, 0, 0, 0)], 7)}, r"columns must be \[2, 7\]"),
        ({"columns": table([(1, 2, 0, 0, 0, 0, 0), (5, 2, 3, 0, 1, 1, 9)], 7)}, "columns: column 1 has 5 levels"),
        ({"columns": table([(1, -2, 0, 0, 0, 0, 0), (2, 2, 3, 0, 1, 1, 9)], 7)}, "columns: column 0, level 0 is to have length -2"),
        ({"columns": table([(1, 2, 0, 0, 2, 0, 0), (2, 2, 3, 0, 1, 1, 9)], 7)}, "columns: column 0 keeps side 2"),
        ({"columns": table([(1, 2, 0, 0, 0, 0, 0), (2, 2, 3, 0, 1, 2, 9)], 7)}, "columns: column 1 is filled on side 2"),
        ({"columns": table([(1, 2, 0, 0, 0, 0, 0), (2, 2**40, 2**40, 0, 1, 1, 9)], 7)}, "columns: column 1 is to have too long rows"),
        ({"columns": table([(1, 2**47, 0, 0, 0, 0, 0), (2, 2, 3, 0, 1, 1, 9)], 7)}, "columns: column 0 is to have 2 rows of"),
        ({"values": [torch.arange(3)]}, r"columns must be \[1, 7\]"),
        ({"values": [torch.arange(3)], "mask": True}, "values: 1 tensors for 2 columns"),
        ({"values": [torch.arange(3), torch.arange(5)]}, "offsets: column 1, level 1 goes from 0 to 4, but must from 0 to 5"),
        ({"values": [torch.arange(3), torch.arange(8)[::2]]}, "values: column 1 must be a contiguous"),
        ({"offsets": [torch.tensor([0, 2, 3])]}, "offsets: 1 tensors, too few for the levels of column 1"),
        ({"offsets": [torch.tensor([0, 7, 3]), torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1, 4])]}, "offsets: column 0, level 0 decr"),
    ],
)
def test_wrong_arguments_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        pad_rows(*arguments(**changed))
