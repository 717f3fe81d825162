"""find: reference and C++ against a dict; it writes nothing."""

import pytest
import torch
from hypothesis import given
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.find import reference
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from tests_support import id_lists

BODIES = {"reference": reference.find, "cpu": find}


def filled(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a map of two tables of which the first holds `ids`."""
    state = id_map.empty_id_map([256 * 4, 256 * 4], [1, 2], range_bits=2)
    tensor = torch.tensor(ids, dtype=torch.int64)
    find_or_insert_(*state, *id_map.empty_rows(), tensor, torch.tensor([0, len(ids), len(ids)]))
    return state


@pytest.mark.parametrize("body", BODIES)
@given(known=id_lists(60), asked=id_lists(60))
def test_rows_are_those_of_a_dict(body: str, known: list[int], asked: list[int]) -> None:
    state = filled(known)
    before = [tensor.clone() for tensor in state]
    row_of: dict[int, int] = {}
    for id in known:
        row_of.setdefault(id, len(row_of))
    # The second table was asked the same and holds nothing.
    ids, offsets = torch.tensor(asked * 2, dtype=torch.int64), torch.tensor([0, len(asked), 2 * len(asked)])
    rows, num_missing = BODIES[body](*state, ids, offsets)
    assert rows.tolist() == [row_of.get(id, -1) for id in asked] + [-1] * len(asked)
    assert int(num_missing) == (rows == -1).sum()
    assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.find.default, (*filled([1, 2, 3]), torch.tensor([3, 4, 2]), torch.tensor([0, 2, 3])))


def test_wrong_dtype_is_named() -> None:
    with pytest.raises(RuntimeError, match="ids"):
        find(*filled([1]), torch.zeros(2), torch.tensor([0, 2, 2]))
