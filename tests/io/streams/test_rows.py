"""Cutting and joining against plain lists."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparrow.io.streams.rows import Batcher, Mark, Place, between, concatenate
from sparrow.types import Column, Ragged

nested = st.lists(st.lists(st.lists(st.integers(-9, 9), max_size=3), max_size=3), max_size=12)


def ragged(rows: list[list[list[int]]]) -> Ragged:
    outer = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    inner = torch.tensor([0, *(len(inner) for row in rows for inner in row)]).cumsum(0)
    return Ragged(torch.tensor([value for row in rows for inner in row for value in inner], dtype=torch.int64), (outer, inner))


def lists(column: Column) -> list[list[list[int]]]:
    assert isinstance(column, Ragged)
    column.check("column")
    outer, inner, values = (tensor.tolist() for tensor in (*column.offsets, column.values))
    elements = [values[begin:end] for begin, end in itertools.pairwise(inner)]
    return [elements[begin:end] for begin, end in itertools.pairwise(outer)]


@given(nested, st.integers(0, 12), st.integers(0, 12))
def test_rows_between(rows: list[list[list[int]]], first: int, second: int) -> None:
    begin, end = sorted((min(first, len(rows)), min(second, len(rows))))
    assert lists(between(ragged(rows), begin, end)) == rows[begin:end]


@given(st.lists(nested, min_size=1, max_size=4))
def test_concatenated_rows(parts: list[list[list[list[int]]]]) -> None:
    assert lists(concatenate([ragged(part) for part in parts])) == [row for part in parts for row in part]


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), max_size=8), st.integers(1, 7))
def test_batches_are_the_rows_in_order_with_their_places(pieces: list[list[int]], batch_size: int) -> None:
    """`pieces` holds the number of rows of each part; after every batch, the places say exactly what is consumed."""
    batcher, expected, consumed = Batcher(), [], []
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
        batcher.add({"x": torch.arange(len(expected) - total, len(expected))} if total else {}, marks)
    while batcher.num_rows:
        batch, after, _ = batcher.take(min(batch_size, batcher.num_rows))
        assert batch is not None
        values = batch["x"]
        assert isinstance(values, Tensor)
        assert values.tolist() == list(range(len(consumed), len(consumed) + batch.num_samples))
        for sample in range(batch.num_samples):
            its_part, row = expected[len(consumed) + sample]
            assert batch.locate(sample) == f"part {its_part}, row {row}"
        consumed += values.tolist()
        place = after["source"]
        assert begin_of[place.part] + (place.row if place.row is not None else sum(p == place.part for p, _ in expected)) == len(consumed)
    assert len(consumed) == len(expected)
    rest, after, _ = batcher.take(0)
    assert rest is None
    # Parts without rows behind the last row are consumed with it, or now where there was no row at all.
    assert after == ({} if expected or not part else {"source": Place(part - 1, None)})
