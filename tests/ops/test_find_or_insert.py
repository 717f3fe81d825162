"""find_or_insert_: reference, C++ and Triton against a dict, and against each other."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert import reference
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.touch_rows.op import touch_rows_
from tests_support import ADVERSARIAL_IDS, id_lists
from tests_support import id_map_content as content
from triton_support import compile_kernels, for_every_target, needs_gpu, size, triton_body

BODIES = {
    "reference": reference.find_or_insert_,
    "cpu": find_or_insert_,
    "triton": triton_body("find_or_insert_"),
}


class DictMap:
    """The obvious map: one dict a table, rows numbered in order of arrival."""

    def __init__(self, num_tables: int) -> None:
        self.rows: list[dict[int, int]] = [{} for _ in range(num_tables)]
        self.num_rows = 0

    def find_or_insert(self, ids: list[list[int]]) -> tuple[list[int], list[int]]:
        rows, new_positions = [], []
        for known, table_ids in zip(self.rows, ids, strict=True):
            for id in table_ids:
                if id not in known:
                    known[id] = self.num_rows
                    self.num_rows += 1
                    new_positions.append(len(rows))
                rows.append(known[id])
        return rows, new_positions


def empty_state(max_keys: list[int], range_bits: int = 0) -> list[Tensor]:
    """Return lines, headers, ranges, counters and free rows of an empty map."""
    lines, headers, ranges = id_map.empty_id_map(max_keys, [7919 * (table + 1) for table in range(len(max_keys))], range_bits=range_bits)
    return [lines, headers, ranges, *id_map.empty_rows()]


def flat(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    ends = torch.tensor([0, *[len(table) for table in ids]]).cumsum(0)
    return torch.tensor([id for table in ids for id in table], dtype=torch.int64), ends


BATCHES = st.lists(st.tuples(id_lists(60), id_lists(60)), min_size=1, max_size=4)


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(batches=BATCHES, range_bits=st.sampled_from([0, 1, 5]))
def test_rows_are_those_of_a_dict(body: str, batches: list[tuple[list[int], list[int]]], range_bits: int) -> None:
    check_rows(body, batches, range_bits)


@settings(max_examples=8)
@given(batches=BATCHES, range_bits=st.sampled_from([0, 1, 5]))
def test_triton_rows_are_those_of_a_dict(batches: list[tuple[list[int], list[int]]], range_bits: int) -> None:
    check_rows("triton", batches, range_bits)


def check_rows(body: str, batches: list[tuple[list[int], list[int]]], range_bits: int) -> None:
    # Adversarial ids may share one range: every range has room for all.
    state, model = empty_state([256 << range_bits] * 2, range_bits), DictMap(2)
    for batch in batches:
        rows, new_positions, num_new = BODIES[body](*state, *flat(list(batch)))
        expected_rows, expected_new = model.find_or_insert(list(batch))
        assert rows.tolist() == expected_rows
        assert new_positions[: int(num_new)].tolist() == expected_new
        assert state[3].tolist() == [model.num_rows, 0, 0, 0]


@pytest.mark.parametrize("num_ids", [0, 1, 63, 1000])
def test_compiled_state_is_the_reference_state(num_ids: int) -> None:
    generator = torch.Generator().manual_seed(num_ids)
    ids = torch.cat([torch.randint(-(2**63), 2**63 - 1, (num_ids,), generator=generator), torch.tensor(ADVERSARIAL_IDS)])
    offsets = torch.tensor([0, ids.numel() // 2, ids.numel()])
    mine, theirs = empty_state([1200, 1200]), empty_state([1200, 1200])
    for got, expected in zip(find_or_insert_(*mine, ids, offsets), reference.find_or_insert_(*theirs, ids, offsets), strict=True):
        assert torch.equal(got, expected)
    for got, expected in zip(mine, theirs, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("num_threads", [1, 2, 4])
@pytest.mark.parametrize("range_bits", [0, 5])
def test_rows_do_not_depend_on_the_number_of_threads(num_threads: int, range_bits: int) -> None:
    torch.set_num_threads(num_threads)
    generator = torch.Generator().manual_seed(range_bits)
    # Repeats within and across batches, the side slot, several tables; enough ids to be divided among threads.
    some = torch.randint(-(2**63), 2**63 - 1, (40_000,), generator=generator)
    batches = [
        [[*some[torch.randint(0, 40_000, (size,), generator=generator)].tolist(), id_map.EMPTY, 0] for size in (30_000, 500, 30_000)]
    ]
    batches += [[[*table[::-1], 1, 2, 3] for table in batches[0]]]
    state, model = empty_state([60_000] * 3, range_bits), DictMap(3)
    state[4], state[3][id_map.COUNTER_FREE] = torch.arange(100_000, 100_050, dtype=torch.int32), 50
    rows_of_freed = {row: 100_049 - row if row < 50 else row - 50 for row in range(len(some) * 3)}
    for batch in batches:
        rows, new_positions, num_new = find_or_insert_(*state, *flat(batch))
        expected_rows, expected_new = model.find_or_insert(batch)
        assert rows.tolist() == [rows_of_freed[row] for row in expected_rows]
        assert new_positions[: int(num_new)].tolist() == expected_new
    assert state[3].tolist() == [model.num_rows - 50, 0, 0, 0]
    assert torch.equal(find(*state[:3], *flat(batches[0]))[0], find_or_insert_(*state, *flat(batches[0]))[0])


@pytest.mark.parametrize("body", BODIES)
def test_erased_id_comes_back_with_a_fresh_row(body: str) -> None:
    state = empty_state([64])
    ids, offsets = flat([[11, 12, 13]])
    BODIES[body](*state, ids, offsets)
    erase_(*state[:3], torch.tensor([12]), torch.tensor([0, 1]))
    rows, new_positions, num_new = BODIES[body](*state, ids, offsets)
    assert rows.tolist() == [0, 3, 2]
    assert new_positions[: int(num_new)].tolist() == [1]
    assert int(state[2][0, id_map.RANGE_NUM_DEAD]) == 0


@pytest.mark.parametrize("body", BODIES)
def test_free_rows_are_handed_out_first_from_the_end(body: str) -> None:
    state = empty_state([64])
    state[3] = torch.tensor([100, 0, 3, 0])
    state[4] = torch.tensor([7, 5, 9, 77], dtype=torch.int32)  # the fourth is beyond the three that are free
    rows, _, _ = BODIES[body](*state, *flat([[1, 2]]))
    assert rows.tolist() == [9, 5]
    rows, _, _ = BODIES[body](*state, *flat([[3, 4, 5]]))
    assert rows.tolist() == [7, 100, 101]
    assert state[3].tolist() == [102, 0, 0, 0]


@pytest.mark.parametrize("body", BODIES)
def test_full_range_reports_every_id_without_room(body: str) -> None:
    state = empty_state([5])
    room = int(state[2][0, id_map.RANGE_NUM_LINES]) * id_map.IDS_PER_LINE
    rows, _, num_new = BODIES[body](*state, *flat([list(range(1, room + 4))]))
    assert int(num_new) == room
    if body == "triton":  # which ids find room depends on the schedule
        assert sorted(rows.tolist()) == [*[id_map.NO_ROW] * 3, *range(room)]
    else:
        assert rows.tolist() == [*range(room), *[id_map.NO_ROW] * 3]
    assert state[3].tolist() == [room, 3, 0, 0]


@pytest.mark.parametrize("body", BODIES)
def test_a_map_of_some_slices_spreads_their_ids_over_all_its_lines(body: str) -> None:
    """One rank of four holds a quarter of the slices: its ranges and lines divide that quarter, not the whole."""
    lines, headers, ranges = id_map.empty_id_map([3000], [5], range_bits=2)
    headers[0, id_map.HEADER_FIRST_SLICE], headers[0, id_map.HEADER_SLICE_SCALE] = 16384, id_map.slice_scale(16384)
    ids = torch.arange(8000)
    own = ids[(id_map.slice_of(ids, 5) >= 16384) & (id_map.slice_of(ids, 5) < 32768)]
    rows, _, _ = BODIES[body](lines, headers, ranges, *id_map.empty_rows(), own, torch.tensor([0, own.numel()]))
    assert rows.tolist() == list(range(own.numel()))
    assert (ranges[:, id_map.RANGE_NUM_KEYS] - own.numel() / 4).abs().max() < 120  # 5 standard deviations
    in_order = own[id_map.canonical_order(own, 5)].tolist()
    laid = [id for line in lines[:, : id_map.IDS_PER_LINE].tolist() for id in line if id != id_map.EMPTY]
    displaced = sum(abs(place - in_order.index(id)) > 60 for place, id in enumerate(laid))
    assert displaced < len(laid) / 20, "map order is mix order but for few"


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.find_or_insert_.default, (*empty_state([64, 64]), *flat([[1, 2, 2], [2, id_map.EMPTY]])))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (0, torch.zeros(4, 7, dtype=torch.int64), "lines"),
        (1, torch.tensor([[0, 5, 1, -1, 0, 2**32, 0, 0]] * 2), "headers"),
        (2, torch.tensor([[0, 1000, 0, 0], [0, 1, 0, 0]]), "ranges: range 0"),
        (2, torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]), "ranges: range 0"),
        (3, torch.zeros(3, dtype=torch.int64), "counters"),
        (3, torch.tensor([0, 0, 1, 0]), "free_rows"),
        (5, torch.zeros(3), "ids"),
        (6, torch.tensor([0, 2]), "table_offsets"),
        (6, torch.tensor([0, 3, 2]), "table_offsets"),
        (6, torch.tensor([0, 5, 3]), "table_offsets"),
    ],
)
def test_wrong_argument_is_named(argument: int, value: Tensor, message: str) -> None:
    arguments = [*empty_state([64, 64]), *flat([[1], [2, 3]])]
    arguments[argument] = value
    with pytest.raises(RuntimeError, match=message):
        find_or_insert_(*arguments)


@pytest.mark.parametrize(("range_bits", "load"), [(0, 0.5), (1, 0.8125), (5, 0.8125), (0, 1.0)])
def test_triton_map_is_the_compiled_map(range_bits: int, load: float) -> None:
    """Fresh, known and erased ids, each several times in a call, near and far; free rows; the side slot; three tables, one without ids."""
    generator = torch.Generator().manual_seed(range_bits)
    num_ids = size(300 if load < 1 else 100, 300_000 if load < 1 else 20_000)
    special = torch.tensor(ADVERSARIAL_IDS)
    known = torch.cat([torch.randint(-(2**63), 2**63 - 1, (num_ids - special.numel(),), generator=generator), special])
    # Many small ranges need more than their share; at load 1 the last slot is taken.
    num_keys = num_ids + (40 * 2**range_bits if load < 1 else -1)
    lines, headers, ranges = id_map.empty_id_map([num_keys, 5, num_keys], [3, 4, 5], load, range_bits)
    mine = [lines, headers, ranges, torch.tensor([1000, 0, 50, 0]), torch.randperm(1000, generator=generator)[:60].int()]
    theirs = [tensor.clone() for tensor in mine]
    for share in (0.3, 0.6, 1.0, 1.0):
        end = int(share * known.numel())
        drawn = [known[:end][torch.randint(0, end, (num_ids // 2,), generator=generator)] for _ in range(2)]
        ids = torch.cat([drawn[0], special, drawn[0].flip(0), known[:end], drawn[1], known[:end], special, drawn[1], special])
        num_first = 2 * drawn[0].numel() + special.numel() + end
        offsets = torch.tensor([0, num_first, num_first, ids.numel()])
        for got, expected in zip(BODIES["triton"](*mine, ids, offsets), find_or_insert_(*theirs, ids, offsets), strict=True):
            assert torch.equal(got, expected)
        for got, expected in zip(mine[1:], theirs[1:], strict=True):
            assert torch.equal(got, expected)
        assert content(*mine[:3]) == content(*theirs[:3])
        assert torch.equal(find(*mine[:3], ids, offsets)[0], find(*theirs[:3], ids, offsets)[0])
        erased = ids[::5].contiguous()
        their_offsets = (offsets + 4) // 5
        for state in (mine, theirs):
            freed = erase_(*state[:3], erased, their_offsets)
            state[4], state[3][id_map.COUNTER_FREE] = freed[freed >= 0][:70], min(70, int((freed >= 0).sum()))


@pytest.mark.parametrize("body", ["reference", "triton"])
@pytest.mark.parametrize("num_valid", [0, 1, 128, 200])
def test_ids_beyond_the_last_table_are_none(body: str, num_valid: int) -> None:
    state, offsets = empty_state([200, 200]), torch.tensor([0, num_valid // 2, num_valid])
    ids = torch.arange(300) % 150
    ids[::50] = id_map.EMPTY
    expected_state = [tensor.clone() for tensor in state]
    rows, new_positions, num_new = BODIES[body](*state, ids, offsets)
    expected = find_or_insert_(*expected_state, ids[:num_valid], offsets)
    assert torch.equal(rows[:num_valid], expected[0])
    assert rows[num_valid:].eq(id_map.NO_ROW).all()
    assert new_positions.tolist() == [*expected[1].tolist(), *[-1] * (300 - num_valid)]
    assert torch.equal(num_new, expected[2])
    assert all(torch.equal(got, wanted) for got, wanted in zip(state[1:], expected_state[1:], strict=True))
    assert content(*state[:3]) == content(*expected_state[:3])


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (0, torch.zeros(4, 7, dtype=torch.int64), "lines must be"),
        (3, torch.zeros(4, dtype=torch.int32), "counters must be .* torch.int32 tensor"),
        (3, torch.zeros(3, dtype=torch.int64), "counters must hold 4 values, holds 3"),
        (4, torch.zeros(4, dtype=torch.int64), "free_rows must be .* torch.int64 tensor"),
        (5, torch.zeros(3), "ids must be .* torch.float32 tensor"),
        (6, torch.tensor([0, 2]), "table_offsets must have one more entry than the 2 tables, has 2"),
    ],
)
def test_triton_names_a_wrong_argument(argument: int, value: Tensor, message: str) -> None:
    arguments = [*empty_state([64, 64]), *flat([[1], [2, 3]])]
    arguments[argument] = value
    with pytest.raises(RuntimeError, match=message):
        BODIES["triton"](*arguments)


def test_triton_step_on_worst_case_buffers_is_the_step_on_narrowed_ones() -> None:
    """What a GPU step does, without waiting for a count: dedup_ids, find_or_insert_, touch_rows_, each given whole buffers."""
    generator = torch.Generator().manual_seed(2)
    mine, metas = empty_state([size(300, 30_000)] * 3, range_bits=1), torch.zeros(2, size(900, 90_000), 4, dtype=torch.int32)
    theirs = [tensor.clone() for tensor in mine]
    for step in range(3):
        ids = torch.randint(0, size(200, 20_000), (size(1500, 200_000),), generator=generator)
        ids[::97] = id_map.EMPTY
        offsets = torch.tensor([0, ids.numel() // 3, ids.numel() // 3, ids.numel()])
        unique_ids, unique_offsets, _, counts = triton_body("dedup_ids")([ids], offsets)
        rows, _, num_new = BODIES["triton"](*mine, unique_ids, unique_offsets)
        triton_body("touch_rows_")(metas[0], rows, counts, unique_offsets[-1:], step, True)

        unique_ids, unique_offsets, _, counts = dedup_ids([ids], offsets)
        num_unique = int(unique_offsets[-1])
        expected_rows, _, expected_new = find_or_insert_(*theirs, unique_ids[:num_unique], unique_offsets)
        touch_rows_(metas[1], expected_rows, counts, unique_offsets[-1:], step, True)
        assert torch.equal(rows[:num_unique], expected_rows)
        assert rows[num_unique:].eq(id_map.NO_ROW).all()
        assert torch.equal(num_new, expected_new)
        assert torch.equal(metas[0], metas[1])
        assert content(*mine[:3]) == content(*theirs[:3])


@pytest.mark.parametrize("seed", range(4))
def test_triton_lanes_that_race_for_slots(seed: int) -> None:
    """Few lines, filled to the last slot; ids several times in a block and in several; known, fresh and erased; programs race."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randint(-(2**63), 2**63 - 1, (150,), generator=generator)
    # The complement of the empty marker is what an idle lane may not mistake for a value no slot holds.
    pool[:3] = torch.tensor([id_map.EMPTY, 2**63 - 1, 0])
    lines, headers, ranges = id_map.empty_id_map([149, 149], [seed, -seed], 1.0)
    mine = [lines, headers, ranges, *id_map.empty_rows()]
    find_or_insert_(*mine, pool[:60], torch.tensor([0, 40, 60]))
    erase_(*mine[:3], pool[10:50], torch.tensor([0, 20, 40]))
    theirs = [tensor.clone() for tensor in mine]
    ids, offsets = pool[torch.randint(0, 150, (700,), generator=generator)], torch.tensor([0, 400, 700])
    body = triton_body("find_or_insert_", seed=seed)
    for got, expected in zip(body(*mine, ids, offsets), find_or_insert_(*theirs, ids, offsets), strict=True):
        assert torch.equal(got, expected)
    assert all(torch.equal(got, expected) for got, expected in zip(mine[1:], theirs[1:], strict=True))
    assert content(*mine[:3]) == content(*theirs[:3])


