"""rehash_: all bodies keep every living id with its row, and leave the erased behind."""

import pytest
import torch
from hypothesis import given, settings
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
from tests_support import id_map_content as content
from triton_support import compile_kernels, for_every_target, size, triton_body

BODIES = {"reference": reference.rehash_, "cpu": rehash_, "triton": triton_body("rehash_")}


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


BITS = st.sampled_from([(0, 0), (1, 1), (0, 3), (3, 0)])


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(ids=id_lists(80), bits=BITS)
def test_living_ids_keep_their_rows(body: str, ids: list[int], bits: tuple[int, int]) -> None:
    check_living_ids_keep_their_rows(body, ids, bits)


@settings(max_examples=8)
@given(ids=id_lists(80), bits=BITS)
def test_triton_keeps_the_rows_of_living_ids(ids: list[int], bits: tuple[int, int]) -> None:
    check_living_ids_keep_their_rows("triton", ids, bits)


def check_living_ids_keep_their_rows(body: str, ids: list[int], bits: tuple[int, int]) -> None:
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


@pytest.mark.parametrize("body", BODIES)
def test_a_range_may_grow_where_it_lies(body: str) -> None:
    lines, headers, ranges = filled(list(range(100)))
    asked, offsets = torch.arange(100), torch.tensor([0, 100, 100])
    before, _ = find(lines, headers, ranges, asked, offsets)
    # The second table, last before the unused lines, grows into them.
    new = ranges.clone()
    new[1, id_map.RANGE_NUM_LINES], new[1, id_map.RANGE_NUM_KEYS] = 300, id_map.REBUILD
    BODIES[body](lines, headers, new, headers, ranges)
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


