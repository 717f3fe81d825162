"""TableGroup: a dict by (table, id) through random lookups, growth included; metadata; first values."""

import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparrow.errors import ConfigError, TableError
from sparrow.tables import (
    Constant,
    Initializer,
    KaimingNormal,
    KaimingUniform,
    Normal,
    TableGroup,
    TableOptions,
    TruncatedNormal,
    Uniform,
    XavierNormal,
    XavierUniform,
    initializer_from_config,
)
from tests_support import id_lists


def group(**changes: object) -> TableGroup:
    options = {"dim": 2, "rule": "sgd", "initializer": Normal(std=1.0), **changes}
    return TableGroup("g", [TableOptions(name=name, seed=index, **options) for index, name in enumerate("ab")], rows_per_block=8)  # type: ignore[arg-type]


@given(batches=st.lists(st.tuples(id_lists(300), id_lists(20)), max_size=4))
def test_lookups_are_those_of_a_dict(batches: list[tuple[list[int], list[int]]]) -> None:
    store = group()
    known: dict[tuple[str, int], int] = {}
    count: dict[tuple[str, int], int] = {}
    last_used: dict[tuple[str, int], int] = {}
    for step, (first, second) in enumerate(batches):
        store.step = step
        ids = torch.tensor([*first, *second], dtype=torch.int64)
        lookup = store.lookup(ids, torch.tensor([0, len(first), len(first) + len(second)]), insert=True)
        rows = lookup.rows[lookup.inverse.long()].tolist()
        for key, row in zip([*(("a", id) for id in first), *(("b", id) for id in second)], rows, strict=True):
            assert known.setdefault(key, row) == row
            count[key] = count.get(key, 0) + 1
            last_used[key] = step
    assert len(set(known.values())) == len(known) == store.num_rows
    for index, table in enumerate("ab"):
        ids, rows = store.row_ids_of(index)
        assert {(table, id): row for id, row in zip(ids.tolist(), rows.tolist(), strict=True)} == {
            key: row for key, row in known.items() if key[0] == table
        }
        assert store.num_ids(table) == ids.numel()
    for key, row in known.items():
        used, changed, seen, table = store.blocks.meta[row].tolist()
        assert (used, changed, seen, "ab"[table]) == (last_used[key], last_used[key], count[key], key[0])


def test_read_only_lookup_changes_nothing() -> None:
    store = group()
    ids, offsets = torch.tensor([1, 2, 1]), torch.tensor([0, 2, 3])
    store.lookup(ids[:1], torch.tensor([0, 1, 1]), insert=True)
    before = store.blocks.meta[:1].clone()
    lookup = store.lookup(ids, offsets, insert=False)
    assert lookup.rows.tolist() == [0, -1, -1]
    assert store.num_rows == 1
    assert torch.equal(store.blocks.meta[:1], before)


def test_updates_stamp_last_changed_and_touch_no_other_row() -> None:
    store = group()
    lookup = store.lookup(torch.tensor([1, 2, 3]), torch.tensor([0, 3, 3]), insert=True)
    before = store.blocks.weights[0][:3].clone()
    part = store.lookup(torch.tensor([2]), torch.tensor([0, 1, 1]), insert=True)
    store.step = 9
    hyper = torch.tensor([store.rule.hyper_row(lr=0.5, step=1)] * 2, dtype=torch.float64)
    store.update(part, torch.ones(1, 2), hyper)
    after = store.blocks.weights[0][:3]
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert torch.equal(after[1], before[1] - 0.5)
    assert store.blocks.meta[:3, 1].tolist() == [0, 9, 0]
    lookup.lease.release()


def test_hyper_parameters_differ_by_table() -> None:
    from sparrow.optim import SparseOptimizer

    tables = [
        TableOptions(name="slow", dim=1, rule="sgd", initializer=Constant(0.0)),
        TableOptions(name="fast", dim=1, rule="sgd", initializer=Constant(0.0), hyper={"lr": 1.0}),
    ]
    store = TableGroup("g", tables)
    optimizer = SparseOptimizer([store], lr=0.25)
    lookup = store.lookup(torch.tensor([1, 1]), torch.tensor([0, 1, 2]), insert=True)
    store.pool(lookup, torch.tensor([0, 1, 2]), torch.zeros(2, dtype=torch.int64), 1).sum().backward()
    optimizer.step()
    assert store.blocks.weights[0][:2].squeeze(1).tolist() == [-0.25, -1.0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"dim": 0}, "dim"), ({"dtype": torch.int8}, "dtype"), ({"rule": "adgrad"}, "did you mean 'adagrad'")],
)
def test_wrong_table_options_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        group(**changes)


def test_wrong_groups_are_named() -> None:
    table = TableOptions(name="a", dim=2)
    for tables, named in (([], "no tables"), ([table, table], "twice"), ([table, TableOptions(name="b", dim=3)], "dim")):
        with pytest.raises(ConfigError, match=named):
            TableGroup("g", tables)
    with pytest.raises(TableError, match="no table 'z'"):
        TableGroup("g", [table]).num_ids("z")
    with pytest.raises(ConfigError, match="power of two"):
        TableGroup("g", [table], rows_per_block=100)