def test_concurrent_inserts_with_duplicates_are_those_of_a_dict() -> None:
    """What the interpreter, which runs one program after the other, cannot show: a thousand rounds of lanes that race for slots."""
    needs_gpu()
    generator = torch.Generator().manual_seed(7)
    # Few lines, filled to the last slot: long paths, and every slot is fought for. The greatest id is the complement of the empty marker.
    num_ids, model = 2000, DictMap(2)
    for round_number in range(1000):
        if round_number % 10 == 0:
            lines, headers, ranges = id_map.empty_id_map([num_ids, num_ids], [round_number, -round_number], 1.0)
            state, model = [lines, headers, ranges, *id_map.empty_rows()], DictMap(2)
            pool = torch.randint(-(2**63), 2**63 - 1, (num_ids,), generator=generator)
            pool[:3] = torch.tensor([id_map.EMPTY, 2**63 - 1, 0])
        seen = pool[: 200 * (round_number % 10 + 1)]
        ids = [seen[torch.randint(0, seen.numel(), (10_000,), generator=generator)].tolist() for _ in range(2)]
        rows, new_positions, num_new = BODIES["triton"](*state, *flat(ids))
        expected_rows, expected_new = model.find_or_insert(ids)
        assert rows.tolist() == expected_rows
        assert new_positions[: int(num_new)].tolist() == expected_new
        assert state[3].tolist() == [model.num_rows, 0, 0, 0]
        for table, known in enumerate(model.rows):
            expected = sorted((id, row) for id, row in known.items() if id != id_map.EMPTY)
            assert content(state[0], state[1], state[2][table : table + 1])[0] == expected


def test_triton_kernels_compile_for_real_targets() -> None:
    int32 = ["free_rows", "rows", "new_positions", "tables", "of_range", "claimed", "unknown", "firsts", "ranks", "num_first", "ends"]
    types = dict.fromkeys(int32, "*i32") | {"num_ids": "i32", "num_tables": "i32"}
    compiled = compile_kernels("find_or_insert.triton", types=types, constants={"TABLE_BITS": 5, "BLOCK_N": 64}, num_warps=1)
    assert sorted(compiled) == for_every_target("claim_kernel", "mark_kernel", "count_kernel", "write_kernel")
    assert re.search(r"ld\.global\S*\.v2\.b64", compiled["claim_kernel 90"]), "a line is read 16 bytes at a time"
