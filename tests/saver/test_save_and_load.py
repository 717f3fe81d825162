"""What is saved comes back; what is kept, replaced, listed and described is what the docstrings say."""

import os
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saver.dict_store import DictStore, Table, check_whole, fill, new_dense, new_state, new_stores, rows_of, same, save
from sparrow.errors import CheckpointError, ConfigError
from sparrow.optim import RULES, SparseOptimizer
from sparrow.saver import Saver, describe_checkpoint, open_chunks
from sparrow.tables import Normal, TableGroup, TableOptions
from sparrow.types import RowStore


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fake_store_is_a_row_store():
    assert isinstance(DictStore({}), RowStore)


def test_round_trip(checkpoint):
    assert checkpoint.name == "step-00000005"
    assert check_whole(checkpoint) == 5


@given(
    shape=st.tuples(st.integers(1, 4), st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])),
    num_rows=st.sampled_from([0, 4, 5, 8, 9]),
    chunk_rows=st.integers(1, 9),
    slots=st.lists(st.sampled_from(["a", "b/c", "weights", "ü"]), unique=True),
)
@settings(max_examples=30, deadline=None)
def test_any_table_comes_back(tmp_path_factory, shape, num_rows, chunk_rows, slots):
    def store():
        return DictStore({"t": Table(*shape, element_slots=tuple(slots[:2]), row_slots=tuple(slots[2:])), "none": Table()}, chunk_rows)

    full, empty = store(), store()
    if num_rows:
        fill(full.tables["t"], num_rows, seed=num_rows)
    saver = Saver(tmp_path_factory.mktemp("run"))
    saver.load(saver.save(0, {"s": full}, {}, {}), {"s": empty})
    found = empty.tables["t"].rows
    assert list(found) == sorted(full.tables["t"].rows)
    for id_, (weights, slot_rows, meta) in full.tables["t"].rows.items():
        assert torch.equal(found[id_][0], weights)
        assert found[id_][1].keys() == slot_rows.keys()
        assert all(torch.equal(found[id_][1][slot], slot_rows[slot]) for slot in slot_rows)
        assert torch.equal(found[id_][2], meta)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", RULES)
def test_tables_of_every_rule_and_dtype_come_back(tmp_path, dtype, rule):
    def group():
        return TableGroup("g", [TableOptions(name="t", dim=3, rule=rule, dtype=dtype, initializer=Normal(std=1.0))])

    full, empty = group(), group()
    ids = torch.tensor([5, -7, 9])
    lookup = full.lookup(ids, torch.tensor([0, 3]), insert=True)
    full.pool(lookup, torch.arange(4), torch.zeros(1, dtype=torch.int64), 3).square().sum().backward()
    SparseOptimizer([full], lr=0.1).step()
    saver = Saver(tmp_path)
    saver.load(saver.save(0, {"s": full}, {}, {}), {"s": empty})
    (saved,), (found,) = full.export(), empty.export()
    assert saved.weights.dtype == dtype
    assert saved.slots or rule == "sgd"
    assert same([found.ids, found.weights, dict(found.slots), found.meta], [saved.ids, saved.weights, dict(saved.slots), saved.meta])


def test_slots_of_another_dtype_than_the_weights_ask_for_are_refused(tmp_path):
    store = DictStore({"t": fill(Table(dtype=torch.float64), 4, seed=1)})
    for _, slots, _ in store.tables["t"].rows.values():
        slots["exp_avg"] = slots["exp_avg"].float()
    with pytest.raises(CheckpointError, match=r"tensor 'slot.exp_avg' is float32 \[4, 3\], expected float64 \[4, 3\] or float64 \[4\]"):
        Saver(tmp_path).save(0, {"s": store}, {}, {})


ODD_NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "a%2Fb",
    "A",
    "a",
    "ä",
    "é" * 300,
    "x" * 300,
    "x" * 299 + "y",
    "tab\t\n",
    "\udcff",
    "CON",
    "a-00000",
    "~",
    "-x",
]


