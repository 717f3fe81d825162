"""partition_ids: all bodies against lists of (table, id) by owner."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.partition_ids import reference
from sparrow.ops.partition_ids.op import partition_ids
from tests_support import ADVERSARIAL_IDS, id_lists
from triton_support import compile_kernels, for_every_target, size, triton_body

BODIES = {"reference": reference.partition_ids, "cpu": partition_ids, "triton": triton_body("partition_ids")}
SALTS = torch.tensor([5, -(2**63), 77])
# Even shares, all with one owner, owners of nothing at both ends and between, one slice each.
BOUNDS = [[0, 21845, 43690, 65536], [0, 65536], [0, 0, 0, 40000, 40000, 65536, 65536], [0, 1, 2, 32768, 65535, 65536]]
CASES = {
    "lists": st.tuples(id_lists(40), id_lists(40), id_lists(40)),
    "cuts": st.lists(st.integers(0, 120), max_size=4),
    "bounds": st.sampled_from(BOUNDS),
}


def mixed(id: int, salt: int) -> int:
    """The finalizer of docs/table-format.md on Python's integers."""
    mask = 2**64 - 1
    x = (id ^ salt) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return x ^ (x >> 31)


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(**CASES)
def test_ids_by_owner(body: str, lists: tuple[list[int], ...], cuts: list[int], bounds: list[int]) -> None:
    check_ids_by_owner(body, lists, cuts, bounds)


@settings(max_examples=20)
@given(**CASES)
def test_triton_ids_by_owner(lists: tuple[list[int], ...], cuts: list[int], bounds: list[int]) -> None:
    check_ids_by_owner("triton", lists, cuts, bounds)


def check_ids_by_owner(body: str, lists: tuple[list[int], ...], cuts: list[int], bounds: list[int]) -> None:
    ids = [id for one in lists for id in one]
    tables = [table for table, one in enumerate(lists) for _ in one]
    slices = [mixed(id, int(SALTS[table])) >> 48 for id, table in zip(ids, tables, strict=True)]
    owned = [[at for at, of in enumerate(slices) if first <= of < end] for first, end in itertools.pairwise(bounds)]
    order = [at for positions in owned for at in positions]
    offsets = torch.tensor([0, *(len(one) for one in lists)]).cumsum(0)
    columns = list(torch.tensor(ids, dtype=torch.int64).tensor_split(sorted(cuts)))
    got_ids, got_order, inverse, counts = BODIES[body](columns, offsets, SALTS, torch.tensor(bounds))
    assert sorted(order) == list(range(len(ids)))
    assert got_order.tolist() == order
    assert got_ids.tolist() == [ids[at] for at in order]
    assert [got_ids[place].item() for place in inverse.tolist()] == ids
    assert counts.tolist() == [[sum(tables[at] == table for at in positions) for table in range(3)] for positions in owned]


