"""Cutting and joining against plain lists."""

import itertools
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparrow.io.cutting import Cost
from sparrow.io.pieces import Piece
from sparrow.io.streams.rows import Batcher, Handout, Mark, Place
from sparrow.types import Batch, Ragged, RowSpan


def columns_of(numbers: list[int]) -> dict[str, Any]:
    """Of each number, itself, and it as often as its last digit says, weighed by half of it."""
    values = torch.tensor([number for number in numbers for _ in range(number % 10)], dtype=torch.int64)
    offsets = torch.tensor([0, *itertools.accumulate(number % 10 for number in numbers)])
    return {"x": torch.tensor(numbers), "l": Ragged(values, (offsets,), values / 2)}


def require_columns_of(numbers: list[int], batch: Batch) -> None:
    expected, lists = columns_of(numbers)["l"], batch["l"]
    assert isinstance(lists, Ragged)
    lists.check("l")
    assert lists.weights is not None
    for mine, wanted in ((lists.values, expected.values), (lists.offsets[0], expected.offsets[0]), (lists.weights, expected.weights)):
        assert torch.equal(mine, wanted)


def batches_by_hand(num_rows: int, batch_size: int, limit: int | None) -> list[list[int]]:
    """Of the rows 0, 1, ..., each of which costs its last digit."""
    batches: list[list[int]] = []
    for row in range(num_rows):
        is_full = not batches or len(batches[-1]) == batch_size
        if is_full or (limit is not None and sum(one % 10 for one in batches[-1]) + row % 10 > limit):
            batches.append([])
        batches[-1].append(row)
    return batches


@settings(max_examples=300)
@given(
    st.lists(st.lists(st.lists(st.booleans(), max_size=5), min_size=1, max_size=4), max_size=8),
    st.integers(1, 7),
    st.none() | st.integers(1, 20),
    st.booleans(),
)
def test_batches_are_the_rows_in_order_with_their_places(
    pieces: list[list[list[bool]]], batch_size: int, limit: int | None, at_once: bool
) -> None:
    """`pieces` holds, of each part, which rows a filter left; after every batch, the places say exactly what is consumed."""
    batcher = Batcher(batch_size, None if limit is None else Cost(["l"], limit))
    kept: list[tuple[int, int]] = []  # of each row its part, and the row there
    handouts: list[Handout] = []
    num_parts = 0
    for parts in pieces:
        marks, first = [], len(kept)
        for is_left in parts:
            rows = [row for row, left in enumerate(is_left) if left]
            left_out = None if len(rows) == len(is_left) else np.array(rows, dtype=np.int64)
            marks.append(Mark("source", num_parts, f"part {num_parts}", 0, len(rows), True, 0.0, rows=left_out))
            kept += [(num_parts, row) for row in rows]
            num_parts += 1
        numbers = list(range(first, len(kept)))
        batcher.add(Piece("", 0, 0, len(numbers), columns_of(numbers)) if numbers else None, marks)
        if at_once:
            handouts += batcher.full()
            assert batcher.num_rows < batch_size
    handouts += batcher.rest()
    assert (batcher.num_rows, list(batcher.rest())) == (0, [])

    expected, num_seen, place = batches_by_hand(len(kept), batch_size, limit), 0, None
    for batch, after, _ in handouts:
        place = after["source"]
        if batch is not None:
            values = batch["x"]
            assert isinstance(values, Tensor)
            assert values.tolist() == expected.pop(0)
            require_columns_of(values.tolist(), batch)
            for sample in range(batch.num_samples):
                its_part, row = kept[num_seen + sample]
                assert batch.locate(sample) == f"part {its_part}, row {row}"
            num_seen += batch.num_samples
        is_consumed = [part < place.part or (part == place.part and (place.row is None or row < place.row)) for part, row in kept]
        assert is_consumed == [number < num_seen for number in range(len(kept))]
    assert not expected
    assert place == (Place(num_parts - 1, None) if num_parts else None)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=4))
def test_origins_are_the_longest_runs(parts: list[list[bool]]) -> None:
    """Of which rows of two parts, one after the other and in several pieces, a filter left."""
    batcher, expected, numbers = Batcher(100), [], itertools.count()
    for part, is_left in enumerate(parts):
        begin = 0
        for piece in (is_left[:3], is_left[3:]):
            rows = [begin + row for row, left in enumerate(piece) if left]
            begin += len(piece)
            expected += [(part, row) for row in rows]
            if rows:
                mark = Mark("source", part, f"part {part}", rows[0], len(rows), False, 0.0, rows=np.array(rows))
                batcher.add(Piece("", 0, 0, len(rows), columns_of([next(numbers) for _ in rows])), [mark])
    runs = [RowSpan(f"part {part}", row, 1) for part, row in expected]
    for index in range(len(runs) - 1, 0, -1):
        before, after = runs[index - 1 : index + 1]
        if before.path == after.path and before.first_row + 1 == after.first_row:
            runs[index - 1 : index + 1] = [RowSpan(before.path, before.first_row, 1 + after.num_rows)]
    origins = [batch.origin for batch, _, _ in batcher.rest() if batch is not None]
    assert [list(origin) for origin in origins] == ([runs] if runs else [])
    assert all((len(origin), origin[0], origin[-1:]) == (len(runs), runs[0], runs[-1:]) for origin in origins)
