"""Batches by cost, ranks that agree where they end, and memory bounded by what was asked for."""

import gc
import threading

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from torch.distributed import HashStore

from sparrow.errors import ConfigError, DataError
from sparrow.io import Agreement, Cost, Dataset, Shuffle
from sparrow.pipelines import Trainer


def _write(path, lengths, first=0, piece_rows=5):
    rows = range(first, first + len(lengths))
    table = pa.table({
        "x": pa.array(rows, pa.int64()),
        "l": pa.array([[row] * length for row, length in zip(rows, lengths, strict=True)], pa.list_(pa.int64())),
        "words": pa.array([["w" * row] * length for row, length in zip(rows, lengths, strict=True)], pa.list_(pa.string())),
    })  # fmt: skip
    parquet.write_table(table, path, row_group_size=piece_rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 30), st.integers(1, 12),
    st.sampled_from([["l"], ["words", "l"], ["x"]]), st.booleans(),
)  # fmt: skip
def test_a_batch_is_as_large_as_its_cost_allows(tmp_path_factory, lengths, limit, batch_size, columns, shuffled):
    path = tmp_path_factory.mktemp("cost") / "0.parquet"
    _write(path, lengths)
    shuffle = Shuffle(1, 1, 2) if shuffled else None
    order = [row for batch in Dataset(path, ["x"], batch_size=99, shuffle=shuffle) for row in batch["x"].tolist()]
    cost = {row: sum(1 if name == "x" else lengths[row] for name in columns) for row in order}
    expected, spent = [[]], 0
    for row in order:
        if expected[-1] and (len(expected[-1]) == batch_size or spent + cost[row] > limit):
            expected.append([])
            spent = 0
        expected[-1].append(row)
        spent += cost[row]
    dataset = Dataset(path, ["x", "l", "words"], batch_size=batch_size, cost=Cost(columns, limit), shuffle=shuffle)
    assert [batch["x"].tolist() for batch in dataset] == expected


def test_costs_that_can_never_be_right_are_refused(tmp_path):
    _write(tmp_path / "0.parquet", [1, 2])
    for arguments in (("l", 5), ([], 5), (["l"], 0), (["l"], True)):
        with pytest.raises(ConfigError, match="Cost: "):
            Cost(*arguments)
    with pytest.raises(ConfigError, match="cost counts column 'l', which is not read"):
        Dataset(tmp_path, ["x"], batch_size=2, cost=Cost(["l"], 3))
    with pytest.raises(ConfigError, match="fills batches of 2 rows, but cost cuts others"):
        Dataset(tmp_path, ["x", "l"], batch_size=2, cost=Cost(["l"], 3), tail="pad")


def _in_lockstep(folder, tail, epochs=2, world_size=3, store=None, **options):
    """Run ranks as threads that meet at every step, as at a collective; return the rows of each step of each rank."""
    store = store or HashStore()
    meeting = threading.Barrier(world_size, timeout=60)
    steps = [[] for _ in range(world_size)]
    errors = []

    def run(rank):
        try:
            dataset = Dataset(
                folder, ["x", "l"], rank=rank, world_size=world_size, tail=tail, agree=Agreement(store, "t", timeout_s=60), **options
            )
            for _ in range(epochs):
                for batch in dataset:
                    meeting.wait()
                    steps[rank].append(batch["x"].tolist()[: batch.num_samples - batch.num_padding])
                meeting.wait()
        except BaseException as error:
            errors.append(error)
            meeting.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return steps


@pytest.mark.parametrize("tail", ["short", "drop", "pad"])
def test_ranks_that_cannot_compute_it_end_at_one_step(tmp_path, tail):
    for part in range(6):
        _write(tmp_path / f"{part}.parquet", [1] * 40, first=40 * part)
    # All rows of the first rank's share but a few are left out.
    where = (pc.field("x") >= 75) | (pc.field("x") == 3)
    steps = _in_lockstep(tmp_path, tail, batch_size=7, where=where)
    assert len({len(one) for one in steps}) == 1, "all ranks end at one step"
    rows = sorted(row for one in steps for batch in one for row in batch)
    if tail == "drop":
        assert all(len(batch) == 7 for one in steps for batch in one)
        # The first rank has one full batch an epoch: its 6 rows, and none more, so that nobody has any.
        assert len(steps[0]) == 0
    else:
        assert rows == sorted([3, *range(75, 240)] * 2)


