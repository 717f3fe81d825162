"""Cutting and joining against plain lists."""

import itertools
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparrow.io.pieces import Piece
from sparrow.io.streams.rows import Batcher, Mark, Place
from sparrow.types import Batch, Ragged


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


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), max_size=8), st.integers(1, 7))
def test_batches_are_the_rows_in_order_with_their_places(pieces: list[list[int]], batch_size: int) -> None:
    """`pieces` holds the number of rows of each part; after every batch, the places say exactly what is consumed."""
    batcher, expected, consumed = Batcher(batch_size), [], []
    begin_of: dict[int, int] = {}
    part = 0
    for counts in pieces:
        marks = []
        for count in counts:
            marks.append(Mark("source", part, f"part {part}", 0, count, True, 0.0))
            begin_of[part] = len(expected)
            expected += [(part, row) for row in range(count)]
            part += 1
        total = sum(counts)
        numbers = list(range(len(expected) - total, len(expected)))
        batcher.add(Piece("", 0, 0, total, columns_of(numbers)) if total else None, marks)
    for batch, after, _ in batcher.rest():
        if batch is None:
            # Parts without rows, and no row at all.
            assert (expected, after) == ([], {"source": Place(part - 1, None)})
            continue
        assert batch.num_samples == min(batch_size, len(expected) - len(consumed))
        values = batch["x"]
        assert isinstance(values, Tensor)
        assert values.tolist() == list(range(len(consumed), len(consumed) + batch.num_samples))
        require_columns_of(values.tolist(), batch)
        for sample in range(batch.num_samples):
            its_part, row = expected[len(consumed) + sample]
            assert batch.locate(sample) == f"part {its_part}, row {row}"
        consumed += values.tolist()
        place = after["source"]
        assert begin_of[place.part] + (place.row if place.row is not None else sum(p == place.part for p, _ in expected)) == len(consumed)
    assert len(consumed) == len(expected)
    assert batcher.num_rows == 0
    assert list(batcher.rest()) == []
