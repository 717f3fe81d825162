"""Batches that stay where they are: what is in them, and strings and lists of lists in captured steps (`captured_lists.py`)."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from device_support import run_on_device
from sparrow.optim import BatchMisfit
from sparrow.optim.static_batch import StaticBatch
from sparrow.types import Batch, Ragged

ROWS = 3


def column(rows: list[list[bytes]]) -> Ragged:
    strings = [string for row in rows for string in row]
    ends = (torch.tensor([0, *map(len, level)]).cumsum(0) for level in (rows, strings))
    return Ragged(torch.tensor(list(b"".join(strings)), dtype=torch.uint8), tuple(ends))


def rows_in(found: Ragged) -> tuple[list[list[bytes]], list[bytes]]:
    """Return the strings of each row, and those behind the last row."""
    outer, inner = (level.tolist() for level in found.offsets)
    text = bytes(found.values.tolist())
    strings = [text[begin:end] for begin, end in itertools.pairwise(inner)]
    return [strings[begin:end] for begin, end in itertools.pairwise(outer)], strings[outer[-1] :]


LISTS = st.lists(st.lists(st.binary(max_size=4), max_size=4), min_size=ROWS, max_size=ROWS)


@given(LISTS, st.lists(LISTS, max_size=5), st.tuples(st.integers(0, 8), st.integers(0, 16)))
def test_strings_are_those_that_were_given_and_behind_them_are_empty_ones(
    first: list[list[bytes]], others: list[list[list[bytes]]], most: tuple[int, int]
) -> None:
    static = StaticBatch(Batch.of({"words": column(first)}), {"words": most}, torch.device("cpu"))
    inside = static.batch["words"]
    assert isinstance(inside, Ragged)
    before: list[list[bytes]] = [[] for _ in range(ROWS)]
    for rows in others:
        strings = [string for row in rows for string in row]
        sizes = len(strings), sum(map(len, strings))
        if sizes[0] > most[0] or sizes[1] > most[1]:
            with pytest.raises(BatchMisfit, match="'words' has levels of") as caught:
                static.fill(Batch.of({"words": column(rows)}))
            assert caught.value.longer == {"words": sizes}
        else:
            static.fill(Batch.of({"words": column(rows)}))
            before = rows
        found, behind = rows_in(inside)
        assert found == before
        assert not b"".join(behind)
        assert inside.offsets[1].numel() == most[0] + 1
        assert inside.values.numel() == most[1]


def test_room_is_twice_what_the_first_batch_has_of_each_level() -> None:
    example = Batch.of({"words": column([[b"ab", b"c"], [], [b"def"]]), "ids": Ragged(torch.arange(2), (torch.tensor([0, 1, 2, 2]),))})
    cpu = torch.device("cpu")
    assert StaticBatch(example, {}, cpu).most == {"words": (6, 12), "ids": (4,)}
    assert StaticBatch(example, {"words": 7, "ids": 3}, cpu).most == {"words": (6, 7), "ids": (3,)}
    assert StaticBatch(example, {"words": [4, 9]}, cpu).most == {"words": (4, 9), "ids": (4,)}


@pytest.mark.gpu
def test_strings_and_lists_of_lists_are_replayed() -> None:
    run_on_device("from optim import captured_lists; captured_lists.lists_are_replayed(24)")


@pytest.mark.gpu
def test_lists_beyond_their_room_are_refused_at_every_level() -> None:
    run_on_device("from optim import captured_lists; captured_lists.lists_beyond_their_room_are_refused()")


@pytest.mark.gpu
def test_whoever_drops_a_graph_hears_what_it_refused() -> None:
    run_on_device("from optim import captured_lists; captured_lists.refusals_are_asked_for()")