@pytest.mark.parametrize("tail", ["short", "drop"])
def test_ranks_agree_where_batches_are_cut_by_cost(tmp_path, tail):
    lengths = [1] * 60 + [9] * 60 + [0] * 60
    _write(tmp_path / "0.parquet", lengths)
    steps = _in_lockstep(tmp_path, tail, batch_size=50, cost=Cost(["l"], 20))
    assert len({len(one) for one in steps}) == 1
    assert all(sum(lengths[row] for row in batch) <= 20 for one in steps for batch in one)
    if tail == "short":
        assert sorted(row for one in steps for batch in one for row in batch) == sorted([*range(180)] * 2)


def test_a_rank_that_says_nothing_is_named(tmp_path):
    _write(tmp_path / "0.parquet", [1] * 9)
    dataset = Dataset(
        tmp_path, ["x"], batch_size=2, where=pc.field("x") > 1, rank=0, world_size=2, agree=Agreement(HashStore(), "alone", timeout_s=0.2)
    )
    with pytest.raises(DataError, match=r"rank 1 has said nothing about its batches for 0\.2 s"):
        list(dataset)


def test_old_marks_leave_the_store(tmp_path):
    _write(tmp_path / "0.parquet", [1] * 3000, piece_rows=500)
    store = HashStore()
    steps = _in_lockstep(tmp_path, "short", epochs=1, world_size=2, store=store, batch_size=1, where=pc.field("x") >= 0)
    assert [len(one) for one in steps] == [1500, 1500]
    assert store.num_keys() < 2 * 300


def test_memory_is_bounded_by_what_may_be_read_ahead(tmp_path):
    """Pieces of 4 MB: however many there are, those ahead and the one in use are all that is held."""
    piece_rows, num_pieces = 1000, 24
    values = pa.array(range(500 * piece_rows), pa.int64())
    column = pa.FixedSizeListArray.from_arrays(values, 500).cast(pa.list_(pa.int64()))
    with parquet.ParquetWriter(tmp_path / "0.parquet", pa.schema([("l", column.type)])) as writer:
        for _ in range(num_pieces):
            writer.write_table(pa.table({"l": column}), row_group_size=piece_rows)
    piece_bytes = 8 * len(values)
    for prefetch, num_threads in ((1, 1), (3, 2)):
        gc.collect()
        before, most = pa.total_allocated_bytes(), 0
        for batch in Dataset(tmp_path / "0.parquet", ["l"], batch_size=100, prefetch=prefetch, num_threads=num_threads):
            most = max(most, pa.total_allocated_bytes() - before)
            del batch
        # Those ahead, one that is cut, and what decoders need beside the pieces they make, whose arrays grow by doubling.
        assert most < (prefetch + 1 + 2 * num_threads) * piece_bytes, (most / piece_bytes, prefetch)
        assert most < num_pieces * piece_bytes / 2


def test_padding_moves_nothing_and_counts_in_no_metric(tmp_path):
    """A model trained on padded batches is that trained on short ones, to the bit."""
    generator = torch.Generator().manual_seed(3)
    label = torch.randint(2, (29,), generator=generator).tolist()
    x = torch.randn(29, generator=generator).tolist()
    parquet.write_table(pa.table({"x": pa.array(x, pa.float32()), "label": label}), tmp_path / "0.parquet", row_group_size=6)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([0.5, -0.25]))

        def forward(self, batch):
            return self.weight[0] * batch["x"] + self.weight[1]

    results = []
    for tail in ("short", "pad"):
        model = Model()
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), progress=False)
        train = Dataset(tmp_path, ["x", "label"], batch_size=8, tail=tail)
        summary = trainer.fit(train, epochs=3, evaluate_on=Dataset(tmp_path, ["x", "label"], batch_size=7, tail=tail))
        results.append((model.weight.tolist(), trainer.num_samples, summary["eval"]))
    assert results[0] == results[1]
    assert results[0][1] == 87