def test_any_name_of_store_and_table_is_safe(tmp_path):
    def stores():
        return {name: DictStore({table: Table() for table in ODD_NAMES}) for name in ODD_NAMES}

    full = stores()
    for place, store in enumerate(full.values()):
        for index, table in enumerate(store.tables.values()):
            fill(table, 4, 100 * place + index)
    path = Saver(tmp_path / "run").save(1, full, {}, {})
    files = [file.relative_to(path).as_posix() for file in path.rglob("*.safetensors")]
    assert len(files) == len(ODD_NAMES) ** 2 + 2
    assert len({file.lower() for file in files}) == len(files)
    assert all(re.fullmatch(r"[A-Za-z0-9_.%~/-]+", file) and max(map(len, file.split("/"))) < 200 for file in files)
    assert names(tmp_path) == ["run"]
    empty = stores()
    Saver(tmp_path).load(path, empty)
    assert all(set(rows_of(empty)[name][table][1]) == set(rows_of(full)[name][table][1]) for name in ODD_NAMES for table in ODD_NAMES)


def test_everything_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(os.fstat(descriptor).st_ino))
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *paths: (events.append("rename"), rename(*paths)))
    path = save(tmp_path / "run", 1)
    named = events.index("rename")
    assert {entry.stat().st_ino for entry in [path, *path.rglob("*")]} <= set(events[:named])
    assert path.parent.stat().st_ino in events[named:]


def test_only_the_newest_are_kept(tmp_path):
    for step in (10, 20, 30, 40):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step-00000030", "step-00000040"]
    saver = Saver(tmp_path)
    assert [path.name for path in saver.checkpoints()] == names(tmp_path)
    assert check_whole(saver.latest()) == 40


def test_a_run_that_starts_over_keeps_what_it_saves_and_what_went_further(tmp_path):
    for step in (100, 200, 5, 6, 7):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step-00000006", "step-00000007", "step-00000100", "step-00000200"]
    assert all(check_whole(path) for path in Saver(tmp_path).checkpoints())


def test_saving_a_step_again_replaces_it(tmp_path):
    stores = new_stores(3)
    stores["wide"].tables["user"].rows.clear()
    Saver(tmp_path).save(3, stores, {}, {})
    assert check_whole(save(tmp_path, 3)) == 3
    assert names(tmp_path) == ["step-00000003"]


def test_steps_past_eight_digits_are_ordered_by_number(tmp_path):
    for step in (99_999_999, 100_000_000):
        save(tmp_path, step)
    assert check_whole(Saver(tmp_path).latest()) == 100_000_000


def test_other_files_of_the_folder_are_left_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}")
    (tmp_path / "step-0000000x").mkdir()
    save(tmp_path, 1, keep=1)
    save(tmp_path, 2, keep=1)
    assert names(tmp_path) == ["metrics.jsonl", "step-00000002", "step-0000000x"]


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert Saver(tmp_path / "absent").latest() is None
    assert Saver(tmp_path / "absent").checkpoints() == []
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot list checkpoints"):
        Saver(tmp_path / "file").latest()


def test_numbers_out_of_range_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="keep is 0"):
        Saver(tmp_path, keep=0)
    with pytest.raises(ConfigError, match="step is -1"):
        Saver(tmp_path).save(-1, {}, {}, {})


def test_summary_counts_what_is_there(checkpoint):
    summary = describe_checkpoint(checkpoint)
    assert (summary.step, summary.path) == (5, checkpoint)
    tables = {(table.store, table.name): table for table in summary.tables}
    assert tables.keys() == {("group", "user"), ("group", "item/ä"), ("wide", "user")}
    user, item, wide = tables["group", "user"], tables["group", "item/ä"], tables["wide", "user"]
    assert (user.dim, user.dtype, user.rule, user.num_rows, user.weights_bytes, user.slots_bytes) == (
        3,
        "float32",
        "adam",
        10,
        10 * 3 * 4,
        10 * 3 * 8,
    )
    assert (item.slots_bytes, wide.dtype, wide.weights_bytes, wide.slots_bytes) == (10 * 4, "float64", 10 * 5 * 8, 0)
    dense = {tensor.name: (tensor.shape, tensor.num_bytes) for tensor in summary.dense}
    assert dense == {"mlp.0.weight": ((4, 3), 48), "mlp.0.bias": ((4,), 16), "empty": ((0, 2), 0)}
    files = {file: file.stat().st_size for file in checkpoint.rglob("*") if file.is_file() and file.name != "manifest.json"}
    assert summary.total_bytes == sum(files.values())
    assert sum(table.total_bytes for table in summary.tables) == sum(size for file, size in files.items() if "tables" in file.parts)
    assert summary.state_bytes == sum(size for file, size in files.items() if file.name.startswith("state."))


