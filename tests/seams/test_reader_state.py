"""Seam: a reader's state is the position after the last batch handed out, and a fresh reader continues from it to the row."""

import itertools
import json
import random

import pyarrow as pa
import pytest
from pyarrow import orc

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset
from sparrow.types import Stateful

_FILE_ROWS = (7, 0, 12, 1, 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of several stripes, one of them without rows; column x numbers all rows, l repeats the number 0 to 2 times, s spells it."""
    folder = tmp_path_factory.mktemp("state")
    begin = 0
    for index, num_rows in enumerate(_FILE_ROWS):
        rows = range(begin, begin + num_rows)
        lists = pa.array([[row] * (row % 3) for row in rows], pa.list_(pa.int64()))
        table = pa.table({"x": pa.array(rows, pa.int64()), "l": lists, "s": pa.array(map(str, rows), pa.string())})
        orc.write_table(table, str(folder / f"part-{index}.orc"), batch_size=5, stripe_size=512)
        begin += num_rows
    return folder


def _dataset(folder, batch_size=4, **options):
    return Dataset(folder, ["x", "l", "s"], batch_size=batch_size, **options)


def _rows(batches):
    rows = []
    for batch in batches:
        values, offsets = batch["l"].values.tolist(), batch["l"].offsets[0].tolist()
        text, bounds = batch["s"].values.tolist(), batch["s"].offsets[0].tolist()
        for index, row in enumerate(batch["x"].tolist()):
            assert values[offsets[index] : offsets[index + 1]] == [row] * (row % 3)
            assert bytes(text[bounds[index] : bounds[index + 1]]).decode() == str(row)
            rows.append(row)
    return rows


def _saved(dataset):
    return json.loads(json.dumps(dataset.state_dict()))


@pytest.mark.parametrize("batch_size", [1, 4, 30, 100])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_stopping_after_any_batch_loses_and_repeats_no_row(folder, batch_size, prefetch):
    total = sum(_FILE_ROWS)
    once = _dataset(folder, batch_size)
    batches = [*once, *once]  # two epochs
    assert _rows(batches) == [*range(total), *range(total)]
    assert once.epoch == 2
    num_batches = -(-total // batch_size)
    other = random.Random(batch_size)
    for stop in range(2 * num_batches + 1):
        dataset = _dataset(folder, batch_size, prefetch=prefetch)
        seen = []
        while len(seen) < stop:
            for batch in dataset:
                seen.append(batch)
                if len(seen) == stop:
                    break
        state = _saved(dataset)
        resumed = _dataset(folder, other.randint(1, 40), prefetch=other.choice([0, 2]))
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        rest = []
        while resumed.epoch < 2:
            rest += _rows(resumed)
        assert _rows(seen) + rest == [*range(total), *range(total)]


def test_the_state_does_not_see_what_was_read_ahead(folder):
    states = []
    for prefetch in (0, 1, 5):
        dataset = _dataset(folder, prefetch=prefetch)
        batches = iter(dataset)
        states.append([dataset.state_dict()])
        for _ in batches:
            states[-1].append(dataset.state_dict())
        states[-1].append(dataset.state_dict())
    assert states[0] == states[1] == states[2]
    assert [(state["epoch"], state["deal"], state["taken"]) for state in states[0]][-1] == (1, 0, 0)


def test_after_the_last_batch_the_rest_of_the_epoch_is_empty_and_the_next_follows(folder):
    total = sum(_FILE_ROWS)
    dataset = _dataset(folder)
    batches = iter(dataset)
    for _ in range(-(-total // 4)):
        next(batches)
    resumed = _dataset(folder)
    resumed.load_state_dict(_saved(dataset))
    assert resumed.epoch == 0
    assert list(resumed) == []
    assert resumed.epoch == 1
    assert _rows(resumed) == list(range(total))


def test_with_drop_last_the_next_epoch_starts_at_the_first_row(folder):
    dataset = _dataset(folder, tail="drop")
    full = sum(_FILE_ROWS) // 4 * 4
    assert _rows(dataset) == list(range(full))
    assert (dataset.epoch, _rows(dataset)) == (1, list(range(full)))


def test_iterating_again_continues_the_epoch(folder):
    dataset = _dataset(folder)
    assert _rows(itertools.islice(dataset, 3)) == list(range(12))
    assert _rows(dataset) == list(range(12, sum(_FILE_ROWS)))


def test_a_reader_can_be_set_back_while_it_is_iterated_anew(folder):
    dataset = _dataset(folder)
    start = _saved(dataset)
    older = iter(dataset)
    next(older)
    dataset.load_state_dict(start)
    with pytest.raises(ConfigError, match="its state was loaded"):
        next(older)
    newer = iter(dataset)
    next(newer)
    newest = iter(dataset)
    with pytest.raises(ConfigError, match="another iteration of this dataset began"):
        next(newer)
    assert _rows(newest) == list(range(4, sum(_FILE_ROWS)))


def test_the_state_is_small_whatever_the_number_of_files(folder, tmp_path):
    part = (folder / "part-3.orc").read_bytes()
    for index in range(1500):
        (tmp_path / f"{'a-long-name-' * 10}{index:05}.orc").write_bytes(part)
    dataset = _dataset(tmp_path)
    state = _saved(dataset)
    assert len(json.dumps(state)) < 100_000
    last = tmp_path / f"{'a-long-name-' * 10}01499.orc"
    last.write_bytes(part + part)
    with pytest.raises(DataError, match="a file after the first 256 has another name or size"):
        _dataset(tmp_path).load_state_dict(state)


def test_a_state_of_other_files_or_columns_is_refused_by_name(folder, tmp_path):
    parts = sorted(folder.iterdir())
    state = _saved(_dataset(folder))

    def refuse(paths, message, columns=("x", "l", "s"), kind=DataError):
        dataset = Dataset(paths, list(columns), batch_size=4)
        with pytest.raises(kind, match=message):
            dataset.load_state_dict(state)
        assert dataset.epoch == 0

    refuse(parts[:4], "there were 5 files, now there are 4")
    refuse([parts[2], parts[0], *parts[3:]], "file 0 was part-0.orc, now it is part-2.orc")
    grown = tmp_path / "part-4.orc"
    orc.write_table(pa.table({"x": [1], "l": [[1]], "s": ["1"]}), str(grown))
    refuse([*parts[:4], grown], f"part-4.orc had {parts[4].stat().st_size} bytes, now it has {grown.stat().st_size}")
    refuse(folder, "now without l, s", columns=["x"], kind=ConfigError)


def test_the_files_may_move_and_the_columns_be_reordered(folder, tmp_path):
    dataset = _dataset(folder)
    next(iter(dataset))
    for part in folder.iterdir():
        (tmp_path / part.name).write_bytes(part.read_bytes())
    moved = Dataset(tmp_path, ["s", "l", "x"], batch_size=4)
    moved.load_state_dict(_saved(dataset))
    assert _rows(moved) == list(range(4, sum(_FILE_ROWS)))


def test_a_reader_is_stateful(folder):
    assert isinstance(_dataset(folder), Stateful)
