"""erase_: reference and C++ against a dict, interleaved with inserts; erased keys leave with the next rehash."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.erase import reference
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from tests_support import id_lists

BODIES = {"reference": reference.erase_, "cpu": erase_}


@pytest.mark.parametrize("body", BODIES)
@given(rounds=st.lists(st.tuples(id_lists(40), id_lists(40)), max_size=4))
def test_rows_are_those_of_a_dict(body: str, rounds: list[tuple[list[int], list[int]]]) -> None:
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


def test_the_other_table_keeps_its_ids() -> None:
    state = id_map.empty_id_map([64, 64], [1, 2])
    both, offsets = torch.tensor([5, id_map.EMPTY, 5, id_map.EMPTY]), torch.tensor([0, 2, 4])
    find_or_insert_(*state, *id_map.empty_rows(), both, offsets)
    assert erase_(*state, both[:2], torch.tensor([0, 2, 2])).tolist() == [0, 1]
    assert find(*state, both, offsets)[0].tolist() == [-1, -1, 2, 3]


def test_opcheck() -> None:
    state = id_map.empty_id_map([64], [1])
    find_or_insert_(*state, *id_map.empty_rows(), torch.tensor([1, 2]), torch.tensor([0, 2]))
    opcheck(torch.ops.sparrow.erase_.default, (*state, torch.tensor([2, 3]), torch.tensor([0, 2])))


def test_wrong_dtype_is_named() -> None:
    with pytest.raises(RuntimeError, match="ids"):
        erase_(*id_map.empty_id_map([64], [1]), torch.zeros(2), torch.tensor([0, 2]))