def large(num_ids: int, num_tables: int, num_owners: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_owners)
    ids = torch.randint(0, 10**6, (num_ids,), generator=generator)
    ids[::50] = torch.tensor(ADVERSARIAL_IDS)[torch.randint(0, len(ADVERSARIAL_IDS), (len(ids[::50]),), generator=generator)]
    inner = torch.randint(0, num_ids, (num_tables - 1,), generator=generator).sort().values
    bounds = torch.randint(0, 65536, (num_owners - 1,), generator=generator).sort().values
    salts = torch.randint(-(2**63), 2**63 - 1, (num_tables,), generator=generator)
    columns = list(ids.split([0, 1, num_ids // 2, num_ids - 1 - num_ids // 2]))
    return columns, torch.tensor([0, *inner, num_ids]), salts, torch.tensor([0, *bounds, 65536])


def by_a_stable_sort(columns: list[Tensor], offsets: Tensor, salts: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids = torch.cat(columns)
    table = torch.repeat_interleave(torch.arange(salts.numel()), offsets.diff())
    owner = torch.bucketize(id_map.slice_of(ids, salts[table]), bounds[1:], right=True)
    order = owner.sort(stable=True).indices
    counts = torch.bincount(owner * salts.numel() + table, minlength=salts.numel() * (bounds.numel() - 1))
    return ids[order], order.int(), order.argsort().int(), counts.view(-1, salts.numel())


@pytest.mark.parametrize("num_tables, num_owners", [(1, 1), (1, 8), (26, 7), (3, 16), (500, 33)])
def test_any_number_of_threads(num_tables: int, num_owners: int) -> None:
    arguments = large(60_000, num_tables, num_owners)
    expected = by_a_stable_sort(*arguments)
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        for got, wanted in zip(partition_ids(*arguments), expected, strict=True):
            assert torch.equal(got, wanted)


@pytest.mark.parametrize("num_tables, num_owners", [(1, 1), (1, 8), (26, 7), (3, 16), (300, 33)])
def test_triton_equals_compiled(num_tables: int, num_owners: int) -> None:
    """One owner, tables that end within blocks and more of them than lanes, a whole group of owners and a part of one."""
    arguments = large(size(2500, 2 * 10**6), num_tables, num_owners)
    for got, expected in zip(BODIES["triton"](*arguments), partition_ids(*arguments), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("body", ["reference", "triton"])
@pytest.mark.parametrize("num_valid", [0, 1, 256, 300])
def test_ids_beyond_the_last_table_are_none(body: str, num_valid: int) -> None:
    ids, offsets, bounds = torch.arange(700), torch.tensor([0, num_valid // 3, num_valid]), torch.tensor([0, 30000, 65536])
    owned_ids, order, inverse, counts = BODIES[body]([ids], offsets, SALTS[:2], bounds)
    expected = partition_ids([ids[:num_valid]], offsets, SALTS[:2], bounds)
    tail = 700 - num_valid
    assert owned_ids.tolist() == [*expected[0].tolist(), *[0] * tail]
    assert order.tolist() == [*expected[1].tolist(), *[-1] * tail]
    assert inverse.tolist() == [*expected[2].tolist(), *[-1] * tail]
    assert torch.equal(counts, expected[3])


@pytest.mark.parametrize("body", BODIES)
def test_no_ids(body: str) -> None:
    for columns in ([], [torch.arange(0)]):
        owned_ids, order, inverse, counts = BODIES[body](columns, torch.tensor([0, 0]), SALTS[:1], torch.tensor([0, 9, 65536]))
        assert [owned_ids.numel(), order.numel(), inverse.numel()] == [0, 0, 0]
        assert counts.tolist() == [[0], [0]]


def test_triton_kernels_compile_for_real_targets() -> None:
    types = dict.fromkeys(["block_counts", "ends", "order", "inverse"], "*i32")
    types |= dict.fromkeys(["num_ids", "num_tables", "num_owners", "num_blocks"], "i32")
    constants = {"TABLE_BITS": 5, "OWNER_BITS": 3, "BLOCK_N": 256}
    compiled = compile_kernels("partition_ids.triton", types=types, constants=constants, num_warps=1)
    assert sorted(compiled) == for_every_target("count_kernel", "write_kernel")


def test_opcheck() -> None:
    ids, offsets, bounds = [torch.tensor([3, 3]), torch.tensor([1, 3])], torch.tensor([0, 2, 4]), torch.tensor([0, 30000, 65536])
    opcheck(torch.ops.sparrow.partition_ids.default, (ids, offsets, SALTS[:2], bounds))


@pytest.mark.parametrize(
    "change, message",
    [
        ({0: [torch.zeros(2)]}, "ids"),
        ({1: torch.tensor([0, 3])}, "table_offsets must start at 0 and end at 2"),
        ({2: torch.tensor([1, 2])}, "salts must have one entry a table, has 2 for 1 tables"),
        ({3: torch.tensor([0, 65535])}, "first_slices must start at 0 and end at 65536"),
        ({3: torch.tensor([0, 9, 8, 65536])}, "first_slices must never decrease, does at 1"),
    ],
)
def test_wrong_arguments_are_named(change: dict[int, object], message: str) -> None:
    arguments = [[torch.arange(2)], torch.tensor([0, 2]), torch.tensor([1]), torch.tensor([0, 9, 65536])]
    with pytest.raises(RuntimeError, match=message):
        partition_ids(*[change.get(place, argument) for place, argument in enumerate(arguments)])


def test_triton_names_wrong_arguments() -> None:
    offsets, bounds = torch.tensor([0, 2]), torch.tensor([0, 65536])
    with pytest.raises(RuntimeError, match=r"ids: column 0 must be .* torch.float32 tensor"):
        BODIES["triton"]([torch.zeros(2)], offsets, SALTS[:1], bounds)
    with pytest.raises(RuntimeError, match="salts must have one entry a table, has 3 for 1 tables"):
        BODIES["triton"]([torch.arange(2)], offsets, SALTS, bounds)
    with pytest.raises(RuntimeError, match="first_slices must have one more entry than there are owners, has 1"):
        BODIES["triton"]([torch.arange(2)], offsets, SALTS[:1], bounds[:1])
