"""erase_: all bodies against a dict, interleaved with inserts; erased keys leave with the next rehash."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.erase import reference
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from tests_support import ADVERSARIAL_IDS, id_lists
from triton_support import compile_kernels, for_every_target, size, triton_body

BODIES = {"reference": reference.erase_, "cpu": erase_, "triton": triton_body("erase_")}


ROUNDS = st.lists(st.tuples(id_lists(40), id_lists(40)), max_size=4)


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(rounds=ROUNDS)
def test_rows_are_those_of_a_dict(body: str, rounds: list[tuple[list[int], list[int]]]) -> None:
    check_rows(body, rounds)


@settings(max_examples=12)
@given(rounds=ROUNDS)
def test_triton_rows_are_those_of_a_dict(rounds: list[tuple[list[int], list[int]]]) -> None:
    check_rows("triton", rounds)


def check_rows(body: str, rounds: list[tuple[list[int], list[int]]]) -> None:
    state, (counters, free_rows) = id_map.empty_id_map([256, 64], [1, 2]), id_map.empty_rows()
    row_of: dict[int, int] = {}
    num_rows, dead = 0, set()
    for inserted, erased in rounds:
        find_or_insert_(
            *state, counters, free_rows, torch.tensor(inserted, dtype=torch.int64), torch.tensor([0, len(inserted), len(inserted)])
        )
        for id in inserted:
            if id not in row_of:
                row_of[id], num_rows = num_rows, num_rows + 1
        dead -= set(inserted)
        expected = [row_of.pop(id, -1) for id in erased]
        dead |= {id for id, row in zip(erased, expected, strict=True) if row >= 0 and id != id_map.EMPTY}
        rows = BODIES[body](*state, torch.tensor(erased, dtype=torch.int64), torch.tensor([0, len(erased), len(erased)]))
        assert rows.tolist() == expected
        assert int(state[2][0, id_map.RANGE_NUM_DEAD]) == len(dead)
        asked = [*inserted, *erased]
        found, _ = find(*state, torch.tensor(asked, dtype=torch.int64), torch.tensor([0, len(asked), len(asked)]))
        assert found.tolist() == [row_of.get(id, -1) for id in asked]


@pytest.mark.parametrize("body", BODIES)
def test_the_other_table_keeps_its_ids(body: str) -> None:
    state = id_map.empty_id_map([64, 64], [1, 2])
    both, offsets = torch.tensor([5, id_map.EMPTY, 5, id_map.EMPTY]), torch.tensor([0, 2, 4])
    find_or_insert_(*state, *id_map.empty_rows(), both, offsets)
    assert BODIES[body](*state, both[:2], torch.tensor([0, 2, 2])).tolist() == [0, 1]
    assert find(*state, both, offsets)[0].tolist() == [-1, -1, 2, 3]


@pytest.mark.parametrize("range_bits", [0, 1, 5])
def test_triton_state_is_the_compiled_state(range_bits: int) -> None:
    """Each id several times in a call and across calls, far apart and in one block; the side slot; ids the map does not hold."""
    generator = torch.Generator().manual_seed(range_bits)
    num_ids = size(500, 300_000)
    mine = id_map.empty_id_map([num_ids + 64, num_ids + 64], [1, 2], 0.8, range_bits)
    known = torch.cat([torch.randint(-(2**63), 2**63 - 1, (2 * num_ids,), generator=generator), torch.tensor(ADVERSARIAL_IDS)])
    find_or_insert_(*mine, *id_map.empty_rows(), known, torch.tensor([0, num_ids, known.numel()]))
    theirs = [tensor.clone() for tensor in mine]
    for _ in range(2):
        picked = torch.randint(0, known.numel(), (num_ids,), generator=generator)
        ids = torch.cat([known[picked[: num_ids // 2]].repeat(2), known[picked[num_ids // 2 :]], torch.tensor(ADVERSARIAL_IDS * 2)])
        offsets = torch.tensor([0, num_ids // 3, ids.numel()])
        assert torch.equal(BODIES["triton"](*mine, ids, offsets), erase_(*theirs, ids, offsets))
        for got, expected in zip(mine, theirs, strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize("seed", range(4))
def test_triton_lanes_that_race_for_a_row(seed: int) -> None:
    """The same ids all over a call: whichever lane is first, the first position gets the row."""
    generator = torch.Generator().manual_seed(seed)
    mine, known = id_map.empty_id_map([50, 50], [seed, 2]), torch.arange(60)
    known[::30] = id_map.EMPTY
    find_or_insert_(*mine, *id_map.empty_rows(), known, torch.tensor([0, 35, 60]))
    theirs = [tensor.clone() for tensor in mine]
    ids, offsets = known[torch.randint(0, 60, (600,), generator=generator)], torch.tensor([0, 300, 600])
    assert torch.equal(triton_body("erase_", seed=seed)(*mine, ids, offsets), erase_(*theirs, ids, offsets))
    assert all(torch.equal(got, expected) for got, expected in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("body", ["reference", "triton"])
def test_ids_beyond_the_last_table_are_none(body: str) -> None:
    state = id_map.empty_id_map([400], [1])
    ids = torch.arange(300)
    ids[200] = id_map.EMPTY
    find_or_insert_(*state, *id_map.empty_rows(), ids, torch.tensor([0, 300]))
    rows = BODIES[body](*state, ids, torch.tensor([0, 130]))
    assert rows.tolist() == [*range(130), *[id_map.NO_ROW] * 170]
    assert find(*state, ids, torch.tensor([0, 300]))[0].tolist() == [*[id_map.NO_ROW] * 130, *range(130, 300)]


def test_triton_kernels_compile_for_real_targets() -> None:
    types = {"rows": "*i32", "held": "*i32", "num_ids": "i32", "num_tables": "i32"}
    compiled = compile_kernels("erase.triton", types=types, constants={"TABLE_BITS": 5, "BLOCK_N": 64}, num_warps=1)
    assert sorted(compiled) == for_every_target("mark_kernel", "release_kernel")


def test_opcheck() -> None:
    state = id_map.empty_id_map([64], [1])
    find_or_insert_(*state, *id_map.empty_rows(), torch.tensor([1, 2]), torch.tensor([0, 2]))
    opcheck(torch.ops.sparrow.erase_.default, (*state, torch.tensor([2, 3]), torch.tensor([0, 2])))


@pytest.mark.parametrize("body", ["cpu", "triton"])
def test_wrong_dtype_is_named(body: str) -> None:
    with pytest.raises(RuntimeError, match="ids"):
        BODIES[body](*id_map.empty_id_map([64], [1]), torch.zeros(2), torch.tensor([0, 2]))