def test_chunks_of_one_table_can_be_read(checkpoint):
    chunks = list(open_chunks(checkpoint, "item/ä"))
    assert [chunk.ids.numel() for chunk in chunks] == [4, 4, 2]
    store = DictStore({"item/ä": Table()})
    store.load(chunks)
    expected = new_stores(5)["group"].tables["item/ä"].rows
    assert same(store.tables["item/ä"].rows, dict(sorted(expected.items())))
    assert sum(chunk.ids.numel() for chunk in open_chunks(checkpoint, "user", store="wide")) == 10


@pytest.mark.parametrize(
    ("table", "store", "message"),
    [
        ("usr", None, "no table 'usr'; did you mean 'user'"),
        ("user", None, "say which by `store`"),
        ("user", "x", "no table 'user' in store 'x'"),
    ],
)
def test_chunks_of_no_table_or_of_two_are_refused(checkpoint, table, store, message):
    with pytest.raises(CheckpointError, match=message):
        open_chunks(checkpoint, table, store)


def another_model(change):
    stores = new_stores()
    change(stores)
    return stores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("wide"), "stores only in the checkpoint: 'wide'; only in the model: none"),
        (lambda s: s.update(more=DictStore({})), "only in the model: 'more'"),
        (lambda s: s["group"].tables.pop("user"), "store 'group': tables only in the checkpoint: 'user'"),
        (lambda s: s["group"].tables.update(ad=Table()), "only in the model: 'ad'"),
        (lambda s: setattr(s["group"].tables["user"], "dim", 8), "table 'user' has dim 3 in the checkpoint and 8 in the model"),
        (lambda s: setattr(s["wide"].tables["user"], "dtype", torch.float32), "table 'user' has dtype torch.float64"),
        (lambda s: setattr(s["wide"].tables["user"], "rule", "adam"), "has rule sgd in the checkpoint and adam"),
        (lambda s: setattr(s["group"].tables["user"], "element_slots", ()), "has slots"),
        (lambda s: fill(s["wide"].tables["user"], 4, 1), "already holds 4 rows; load into a new model"),
    ],
)
def test_another_model_is_named_and_no_store_is_touched(checkpoint, change, message):
    stores = another_model(change)
    with pytest.raises(CheckpointError, match=message) as caught:
        Saver(checkpoint.parent).load(checkpoint, stores)
    assert str(checkpoint) in str(caught.value)
    assert not any(store.num_changes for store in stores.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("empty"), "dense tensors only in the checkpoint: 'empty'"),
        (lambda d: d.update(more=torch.ones(1)), "only in the model: 'more'"),
        (
            lambda d: d.update({"mlp.0.bias": torch.ones(5)}),
            r"'mlp.0.bias' is float32 \[4\] in the checkpoint and float32 \[5\] in the model",
        ),
        (lambda d: d.update({"mlp.0.bias": torch.ones(4).double()}), r"float64 \[4\] in the model"),
    ],
)
def test_other_dense_tensors_are_named_and_no_store_is_touched(checkpoint, change, message):
    dense, stores = new_dense(0), new_stores()
    change(dense)
    with pytest.raises(CheckpointError, match=message):
        Saver(checkpoint.parent).load(checkpoint, stores, dense)
    assert not any(store.num_changes for store in stores.values())
    Saver(checkpoint.parent).load(checkpoint, stores, new_dense(0))


def test_a_store_that_contradicts_its_description_is_refused(tmp_path):
    class Short(DictStore):
        def export(self, *_):
            yield from list(super().export())[:-1]

    class Wrong(DictStore):
        def export(self, *_):
            for chunk in super().export():
                chunk.slots["exp_avg"] = chunk.slots["exp_avg"].double()
                yield chunk

    for kind, message in (
        (Short, "chunks hold 8 rows, the description says 10"),
        (Wrong, r"'slot.exp_avg' is float64 \[4, 3\], expected float32"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Saver(tmp_path).save(1, {"s": kind({"t": fill(Table(), 10, 1)})}, new_dense(1), new_state(1))
        assert names(tmp_path) == []
