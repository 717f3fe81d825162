"""find: all bodies against a dict; it writes nothing."""

import re

import pytest
import torch
from hypothesis import given, settings
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.erase.op import erase_
from sparrow.ops.find import reference
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from tests_support import ADVERSARIAL_IDS, id_lists
from triton_support import compile_kernels, for_every_target, size, triton_body

BODIES = {"reference": reference.find, "cpu": find, "triton": triton_body("find")}


def filled(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a map of two tables of which the first holds `ids`."""
    state = id_map.empty_id_map([256 * 4, 256 * 4], [1, 2], range_bits=2)
    tensor = torch.tensor(ids, dtype=torch.int64)
    find_or_insert_(*state, *id_map.empty_rows(), tensor, torch.tensor([0, len(ids), len(ids)]))
    return state


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(known=id_lists(60), asked=id_lists(60))
def test_rows_are_those_of_a_dict(body: str, known: list[int], asked: list[int]) -> None:
    check_rows(body, known, asked)


@settings(max_examples=12)
@given(known=id_lists(60), asked=id_lists(60))
def test_triton_rows_are_those_of_a_dict(known: list[int], asked: list[int]) -> None:
    check_rows("triton", known, asked)


def check_rows(body: str, known: list[int], asked: list[int]) -> None:
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


@pytest.mark.parametrize("body", ["cpu", "triton"])
def test_wrong_dtype_is_named(body: str) -> None:
    with pytest.raises(RuntimeError, match="ids"):
        BODIES[body](*filled([1]), torch.zeros(2), torch.tensor([0, 2, 2]))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (0, torch.zeros(4, 7, dtype=torch.int64), "lines must be"),
        (0, torch.zeros(8, 8, dtype=torch.int64)[::2], "lines must be .* strided"),
        (1, torch.zeros(2, 8, dtype=torch.int32), "headers must be .* torch.int32 tensor"),
        (2, torch.zeros(8, dtype=torch.int64), "ranges must be"),
        (3, torch.zeros(1, 3, dtype=torch.int64), "ids must be"),
        (4, torch.tensor([0, 3]), "table_offsets must have one more entry than the 2 tables, has 2"),
    ],
)
def test_triton_names_a_wrong_argument(argument: int, value: torch.Tensor, message: str) -> None:
    arguments = [*filled([1]), torch.arange(3), torch.tensor([0, 2, 3])]
    arguments[argument] = value
    with pytest.raises(RuntimeError, match=message):
        BODIES["triton"](*arguments)


@pytest.mark.parametrize("load", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("range_bits", [0, 1, 5])
def test_triton_equals_compiled_on_full_ranges(load: float, range_bits: int) -> None:
    """Ids in their home line, a jump away, and far along full ranges; ids erased, absent, of the other tables."""
    generator = torch.Generator().manual_seed(range_bits)
    num_ids = size(800 if load < 1 else 150, 1 << 20 if load < 1 else 20_000)
    state = id_map.empty_id_map([num_ids, 8, num_ids], [1, 2, 3], load, range_bits)
    known = torch.randint(-(2**63), 2**63 - 1, (2 * num_ids,), generator=generator)
    offsets = torch.tensor([0, num_ids, num_ids, 2 * num_ids])
    # Chance overfills some ranges: the ids that found no room are asked for as well.
    find_or_insert_(*state, *id_map.empty_rows(), known, offsets)
    erase_(*state, known[::7].contiguous(), torch.tensor([0, (num_ids + 6) // 7, (num_ids + 6) // 7, (2 * num_ids + 6) // 7]))
    before = [tensor.clone() for tensor in state]
    asked = torch.cat([known, torch.tensor(ADVERSARIAL_IDS * 2), known.flip(0)])
    offsets = torch.tensor([0, num_ids, num_ids + 20, asked.numel()])
    expected = find(*state, asked, offsets)
    assert 0 < int(expected[1]) < asked.numel()
    for got, wanted in zip(BODIES["triton"](*state, asked, offsets), expected, strict=True):
        assert torch.equal(got, wanted)
    assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))


@pytest.mark.parametrize("num_tables", [1, 2, 3, 4, 5, 31])
def test_triton_tells_tables_apart(num_tables: int) -> None:
    """Empty tables first, between and last; the side slot of some."""
    state = id_map.empty_id_map([20] * num_tables, list(range(num_tables)))
    sizes = torch.tensor([(3 * table) % 4 for table in range(num_tables - 1)] + [0])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    ids = torch.arange(int(offsets[-1])) % 3
    ids[::4] = id_map.EMPTY
    find_or_insert_(*state, *id_map.empty_rows(), ids[: offsets[-1]], offsets)
    rows, num_missing = BODIES["triton"](*state, ids, offsets)
    assert torch.equal(rows, find(*state, ids, offsets)[0])
    assert int(num_missing) == 0


@pytest.mark.parametrize("body", ["reference", "triton"])
@pytest.mark.parametrize("num_valid", [0, 1, 128, 200])
def test_ids_beyond_the_last_table_are_none(body: str, num_valid: int) -> None:
    state = filled([*range(100), id_map.EMPTY])
    ids = torch.arange(300) % 101
    ids[ids == 100] = id_map.EMPTY
    offsets = torch.tensor([0, num_valid, num_valid])
    rows, num_missing = BODIES[body](*state, ids, offsets)
    assert torch.equal(rows[:num_valid], find(*state, ids[:num_valid], offsets)[0])
    assert rows[num_valid:].eq(id_map.NO_ROW).all()
    assert num_missing.tolist() == [0]


def test_triton_kernels_compile_for_real_targets() -> None:
    types = {"rows": "*i32", "num_ids": "i32", "num_tables": "i32"}
    compiled = compile_kernels("find.triton", types=types, constants={"TABLE_BITS": 5, "BLOCK_N": 64}, num_warps=1)
    assert sorted(compiled) == for_every_target("find_kernel")
    assert re.search(r"ld\.global\S*\.v2\.b64", compiled["find_kernel 90"]), "a line is read 16 bytes at a time"