@pytest.mark.parametrize(
    ("initializer", "std"),
    [
        (XavierUniform(gain=2.0), 2 * math.sqrt(2 / 17)),
        (XavierNormal(), math.sqrt(2 / 17)),
        (KaimingUniform(gain=math.sqrt(2)), math.sqrt(2)),
        (KaimingNormal(), 1.0),
        # The variance of a standard normal within two standard deviations.
        (TruncatedNormal(std=0.5), 0.5 * math.sqrt(1 - 4 * NormalDist().pdf(2) / (1 - 2 * NormalDist().cdf(-2)))),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_scaled_initializers_have_their_published_spread(initializer: Initializer, std: float) -> None:
    store = TableGroup("g", [TableOptions(name="a", dim=16, rule="sgd", initializer=initializer)])
    store.insert_ids(0, torch.arange(10_000))
    values = torch.cat([chunk.weights for chunk in store.export()])
    assert float(values.std()) == pytest.approx(std, rel=0.02)  # ten standard errors
    assert abs(float(values.mean())) < 5 * std / 400


def test_initializers_from_plain_data() -> None:
    assert initializer_from_config("normal") == Normal()
    assert initializer_from_config({"uniform": {"low": -1.0, "high": 1.0}}) == Uniform(-1.0, 1.0)
    for config, named in (
        ("norml", "did you mean 'normal'"),
        ({"normal": {"sd": 1}}, "sd"),
        ({"uniform": {"low": 1.0, "high": 0.0}}, "below"),
        ({"uniform": {"low": 0.0, "high": float("inf")}}, "finite"),
        ({"normal": {"mean": float("nan")}}, "finite"),
        ({}, "expected a name"),
    ):
        with pytest.raises(ConfigError, match=named):
            initializer_from_config(config)


def test_an_interrupted_insertion_is_never_read_trained_or_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    store = group()

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sparrow.tables.first_values.init_rows_", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.lookup(torch.tensor([1, 2]), torch.tensor([0, 1, 2]), insert=True)
    for insert in (True, False):
        with pytest.raises(TableError, match="last checkpoint"):
            store.lookup(torch.tensor([1, 2]), torch.tensor([0, 1, 2]), insert=insert)
    with pytest.raises(TableError, match="last checkpoint"):
        list(store.export())


@given(rounds=st.lists(st.tuples(id_lists(60), id_lists(30)), max_size=5))
def test_erased_ids_leave_and_come_back_with_first_values(rounds: list[tuple[list[int], list[int]]]) -> None:
    store, first = group(), {}
    living: set[int] = set()
    for inserted, erased in rounds:
        ids = torch.tensor(inserted, dtype=torch.int64)
        rows = store.insert_ids(0, ids.unique()) if inserted else None
        del rows
        living |= set(inserted)
        for chunk in store.export():
            for id, row in zip(chunk.ids.tolist(), chunk.weights.tolist(), strict=True):
                assert first.setdefault(id, row) == row
        assert store.erase("a", torch.tensor(erased, dtype=torch.int64)) == len(living & set(erased))
        living -= set(erased)
        assert {id for chunk in store.export() for id in chunk.ids.tolist()} == living
        assert store.num_ids("a") == store.num_rows == len(living)


def test_rows_of_erased_ids_are_reused_once_no_lookup_can_update_them() -> None:
    store = group()
    offsets = torch.tensor([0, 3, 3])
    held = store.lookup(torch.tensor([1, 2, 3]), offsets, insert=True)
    assert store.erase("a", torch.tensor([2])) == 1
    during = store.lookup(torch.tensor([4]), torch.tensor([0, 1, 1]), insert=True)
    assert during.rows.tolist() == [3], "the row of 2 is still in the hands of a lookup"
    del held, during
    assert store.lookup(torch.tensor([5, 6]), torch.tensor([0, 2, 2]), insert=True).rows.tolist() == [1, 4]


def test_a_table_joins_a_group_that_holds_rows() -> None:
    store, alone = group(), group()
    for tables in (store, alone):
        tables.lookup(torch.tensor([1, 2, 3]), torch.tensor([0, 2, 3]), insert=True)
    options = TableOptions(name="c", dim=2, rule="sgd", initializer=Normal(std=1.0), seed=9)
    assert store.add_table(options) == 2
    store.lookup(torch.tensor([1, 1, 7]), torch.tensor([0, 1, 1, 3]), insert=True)
    assert [store.num_ids(name) for name in "abc"] == [2, 1, 2]
    whole = TableGroup("g", [options])
    whole.lookup(torch.tensor([1, 7]), torch.tensor([0, 2]), insert=True)
    by_table = {chunk.table: chunk for chunk in store.export()}
    assert torch.equal(by_table["c"].weights, next(iter(whole.export())).weights)
    for chunk in alone.export():
        assert torch.equal(by_table[chunk.table].weights, chunk.weights)
    for wrong, named in ((options, "'c' is declared twice"), (TableOptions(name="d", dim=3, rule="sgd"), "dim")):
        with pytest.raises(ConfigError, match=named):
            store.add_table(wrong)
    assert len(store.tables) == 3


def test_a_new_rule_back_fills_its_slots_and_keeps_the_shared_ones() -> None:
    store = group(rule="adam")
    lookup = store.lookup(torch.tensor([1, 2]), torch.tensor([0, 1, 2]), insert=True)
    hyper = torch.tensor([store.rule.hyper_row(step=1), store.rule.hyper_row(step=1)], dtype=torch.float64)
    store.update(lookup, torch.ones(2, 2), hyper)
    before = [chunk.weights for chunk in store.export()]
    store.change_rule("adagrad")
    for chunk, weights in zip(store.export(), before, strict=True):
        assert torch.equal(chunk.weights, weights)
        assert {name: value.tolist() for name, value in chunk.slots.items()} == {"sum": [[0.0, 0.0]]}
    assert store.describe()["tables"][0]["rule"] == "adagrad"
    store.lookup(torch.tensor([1, 3]), torch.tensor([0, 1, 2]), insert=True)