@pytest.mark.parametrize(("bits", "new_bits", "num_lines"), [(0, 0, 1), (0, 0, 7), (0, 1, 1), (0, 5, 7), (5, 5, 1), (5, 0, 1)])
def test_triton_map_is_the_compiled_map(bits: int, new_bits: int, num_lines: int) -> None:
    """Tables that keep all their ranges, some of them, none; lines overlap; ids erased; a table without ids; then all bodies go on."""
    num_ids, generator = size(300, 100_000), torch.Generator().manual_seed(bits)
    # The first table has ranges of its own number, the third two.
    sizes = [num_lines * num_ids // 4 // 2**bits + 20] * 2**bits + [4] + [num_ids // 4 + 40] * 2
    headers = id_map.make_headers([1, 2, 3], [bits, 0, 1])
    ranges = torch.tensor([[sum(sizes[:index]), size, 0, 0] for index, size in enumerate(sizes)])
    share = num_ids // 4 // 2**new_bits * num_lines + 30
    lines = torch.full((sum(sizes) + 2**new_bits * share, 8), id_map.EMPTY)
    known = torch.randint(-(2**63), 2**63 - 1, (2 * num_ids,), generator=generator)
    known[:: num_ids // 2] = id_map.EMPTY
    offsets = torch.tensor([0, num_ids, num_ids, 2 * num_ids])
    counters, free_rows = id_map.empty_rows()
    find_or_insert_(lines, headers, ranges, counters, free_rows, known, offsets)
    erase_(lines, headers, ranges, known[::5].contiguous(), (offsets + 4) // 5)
    # The first table moves behind all others, and into its own old lines too where it is one range; of the third, the last range shrinks.
    new_headers = id_map.make_headers([1, 2, 3], [new_bits, 0, 1])
    new_headers[:, id_map.HEADER_SIDE_ROW] = headers[:, id_map.HEADER_SIDE_ROW]
    begin = 0 if bits == new_bits == 0 and num_lines == 1 else sum(sizes)
    first = [[begin + index * share, min(share, sizes[0] - 5) if begin == 0 else share, id_map.REBUILD, 0] for index in range(2**new_bits)]
    rest = ranges[2**bits :].clone()
    rest[-1, id_map.RANGE_FIRST_LINE] += 3
    rest[-1, id_map.RANGE_NUM_LINES] -= 3
    rest[-1, id_map.RANGE_NUM_KEYS] = id_map.REBUILD
    states = []
    for body in ("triton", "cpu"):
        own, new_ranges = lines.clone(), torch.cat([torch.tensor(first), rest])
        BODIES[body](own, new_headers, new_ranges, headers, ranges)
        states.append((own, new_headers.clone(), new_ranges))
    mine, theirs = states
    assert torch.equal(mine[2], theirs[2])
    assert content(*mine) == content(*theirs)
    assert torch.equal(find(*mine, known, offsets)[0], find(*theirs, known, offsets)[0])
    # The map goes on: what was erased comes back, what lives is found, in both.
    after = [find_or_insert_(*state, counters.clone(), free_rows, known, offsets) for state in states]
    assert all(torch.equal(got, expected) for got, expected in zip(*after, strict=True))
    assert content(*mine) == content(*theirs)


@pytest.mark.parametrize("seed", range(2))
def test_triton_programs_that_race_for_slots(seed: int) -> None:
    """One range of a table into two that overlap it, the other where it lies, without a slot to spare."""
    ids = torch.randint(-(2**63), 2**63 - 1, (300,), generator=torch.Generator().manual_seed(seed))
    lines, headers, ranges = id_map.empty_id_map([600, 150], [seed, 5], 1.0)
    lines = torch.cat([lines, torch.full((1200, 8), 12345)])  # as many as are worth several programs
    offsets = torch.tensor([0, 150, 300])
    find_or_insert_(lines, headers, ranges, *id_map.empty_rows(), ids, offsets)
    new_headers = id_map.make_headers([seed, 5], [1, 0])
    new_ranges = torch.tensor([[2, 30, id_map.REBUILD, 0], [50, 60, id_map.REBUILD, 0], [120, 30, id_map.REBUILD, 0]])
    theirs = (lines.clone(), new_headers, new_ranges.clone())
    triton_body("rehash_", seed=seed)(lines, new_headers, new_ranges, headers, ranges)
    rehash_(*theirs, headers, ranges)
    assert torch.equal(new_ranges, theirs[2])
    assert content(lines, new_headers, new_ranges) == content(*theirs)
    assert torch.equal(find(lines, new_headers, new_ranges, ids, offsets)[0], torch.arange(300, dtype=torch.int32))


@pytest.mark.parametrize("wrong", ["room", "mark", "salt", "slices"])
def test_triton_leaves_a_table_it_must_refuse(wrong: str) -> None:
    """Where the CPU raises, the table keeps its lines and its marks; the other table is rebuilt."""
    state = filled(list(range(100)))
    headers, ranges = moved(state, 10 if wrong == "room" else 100, 1)
    ranges[2, id_map.RANGE_NUM_KEYS] = id_map.REBUILD
    if wrong == "mark":
        ranges[1, id_map.RANGE_NUM_KEYS] = 0
    if wrong == "salt":
        headers[0, id_map.HEADER_SALT] += 1
    if wrong == "slices":
        headers[0, id_map.HEADER_FIRST_SLICE] += 1
    lines, before = state[0].clone(), ranges.clone()
    BODIES["triton"](lines, headers, ranges, *state[1:])
    first, num_lines = ranges[2, : id_map.RANGE_NUM_KEYS].tolist()
    assert torch.equal(lines[:first], state[0][:first])
    assert torch.equal(lines[first + num_lines :], state[0][first + num_lines :])
    assert torch.equal(ranges[:2], before[:2])
    assert ranges[2].tolist() == [first, num_lines, 100, 0]


def test_triton_leaves_a_range_that_was_refused_before() -> None:
    lines, headers, ranges = filled(list(range(100)))
    new_headers, new_ranges = moved((lines, headers, ranges), 400, 0)
    ranges[0, id_map.RANGE_NUM_KEYS] = id_map.REBUILD  # as a refusal leaves it: its keys are not counted
    before = lines.clone()
    BODIES["triton"](lines, new_headers, new_ranges, headers, ranges)
    assert torch.equal(lines, before)
    assert new_ranges[0, id_map.RANGE_NUM_KEYS] == id_map.REBUILD


def test_triton_kernels_compile_for_real_targets() -> None:
    compiled = compile_kernels("rehash.triton", constants={"BLOCK_L": 64}, num_warps=1)
    assert sorted(compiled) == for_every_target("empty_kernel", "insert_kernel", "save_kernel")


def test_opcheck() -> None:
    state = filled([1, 2, 3])
    opcheck(torch.ops.sparrow.rehash_.default, (state[0], *moved(state, 20, 1), *state[1:]))
