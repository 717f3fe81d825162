"""What `tests/io/test_reading_on_a_device.py` runs in processes of their own: batches made on a device beside those of the CPU.

On a GPU where there is one, which torch then lets nobody wait for; else on the device of `strict_device`, kernels in the interpreter.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from pyarrow import parquet
from torch import Tensor

from device_scenarios import DEVICE, ON_GPU, device, raises, same_bits
from launches import counted
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import DataError
from sparrow.io import Cost, Dataset, Requests, SharedRows, Shuffle, device_batches, sending
from sparrow.io.pieces import Piece
from sparrow.ops.take_rows import take_rows
from sparrow.optim import SparseOptimizer
from sparrow.types import Batch, Column, ColumnSpec, Ragged
from tables_on_disk import write_orc, write_parquet

# In blocks: numbers, lists of numbers, strings. By themselves: truth values, lists of lists, maps, and numbers that become others.
BLOCKS: list[str | ColumnSpec] = ["label", "x", "c1", "c2", "s", "empty"]
OTHERS: list[str | ColumnSpec] = ["flag", "words", "tags", ColumnSpec("pair", kind="dense", width=2)]


def table_of(first: int, num_rows: int) -> pa.Table:
    rows = range(first, first + num_rows)
    return pa.table({
        "label": pa.array([row / 7 for row in rows], pa.float32()),
        "x": pa.array(rows, pa.int64()),
        "c1": pa.array([[row * 10 + place for place in range(row % 4)] for row in rows], pa.list_(pa.int64())),
        "c2": pa.array([[row + 0.5] * (row * 7 % 3) for row in rows], pa.list_(pa.float32())),
        "s": pa.array(["w" * (row % 5) for row in rows], pa.string()),
        "empty": pa.array([[] for _ in rows], pa.list_(pa.int64())),
        "user": pa.array([row // 3 % 4 for row in rows], pa.int64()),
        "age": pa.array([row // 3 % 4 * 1.5 for row in rows], pa.float64()),
        "history": pa.array([[row // 3 % 4] * (row // 3 % 4) for row in rows], pa.list_(pa.int64())),
        "flag": pa.array([row % 3 == 0 for row in rows], pa.bool_()),
        "words": pa.array([["a" * place for place in range(row // 3 % 4)] for row in rows], pa.list_(pa.string())),
        "tags": pa.array([[(place, row + 0.25) for place in range(row % 3)] for row in rows], pa.map_(pa.int64(), pa.float32())),
        "pair": pa.array([[row, -row] for row in rows], pa.list_(pa.int64())),
    })  # fmt: skip


def files(folder: Path) -> list[Path]:
    """Write 40 rows to ORC and Parquet files, five rows a piece. Return the files."""
    for number, (first, num_rows, write) in enumerate([(0, 12, write_orc), (12, 17, write_parquet), (29, 11, write_orc)]):
        write(table_of(first, num_rows), folder / f"part-{number}.{'parquet' if write is write_parquet else 'orc'}", 5)
    return sorted(folder.iterdir())


def parts_of(column: Column) -> list[Tensor]:
    if isinstance(column, Tensor):
        return [column]
    return [column.values, *column.offsets, *([] if column.weights is None else [column.weights])]


def check_equal(mine: Batch, theirs: Batch) -> None:
    """Check that a batch on the device is one of the CPU: groups, columns and their order, bits, and where each sample came from."""
    assert list(mine.groups) == list(theirs.groups)
    assert list(mine) == list(theirs)
    assert (mine.num_samples, mine.num_padding) == (theirs.num_samples, theirs.num_padding)
    assert [mine.locate(sample) for sample in range(mine.num_samples)] == [theirs.locate(sample) for sample in range(theirs.num_samples)]
    for name, group in mine.groups.items():
        other = theirs.groups[name]
        assert group.num_rows == other.num_rows
        pairs = [(column, other.columns[key]) for key, column in group.columns.items()]
        assert (group.sample_to_row is None) == (other.sample_to_row is None)
        if group.sample_to_row is not None and other.sample_to_row is not None:
            pairs.append((group.sample_to_row, other.sample_to_row))
        for one, two in pairs:
            for part, expected in zip(parts_of(one), parts_of(two), strict=True):
                assert part.device == DEVICE
                assert part.is_contiguous()
                # Strides of a tensor without values may be anything, and torch does not show the bytes of all.
                assert part.dtype == expected.dtype
                assert part.shape == expected.shape
                assert not part.numel() or same_bits(part.cpu(), expected), (name, expected)


def compare(paths: list[Path] | Path, columns: list[str | ColumnSpec], epochs: int = 1, **options: Any) -> list[Batch]:
    """Read on the CPU and on the device, and compare every batch and every state; return the CPU's batches."""
    batches: list[Batch] = []
    with device() as no_waiting:
        here = Dataset(paths, columns, **options)
        there = Dataset(paths, columns, device=DEVICE, **options)
        for _ in range(epochs):
            mine = iter(there)
            for expected in here:
                with no_waiting():
                    batch = next(mine)
                check_equal(batch, expected)
                assert there.state_dict() == here.state_dict()
                batches.append(expected)
            assert next(mine, None) is None
            assert there.state_dict() == here.state_dict()
    assert batches
    return batches


