"""RowStore: rows leave by id in canonical order and enter another group bit for bit, whatever its row numbers and block size."""

import pytest
import torch
from hypothesis import given

from sparrow.errors import CheckpointError
from sparrow.ops import id_map
from sparrow.optim import SparseOptimizer
from sparrow.tables import Normal, TableGroup, TableOptions
from sparrow.types import Chunk, RowStore, SliceRange
from tests_support import id_lists


def group(seed: int = 1, rows_per_block: int = 16, rule: str = "adam", names: str = "ab") -> TableGroup:
    return TableGroup(
        "g",
        [TableOptions(name=name, dim=3, rule=rule, initializer=Normal(std=1.0), seed=seed) for name in names],
        rows_per_block=rows_per_block,
    )


def train(store: TableGroup, ids: list[int], steps: int = 2) -> None:
    """Look ids up in both tables (reversed in the second) and update with gradients that differ by position."""
    optimizer = SparseOptimizer([store], lr=0.1)
    values = torch.tensor(ids + ids[::-1], dtype=torch.int64)
    for _ in range(steps):
        lookup = store.lookup(values, torch.tensor([0, len(ids), 2 * len(ids)]), insert=True)
        out = store.pool(lookup, torch.arange(2 * len(ids) + 1), torch.zeros(2, dtype=torch.int64), len(ids))
        (out * torch.arange(out.numel()).reshape(out.shape)).sum().backward()
        optimizer.step()


def contents(store: RowStore) -> dict[tuple[str, int], tuple[object, ...]]:
    """Everything a store holds, as a dict by (table, id)."""
    found: dict[tuple[str, int], tuple[object, ...]] = {}
    for chunk in store.export():
        slots = [chunk.slots[name].tolist() for name in sorted(chunk.slots)]
        for index, id in enumerate(chunk.ids.tolist()):
            key = (chunk.table, id)
            assert key not in found
            found[key] = (chunk.weights[index].tolist(), [slot[index] for slot in slots], chunk.meta[index].tolist())
    return found


@given(ids=id_lists(40))
def test_load_restores_every_row_slot_and_stamp(ids: list[int]) -> None:
    source = group()
    if ids:
        train(source, ids)
    target = group(seed=2, rows_per_block=4)
    target.adopt(source.describe())
    target.load(source.export())
    assert contents(target) == contents(source)
    assert set(contents(source)) == {(table, id) for table in "ab" for id in set(ids)}
    # What comes after is the same too: the stored seed, salt and step counts went along.
    for store in (source, target):
        train(store, [*ids, 123, 456])
    assert contents(target) == contents(source)
    assert target.describe() == source.describe()


def test_a_group_is_a_row_store() -> None:
    assert isinstance(group(), RowStore)


def test_chunks_come_in_canonical_order_and_slices_partition_them() -> None:
    store = group()
    train(store, list(range(200)))
    salt = store.describe()["tables"][0]["salt"]
    whole = torch.cat([chunk.ids for chunk in store.export() if chunk.table == "a"])
    assert torch.equal(whole, torch.arange(200)[id_map.canonical_order(torch.arange(200), salt)])
    parts = [store.export(SliceRange(begin, begin + 16384)) for begin in range(0, 65536, 16384)]
    pieces = [[chunk.ids for chunk in part if chunk.table == "a"] for part in parts]
    assert all(pieces), "200 mixed ids reach every quarter"
    assert torch.equal(torch.cat([ids for part in pieces for ids in part]), whole)


def test_since_and_slots_choose_rows_and_columns() -> None:
    store = group()
    train(store, [1, 2, 3])
    changed = store.step
    train(store, [2])
    recent = [chunk for chunk in store.export(slots=["exp_avg"], since=changed) if chunk.table == "a"]
    assert [chunk.ids.tolist() for chunk in recent] == [[2]]
    assert set(recent[0].slots) == {"exp_avg"}
    with pytest.raises(CheckpointError, match="momentum"):
        list(store.export(slots=["momentum"]))


@pytest.mark.parametrize("known", [False, True])
def test_slots_missing_from_a_chunk_start_fresh(known: bool) -> None:
    source = group()
    train(source, [5])
    target = group()
    target.adopt(source.describe())
    if known:
        train(target, [5], steps=3)
    target.load(source.export(slots=["exp_avg"]))
    loaded, saved = next(iter(target.export())), next(iter(source.export()))
    assert torch.equal(loaded.slots["exp_avg"], saved.slots["exp_avg"])
    assert torch.equal(loaded.slots["exp_avg_sq"], torch.zeros(1, 3))
    assert torch.equal(loaded.weights, saved.weights)


def test_description_of_another_model_is_refused_and_changes_nothing() -> None:
    saved = group().describe()
    for other, named in ((group(names="ac"), "'c'"), (group(rule="sgd"), "rule")):
        before = other.describe()
        with pytest.raises(CheckpointError, match=named):
            other.adopt(saved)
        assert other.describe() == before
    full = group()
    train(full, [1])
    with pytest.raises(CheckpointError, match="already holds"):
        full.adopt(saved)


def test_damaged_chunk_is_refused() -> None:
    store = group()
    twice = Chunk("a", torch.tensor([4, 4]), torch.zeros(2, 3), {}, torch.zeros(2, 3, dtype=torch.int32))
    narrow = Chunk("a", torch.tensor([4, 5]), torch.zeros(2, 2), {}, torch.zeros(2, 3, dtype=torch.int32))
    for chunk, named in ((twice, "twice"), (narrow, r"\[2, 3\]")):
        with pytest.raises(CheckpointError, match=named):
            store.load([chunk])


def test_another_initializer_is_refused() -> None:
    saved = group().describe()
    other = TableGroup("g", [TableOptions(name=name, dim=3, initializer=Normal(std=5.0)) for name in "ab"])
    with pytest.raises(CheckpointError, match="initializer_parameters"):
        other.adopt(saved)
