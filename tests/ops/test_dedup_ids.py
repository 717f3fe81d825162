"""dedup_ids: all bodies against a dict by (table, id)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.dedup_ids import reference
from sparrow.ops.dedup_ids.op import dedup_ids
from tests_support import ADVERSARIAL_IDS, id_lists
from triton_support import compile_kernels, for_every_target, size, triton_body

BODIES = {"reference": reference.dedup_ids, "cpu": dedup_ids, "triton": triton_body("dedup_ids")}


CASES = {"first": id_lists(60), "second": id_lists(60), "cuts": st.lists(st.integers(0, 120), max_size=4)}


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(**CASES)
def test_distinct_pairs_in_order_of_first_appearance(body: str, first: list[int], second: list[int], cuts: list[int]) -> None:
    check_distinct_pairs(body, first, second, cuts)


@settings(max_examples=20)
@given(**CASES)
def test_triton_distinct_pairs_in_order_of_first_appearance(first: list[int], second: list[int], cuts: list[int]) -> None:
    check_distinct_pairs("triton", first, second, cuts)


def check_distinct_pairs(body: str, first: list[int], second: list[int], cuts: list[int]) -> None:
    pairs = [*(("a", id) for id in first), *(("b", id) for id in second)]
    distinct = list(dict.fromkeys(pairs))
    offsets = torch.tensor([0, len(first), len(pairs)])
    columns = list(torch.tensor([id for _, id in pairs], dtype=torch.int64).tensor_split(sorted(cuts)))
    unique_ids, unique_offsets, inverse, counts = BODIES[body](columns, offsets)
    tail = len(pairs) - len(distinct)
    assert unique_offsets.tolist() == [0, sum(table == "a" for table, _ in distinct), len(distinct)]
    assert unique_ids.tolist() == [id for _, id in distinct] + [0] * tail
    assert counts.tolist() == [pairs.count(pair) for pair in distinct] + [0] * tail
    assert inverse.tolist() == [distinct.index(pair) for pair in pairs]


@pytest.mark.parametrize("num_ids", [0, 1, 63, 1000, 4097])
def test_compiled_equals_reference(num_ids: int) -> None:
    ids = torch.randint(0, max(1, num_ids // 3), (num_ids,), generator=torch.Generator().manual_seed(num_ids))
    offsets = torch.tensor([0, num_ids // 4, num_ids // 4, num_ids])
    for mine, theirs in zip(dedup_ids([ids], offsets), reference.dedup_ids([ids], offsets), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("shift", [20, 32, 44])
def test_ids_that_differ_in_their_high_bits_only(shift: int) -> None:
    # A scratch table where these met in a few slots would compare each with all others: hours, not milliseconds.
    ids = torch.arange(1 << 20) << shift
    unique_ids, unique_offsets, inverse, counts = dedup_ids([ids], offsets := torch.tensor([0, ids.numel()]))
    distinct = ids.unique().numel()
    assert unique_offsets.tolist() == [0, distinct]
    assert torch.equal(unique_ids[inverse.long()], ids)
    assert counts.sum() == offsets[1]


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    ids = torch.randint(0, 3000, (60_000,), generator=torch.Generator().manual_seed(1))
    offsets = torch.tensor([0, 0, 9_000, 9_001, 40_000, 60_000, 60_000])
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(dedup_ids([ids], offsets))
    for other in results[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(results[0], other, strict=True))
    assert torch.equal(results[0][0][results[0][2].long()], ids)


@pytest.mark.parametrize("num_values", [50, 3000, 10**6])
def test_one_giant_table_is_shared_by_all_threads(num_values: int) -> None:
    ids = torch.randint(0, num_values, (200_000,), generator=torch.Generator().manual_seed(2)) * 2**40
    offsets = torch.tensor([0, 10, 190_000, 200_000])
    # By tensor operations alone: a position's first equal one tells which ids are new, and their order.
    key = torch.stack([torch.bucketize(torch.arange(200_000), offsets[1:], right=True), ids])
    _, group = key.unique(dim=1, return_inverse=True)
    first = torch.full((200_000,), 200_000).scatter_reduce_(0, group, torch.arange(200_000), "amin")[group]
    is_new = first == torch.arange(200_000)
    rank = is_new.cumsum(0) - 1
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        unique_ids, unique_offsets, inverse, counts = dedup_ids(list(ids.split([5, 0, 100_005, 99_990])), offsets)
        num_unique = int(unique_offsets[-1])
        assert torch.equal(unique_ids[:num_unique], ids[is_new])
        assert torch.equal(inverse.long(), rank[first])
        assert torch.equal(counts[:num_unique].long(), rank[first].bincount())
        assert not unique_ids[num_unique:].any()
        assert not counts[num_unique:].any()
        assert unique_offsets.tolist() == [0, *(int(is_new[:end].sum()) for end in offsets[1:].tolist())]


@pytest.mark.parametrize(("num_values", "num_tables"), [(1, 1), (3, 2), (40, 26), (10**9, 3), (700, 600)])
def test_triton_equals_compiled(num_values: int, num_tables: int) -> None:
    """One id and nothing else, few frequent ids, small ids of many tables, no repeats, more tables than a block has lanes."""
    generator = torch.Generator().manual_seed(num_tables)
    num_ids = size(2500, 2 * 10**6)
    ids = torch.randint(0, num_values, (num_ids,), generator=generator)
    ids[::50] = torch.tensor(ADVERSARIAL_IDS)[torch.randint(0, len(ADVERSARIAL_IDS), (len(ids[::50]),), generator=generator)]
    inner = torch.randint(0, num_ids, (num_tables - 1,), generator=generator).sort().values
    offsets = torch.cat([torch.tensor([0]), inner, torch.tensor([num_ids])])
    columns = list(ids.split([0, 1, num_ids // 2, num_ids - 1 - num_ids // 2]))
    for got, expected in zip(BODIES["triton"](columns, offsets), dedup_ids(columns, offsets), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("seed", range(6))
def test_triton_lanes_that_race_for_first_place(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids, offsets = torch.randint(0, 10 ** (1 + seed % 3), (1500,), generator=generator), torch.tensor([0, 100, 900, 1500])
    for got, expected in zip(triton_body("dedup_ids", seed=seed)([ids], offsets), dedup_ids([ids], offsets), strict=True):
        assert torch.equal(got, expected)


def test_triton_shares_of_a_frequent_id() -> None:
    """An id that every lane, most lanes, or a few lanes of a block have, whether or not the first lanes have it."""
    one = torch.arange(256 * 6)
    for block, share in enumerate((1, 2, 3, 20, 256)):
        one[block * 256 + (block % 2) * 9 : block * 256 + 256 : share] = -5
    # Tables end within blocks, so that leaders are of other tables.
    offsets = torch.tensor([0, 3, 300, 700, 700, 256 * 6])
    for got, expected in zip(BODIES["triton"]([one], offsets), dedup_ids([one], offsets), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("body", ["reference", "triton"])
@pytest.mark.parametrize("num_valid", [0, 1, 256, 300])
def test_ids_beyond_the_last_table_are_none(body: str, num_valid: int) -> None:
    ids, offsets = torch.arange(700) % 120, torch.tensor([0, num_valid // 3, num_valid])
    unique_ids, unique_offsets, inverse, counts = BODIES[body]([ids], offsets)
    expected = dedup_ids([ids[:num_valid]], offsets)
    tail = [0] * (700 - num_valid)
    assert unique_ids.tolist() == [*expected[0].tolist(), *tail]
    assert torch.equal(unique_offsets, expected[1])
    assert inverse.tolist() == [*expected[2].tolist(), *[-1] * (700 - num_valid)]
    assert counts.tolist() == [*expected[3].tolist(), *tail]


def test_triton_kernels_compile_for_real_targets() -> None:
    types = dict.fromkeys(["slots", "found", "num_first", "ends", "inverse", "counts"], "*i32")
    types |= dict.fromkeys(["num_ids", "num_tables", "mask"], "i32")
    compiled: dict[str, str] = {}
    for kernel, block in (("claim_kernel", 64), ("count_kernel", 256), ("write_kernel", 256)):
        constants = {"TABLE_BITS": 5, "BLOCK_N": block}
        compiled |= compile_kernels("dedup_ids.triton", kernel, types=types, constants=constants, num_warps=1)
    assert sorted(compiled) == for_every_target("claim_kernel", "count_kernel", "write_kernel")


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.dedup_ids.default, ([torch.tensor([3, 3]), torch.tensor([1, 3])], torch.tensor([0, 2, 4])))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(RuntimeError, match="ids"):
        dedup_ids([torch.zeros(2)], torch.tensor([0, 2]))
    with pytest.raises(RuntimeError, match="table_offsets"):
        dedup_ids([torch.arange(2)], torch.tensor([0, 3]))


def test_triton_names_wrong_arguments() -> None:
    with pytest.raises(RuntimeError, match=r"ids: column 1 must be .* torch.float32 tensor"):
        BODIES["triton"]([torch.arange(2), torch.zeros(2)], torch.tensor([0, 4]))
    with pytest.raises(RuntimeError, match=r"table_offsets must be .* torch.int32 tensor"):
        BODIES["triton"]([torch.arange(2)], torch.tensor([0, 2], dtype=torch.int32))
    with pytest.raises(RuntimeError, match="table_offsets must have one more entry than there are tables, has 1, with 2 ids"):
        BODIES["triton"]([torch.arange(2)], torch.tensor([0]))