@contextlib.contextmanager
def groups_made_there() -> Iterator[None]:
    """Fail where a batch on the device is grouped on the host."""

    def refuse(batch: Batch, sharing: Any) -> Batch:
        raise AssertionError("grouped on the host")

    before, device_batches.share_rows = device_batches.share_rows, refuse
    try:
        yield
    finally:
        device_batches.share_rows = before


def run(*scenarios: str) -> None:
    """Run some of the functions below, each in a folder of its own."""
    for scenario in scenarios:
        with tempfile.TemporaryDirectory() as folder:
            globals()[scenario](Path(folder))


def in_order(folder: Path) -> None:
    """Batches inside a piece and across several, of columns in blocks, by themselves, and both."""
    paths = files(folder)
    assert len(compare(paths, BLOCKS + OTHERS, batch_size=7)) == 6
    compare(paths, BLOCKS, batch_size=2, prefetch=0)
    compare(paths, BLOCKS[:2], batch_size=13, prefetch=3, num_threads=2)
    compare(paths, OTHERS, batch_size=13)
    compare(paths, ["s", "tags"], batch_size=100)


def in_any_order(folder: Path) -> None:
    """Shuffled rows, of one buffer and of two, in two epochs and by several threads."""
    compare(files(folder), BLOCKS + OTHERS, epochs=2, batch_size=9, shuffle=Shuffle(seed=3, window_files=3, buffer_pieces=3))
    compare(files(folder), ["x", "c1"], batch_size=40, shuffle=Shuffle(seed=4), prefetch=2, num_threads=2)


def tails(folder: Path) -> None:
    """Last batches that are filled up, left out or empty, on one rank and on several."""
    paths = files(folder)
    for tail, rank, shuffle in itertools.product(("pad", "repeat"), (0, 2), (None, Shuffle(seed=1))):
        last = compare(paths, ["x", "c1", "flag"], batch_size=9, tail=tail, rank=rank, world_size=3, shuffle=shuffle)[-1]
        assert last.num_samples == 9
    # 40 rows: ranks have 14, 13 and 13, so two of three end on a batch without rows.
    assert compare(paths, ["x", "s"], batch_size=13, rank=1, world_size=3)[-1].num_samples == 0
    compare(paths, ["x", "s"], batch_size=9, tail="drop", rank=1, world_size=3)
    compare(paths, ["x", "s"], batch_size=13, tail="pad", rank=1, world_size=3)


def chosen_rows(folder: Path) -> None:
    """Rows left out by a filter, and batches cut by cost."""
    paths = files(folder)
    compare(paths, ["x", "c1", "tags"], batch_size=6, where=pc.field("flag"), also_read=["flag"])
    compare(paths, ["x", "c1", "s"], batch_size=20, cost=Cost(["c1"], limit=11))
    compare(paths, ["x", "c1"], batch_size=6, tail="pad", where=pc.field("x") > 7, shuffle=Shuffle(seed=2))


def shared_rows(folder: Path) -> None:
    """Groups found in flat rows, compared and not, piece by piece and on the host; of columns in blocks and by themselves."""
    paths = files(folder)
    columns: list[str | ColumnSpec] = ["x", "user", "age", "flag", "c1", "history", "words"]
    for by, check, shuffle in itertools.product(("runs", "key"), (True, False), (None, Shuffle(seed=5))):
        group = SharedRows("of_user", ["words", "history", "age"], key="user", by=by, check=check)
        is_made_there = not check or (by == "runs" and shuffle is None)
        with groups_made_there() if is_made_there else contextlib.nullcontext():
            batch = compare(paths, columns, batch_size=11, shuffle=shuffle, groups=[group])[0]
        assert batch.groups["of_user"].num_rows < 11
    pair = [
        SharedRows("first", ["user", "age"], key="user"),
        SharedRows("second", ["history"], key="age", by="key", check=False),
    ]
    compare(paths, columns, batch_size=11, tail="pad", groups=pair)
    compare(paths, columns, batch_size=4, groups=pair)


