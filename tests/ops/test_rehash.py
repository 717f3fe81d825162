"""rehash_: reference and C++ keep every living id with its row, and leave the erased behind."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash import reference
from sparrow.ops.rehash.op import rehash_
from tests_support import id_lists

BODIES = {"reference": reference.rehash_, "cpu": rehash_}


def filled(ids: list[int], range_bits: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return a map of two tables that hold `ids` both, and 4000 lines that nobody uses after its own."""
    lines, headers, ranges = id_map.empty_id_map([128 << range_bits] * 2, [99, 98], range_bits=range_bits)
    lines = torch.cat([lines, torch.full((4000, 8), 12345)])
    find_or_insert_(
        lines, headers, ranges, *id_map.empty_rows(), torch.tensor(ids * 2, dtype=torch.int64), torch.tensor([0, len(ids), 2 * len(ids)])
    )
    return lines, headers, ranges


def moved(state: tuple[Tensor, Tensor, Tensor], num_lines: int, range_bits: int) -> tuple[Tensor, Tensor]:
    """Return headers and ranges that move the first table to the unused lines, into 2^range_bits ranges."""
    lines, headers, ranges = state
    second = ranges[int(headers[1, id_map.HEADER_FIRST_RANGE]) :]
    new_headers = id_map.make_headers([99, 98], [range_bits, int(headers[1, id_map.HEADER_RANGE_BITS])])
    new_headers[:, id_map.HEADER_SIDE_ROW] = headers[:, id_map.HEADER_SIDE_ROW]
    first = [[lines.shape[0] - 4000 + index * num_lines, num_lines, id_map.REBUILD, 0] for index in range(2**range_bits)]
    return new_headers, torch.cat([torch.tensor(first), second])


@pytest.mark.parametrize("body", BODIES)
@given(ids=id_lists(80), bits=st.sampled_from([(0, 0), (1, 1), (0, 3), (3, 0)]))
def test_living_ids_keep_their_rows(body: str, ids: list[int], bits: tuple[int, int]) -> None:
    state = filled(ids, bits[0])
    asked, offsets = torch.tensor(ids * 2, dtype=torch.int64), torch.tensor([0, len(ids), 2 * len(ids)])
    erased = sorted({id for id in ids if id % 3 == 0})
    erase_(*state, torch.tensor(erased, dtype=torch.int64), torch.tensor([0, len(erased), len(erased)]))
    before, _ = find(*state, asked, offsets)
    headers, ranges = moved(state, 400, bits[1])
    BODIES[body](state[0], headers, ranges, *state[1:])
    assert torch.equal(find(state[0], headers, ranges, asked, offsets)[0], before)
    living = {id for id in ids if id % 3 and id != id_map.EMPTY}
    own = ranges[: 2 ** bits[1]]
    assert own[:, id_map.RANGE_NUM_KEYS].sum() == len(living)
    assert own[:, id_map.RANGE_NUM_DEAD].sum() == 0


def test_compiled_state_is_the_reference_state() -> None:
    for bits in ((0, 0), (0, 2)):
        mine, theirs = filled(list(range(100)), bits[0]), filled(list(range(100)), bits[0])
        for body, state in ((rehash_, mine), (reference.rehash_, theirs)):
            headers, ranges = moved(state, 100, bits[1])
            body(state[0], headers, ranges, *state[1:])
            state[1].resize_(headers.shape).copy_(headers)
            state[2].resize_(ranges.shape).copy_(ranges)
        for got, expected in zip(mine, theirs, strict=True):
            assert torch.equal(got, expected)


def test_a_range_may_grow_where_it_lies() -> None:
    lines, headers, ranges = filled(list(range(100)))
    asked, offsets = torch.arange(100), torch.tensor([0, 100, 100])
    before, _ = find(lines, headers, ranges, asked, offsets)
    # The second table, last before the unused lines, grows into them.
    new = ranges.clone()
    new[1, id_map.RANGE_NUM_LINES], new[1, id_map.RANGE_NUM_KEYS] = 300, id_map.REBUILD
    rehash_(lines, headers, new, headers, ranges)
    assert torch.equal(find(lines, headers, new, asked, offsets)[0], before)
    assert new[1].tolist() == [int(ranges[1, 0]), 300, 100, 0]


def test_too_small_a_range_is_refused_before_it_is_written() -> None:
    state = filled(list(range(100)))
    headers, ranges = moved(state, 10, 0)
    before = state[0].clone()
    with pytest.raises(RuntimeError, match="table 0: range 0 has room for 50 ids, needs 100"):
        rehash_(state[0], headers, ranges, *state[1:])
    assert torch.equal(state[0], before)


def test_a_table_that_changes_its_ranges_must_rebuild_all() -> None:
    state = filled(list(range(100)))
    headers, ranges = moved(state, 100, 1)
    ranges[1, id_map.RANGE_NUM_KEYS] = 0
    with pytest.raises(RuntimeError, match="table 0 changes its number of ranges, range 1"):
        rehash_(state[0], headers, ranges, *state[1:])


def test_opcheck() -> None:
    state = filled([1, 2, 3])
    opcheck(torch.ops.sparrow.rehash_.default, (state[0], *moved(state, 20, 1), *state[1:]))
