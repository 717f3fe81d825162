"""rehash_: reference and C++ keep every living id with its row, and leave the erased behind."""

import pytest
import torch
from hypothesis import given
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.find_or_insert.reference import probe
from sparrow.ops.rehash import reference
from sparrow.ops.rehash.op import rehash_
from tests_support import id_lists

BODIES = {"reference": reference.rehash_, "cpu": rehash_}


def filled(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    lines, headers = id_map.empty_id_map([128], [99])
    find_or_insert_(lines, headers, torch.zeros(2, dtype=torch.int64), torch.tensor(ids, dtype=torch.int64), torch.tensor([0, len(ids)]))
    return lines, headers


@pytest.mark.parametrize("body", BODIES)
@given(ids=id_lists(80))
def test_living_ids_keep_their_rows(body: str, ids: list[int]) -> None:
    lines, headers = filled(ids)
    erased = {id for id in set(ids) if id % 3 == 0 and id != id_map.EMPTY}
    for id in erased:
        line, slot = probe(lines, headers[0], id)  # type: ignore[misc]
        lines.view(torch.int32)[line, id_map.FIRST_ROW_INT32 + slot] = id_map.NO_ROW
    headers[0, id_map.HEADER_NUM_DEAD] = len(erased)
    asked, offsets = torch.tensor(ids, dtype=torch.int64), torch.tensor([0, len(ids)])
    before = find(lines, headers, asked, offsets)
    new_lines, new_headers = id_map.empty_id_map([300], [99])
    BODIES[body](new_lines, new_headers, lines, headers)
    assert torch.equal(find(new_lines, new_headers, asked, offsets), before)
    living = {id for id in ids if id not in erased and id != id_map.EMPTY}
    assert new_headers[0, id_map.HEADER_NUM_KEYS] == len(living)
    assert new_headers[0, id_map.HEADER_NUM_DEAD] == 0


def test_compiled_state_is_the_reference_state() -> None:
    lines, headers = filled(list(range(100)))
    mine, theirs = id_map.empty_id_map([256], [99]), id_map.empty_id_map([256], [99])
    rehash_(*mine, lines, headers)
    reference.rehash_(*theirs, lines, headers)
    assert torch.equal(mine[0], theirs[0])
    assert torch.equal(mine[1], theirs[1])


def test_too_small_a_segment_is_refused_before_it_is_written() -> None:
    lines, headers = filled(list(range(100)))
    small, small_headers = id_map.empty_id_map([10], [99])
    before = small.clone()
    with pytest.raises(RuntimeError, match="table 0"):
        rehash_(small, small_headers, lines, headers)
    assert torch.equal(small, before)


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.rehash_.default, (*id_map.empty_id_map([256], [99]), *filled([1, 2, 3])))