def shared_rows_that_differ(folder: Path) -> None:
    """What differs inside a piece, or where two meet, is named as on the CPU, at the same batch."""
    table = pa.table({
        "user": [1] * 15 + [2] * 5,
        "piece": [row // 5 for row in range(20)],
        "x": [row // 8 for row in range(20)],
        # Rows of user 3 are alike in each piece, and do not meet.
        "far": [3, 3, 1, 1, 1, 2, 2, 2, 3, 3] * 2,
    })  # fmt: skip
    parquet.write_table(table, folder / "0.parquet", row_group_size=5)
    cases = [
        ("piece", "user", "runs", 7, 5, 0),
        ("x", "user", "runs", 5, 8, 5),
        ("x", "user", "key", 7, 8, 7),
        ("piece", "far", "key", 10, 8, 0),
    ]
    for column, key, by, batch_size, row, other in cases:
        messages = []
        for place in (None, DEVICE):
            with device():
                group = SharedRows("g", [column], key=key, by=by)  # type: ignore[arg-type]
                reader = Dataset(folder, [key, column], batch_size=batch_size, groups=[group], device=place)
                messages.append((raises(DataError, lambda reader=reader: list(reader)), reader.state_dict()))  # type: ignore[misc]
        assert messages[0] == messages[1]
        assert f"row {row}: column {column!r} differs from that of" in messages[0][0]
        assert f"row {other}, though" in messages[0][0]
    with groups_made_there():
        compare(folder, ["user", "piece"], batch_size=5, groups=[SharedRows("g", ["piece"], key="user")])


def requests(folder: Path) -> None:
    """Files in which a row is a request: rows read and not read, groups with a column in blocks first and without, requests of nothing."""
    random = Random(5)
    users = [0, 2, 1, 3, 0, 2, 2, 1, 3, 1, 0, 2, 1, 3, 2]
    samples = [0, 3, 1, 4, 0, 0, 2, 1, 4, 1, 0, 3, 4, 2, 4]
    columns: dict[str, Any] = {
        "label_0": [[random.random() for _ in range(count)] for count in samples],
        "item_0": [[random.randrange(9) for _ in range(count)] for count in samples],
        "words_0": [[["w"] * random.randrange(3) for _ in range(count)] for count in samples],
        "history_1": [[[random.randrange(9)] * random.randrange(4) for _ in range(number)] for number in users],
        "age_1": [[random.random() for _ in range(number)] for number in users],
        "city_2": [[random.randrange(9) for _ in range(number)] for number in users],
        # Of the second group some samples read no row, in later requests alone.
        "_indicator_1": [[random.randrange(number) for _ in range(count)] for number, count in zip(users, samples, strict=True)],
        "_indicator_2": [
            [random.randrange(-1 if row > 5 else 0, number) for _ in range(count)]
            for row, (number, count) in enumerate(zip(users, samples, strict=True))
        ],
    }
    table = pa.table(columns)
    parquet.write_table(table, folder / "requests.parquet", row_group_size=2)
    names: list[str | ColumnSpec] = [name for name in columns if not name.startswith("_")]
    groups = Requests({1: "user"})
    with groups_made_there():
        batches = compare(folder, names, batch_size=3, groups=groups)
        compare(folder, names, batch_size=4, groups=groups, tail="pad", shuffle=Shuffle(seed=9, buffer_pieces=2))
        compare(folder, ["city_2", "age_1"], batch_size=2, groups=Requests())
    read_nothing = [any(-1 in own for own in columns["_indicator_2"][begin : begin + 3]) for begin in range(0, 15, 3)]
    assert {True, False} == set(read_nothing)
    for at, batch in enumerate(batches):
        assert batch.groups["group_2"].num_rows == sum(users[3 * at : 3 * at + 3]) + read_nothing[at]

    columns["_indicator_1"][7] = [99] * samples[7]
    parquet.write_table(pa.table(columns), folder / "requests.parquet", row_group_size=2)
    messages = []
    for place in (None, DEVICE):
        with device():
            reader = iter(Dataset(folder, names, batch_size=3, groups=groups, device=place))
            next(reader), next(reader)
            messages.append(raises(DataError, lambda reader=reader: next(reader)))  # type: ignore[misc]
    assert messages[0] == messages[1]
    assert "row 7: column '_indicator_1' says row 99" in messages[0]


def unlike_pieces(folder: Path) -> None:
    """A file whose numbers must be converted lies otherwise: batches of both kinds of pieces are joined on the host."""
    write_parquet(table_of(0, 10), folder / "0.parquet", 5)
    narrow = table_of(10, 10)
    narrow = narrow.set_column(narrow.schema.get_field_index("c1"), "c1", narrow["c1"].cast(pa.list_(pa.int32())))
    write_parquet(narrow, folder / "1.parquet", 5)
    compare(folder, ["x", ColumnSpec("c1", dtype=torch.int64), "s"], batch_size=7)


def resumed(folder: Path) -> None:
    """A reader goes on from the state of one on the other device."""
    paths = files(folder)
    for shuffle in (None, Shuffle(seed=6)):
        here = Dataset(paths, ["x", "c1"], batch_size=6, shuffle=shuffle)
        with device():
            there = Dataset(paths, ["x", "c1"], batch_size=6, shuffle=shuffle, device=DEVICE)
            begun = iter(there)
            for _ in range(3):
                next(begun)
            here.load_state_dict(there.state_dict())
            for expected, batch in zip(here, begun, strict=True):
                check_equal(batch, expected)
            assert here.epoch == there.epoch == 1


def kept_and_written(folder: Path) -> None:
    """A batch that is there is not copied again, and one that is kept is not written over."""
    with device():
        batches = list(Dataset(files(folder), ["x", "c1"], batch_size=6, device=DEVICE))
        again = batches[0].to(DEVICE)
        assert all(one is two for name in ("x", "c1") for one, two in zip(parts_of(again[name]), parts_of(batches[0][name]), strict=True))
        expected = list(Dataset(files(folder), ["x", "c1"], batch_size=6))
        for batch, one in zip(batches, expected, strict=True):
            check_equal(batch, one)


def pieces_are_dropped(folder: Path) -> None:
    """What is on the device is bounded by what is read ahead and what batches are cut from, and gone with the last batch."""
    paths, sent, send = files(folder), [], sending.Sender.send

    def recorded(self: sending.Sender, piece: Piece) -> None:
        send(self, piece)
        assert piece.sent is not None
        sent.append(weakref.ref(piece.sent.buffer))

    def num_alive() -> int:
        return sum(one() is not None for one in sent)

    sending.Sender.send = recorded  # type: ignore[method-assign]
    with device():
        for prefetch, num_threads in ((0, 1), (2, 1), (2, 2)):
            sent.clear()
            for batch in Dataset(paths, ["x", "c1"], batch_size=5, device=DEVICE, prefetch=prefetch, num_threads=num_threads):
                # Those read ahead, those of this batch, and what is being cut.
                assert num_alive() <= prefetch + 3
                del batch
            assert len(sent) >= 9
            assert num_alive() == 0
    sending.Sender.send = send  # type: ignore[method-assign]


def trained_on(folder: Path) -> None:
    """A step takes a batch as it comes, and waits for nothing: rows of tables are those of the CPU. Samples join rows there, too."""
    paths = files(folder)
    results = []
    for place in (torch.device("cpu"), DEVICE):
        with device() as no_waiting:
            engine = EmbeddingEngine({name: EmbeddingOption(dim=2, device=place) for name in ("c1", "x")}, rows_per_block=64)
            optimizer = SparseOptimizer(engine, lr=0.5)
            outputs = []
            reader = iter(Dataset(paths, ["c1", "x"], batch_size=9, shuffle=Shuffle(seed=8), device=place))
            for _ in range(5):
                with no_waiting() if place == DEVICE else contextlib.nullcontext():
                    vectors = engine(next(reader)).stack(["c1", "x"])
                    (vectors * vectors).sum().backward()
                    optimizer.step()
                    optimizer.zero_grad()
                outputs.append(vectors.detach().cpu())
            results.append(torch.cat(outputs))
    assert same_bits(*results)

    index = torch.tensor([2, 0, 2, 1])
    nested = Ragged(torch.arange(6), (torch.tensor([0, 2, 2, 3]), torch.tensor([0, 1, 4, 6])), torch.rand(6))
    with device():
        for column in (nested, Ragged(nested.values, (torch.tensor([0, 1, 4, 6]),)), torch.rand(3, 2)):
            mine, theirs = take_rows(column.to(DEVICE), index.to(DEVICE)), take_rows(column, index)
            assert all(same_bits(one.cpu(), two) for one, two in zip(parts_of(mine), parts_of(theirs), strict=True))


def launches(folder: Path) -> None:
    """A batch inside a piece launches no kernel of ours, one of several pieces one a dtype of its lists, a shuffled one two."""
    assert not ON_GPU, "kernels are counted where there is no GPU"
    columns = ["label", "x", "c1", "empty", "s"]
    paths = files(folder)
    with device(), counted() as launched:
        for options, expected in (
            ({"batch_size": 5}, 0),
            ({"batch_size": 11}, 2),
            ({"batch_size": 35, "shuffle": Shuffle(seed=1)}, 4),
        ):
            launched.clear()
            next(iter(Dataset(paths, columns, device=DEVICE, **options)))  # type: ignore[arg-type]
            assert len(launched) == expected, (options, launched)
