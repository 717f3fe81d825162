"""Every row exactly once: whatever the files, ranks, threads, batch sizes, shuffles, kills, and changes of the number of ranks."""

import itertools
import json
import random
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv, orc, parquet

from sparrow.errors import CheckpointError, ConfigError, SparrowError
from sparrow.io import Dataset, Shuffle
from sparrow.types import Ragged


def _write(folder, suffix, sizes, piece_rows):
    """Write files of these numbers of rows; column x numbers all rows, l repeats the number 0 to 3 times."""
    folder.mkdir()
    begin = 0
    for index, size in enumerate(sizes):
        rows = range(begin, begin + size)
        table = pa.table({"x": pa.array(rows, pa.int64()), "l": pa.array([[row] * (row % 4) for row in rows], pa.list_(pa.int64()))})
        path = folder / f"{index:03}.{suffix}"
        if suffix == "parquet":
            parquet.write_table(table, path, row_group_size=piece_rows)
        elif suffix == "orc":
            orc.write_table(table, str(path), batch_size=piece_rows, stripe_size=512)
        elif suffix == "csv":
            csv.write_csv(table.select(["x"]), path)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=piece_rows)
        begin += size
    return begin


def _rows(batch):
    rows = batch["x"].tolist()
    if "l" in batch:
        lists = batch["l"]
        assert isinstance(lists, Ragged)
        lists.check("l")
        bounds = lists.offsets[0].tolist()
        assert [lists.values[a:b].tolist() for a, b in itertools.pairwise(bounds)] == [[row] * (row % 4) for row in rows]
    return rows[: len(rows) - batch.num_padding]


def _columns(suffix):
    return ["x"] if suffix == "csv" else ["x", "l"]


_FILES = st.tuples(
    st.sampled_from(["parquet", "parquet", "orc", "csv", "arrow"]),
    st.lists(st.integers(0, 23), min_size=1, max_size=40).filter(any),
    st.integers(1, 9),
)
_SHUFFLES = st.none() | st.builds(Shuffle, st.integers(0, 2**64 - 1), st.integers(1, 9), st.integers(1, 5))


def _check_exactly_once(folder, draw):
    suffix, sizes, piece_rows = draw(_FILES)
    num_rows = _write(folder, suffix, sizes, piece_rows)
    shuffle, tail = draw(_SHUFFLES), draw(st.sampled_from(["short", "short", "pad", "drop", "repeat"]))
    states, seen, epoch = None, Counter(), 0
    for phase in range(4):
        world_size, batch_size = draw(st.integers(1, 5)), draw(st.integers(1, 30))
        readers = [
            Dataset(
                folder, _columns(suffix), batch_size=batch_size, shuffle=shuffle, rank=rank, world_size=world_size, tail=tail,
                prefetch=draw(st.integers(0, 3)), num_threads=draw(st.integers(1, 3)),
            )
            for rank in range(world_size)
        ]  # fmt: skip
        if states is not None:
            for reader in readers:
                reader.load_state_dict(states)
        # Kill after some steps, at the latest after the epoch; the last phase goes to its end.
        steps = draw(st.integers(0, 12)) if phase < 3 else None
        iterators = [iter(reader) for reader in readers]
        done = 0
        while steps is None or done < steps:
            batches = [next(iterator, None) for iterator in iterators]
            assert len({batch is None for batch in batches}) == 1, "all ranks end at one step"
            if batches[0] is None:
                break
            if tail in ("pad", "repeat", "drop"):
                assert {batch.num_samples for batch in batches} == {batch_size}
            for batch in batches:
                seen.update(_rows(batch))
            done += 1
        assert len({reader.epoch for reader in readers}) == 1
        states = json.loads(json.dumps([reader.state_dict() for reader in readers]))
        assert all(len(json.dumps(state)) < 100_000 for state in states)
        random.Random(phase).shuffle(states)
        for iterator in iterators:
            iterator.close()
        if readers[0].epoch > epoch:
            break
    _check_rows(seen, num_rows, tail, 30 * 5)


def _check_rows(seen, num_rows, tail, most_dropped):
    assert set(seen) <= set(range(num_rows))
    if tail == "drop":
        assert max(seen.values(), default=1) == 1
        assert num_rows - len(seen) <= most_dropped
    elif tail == "repeat":
        assert set(seen) == set(range(num_rows))
    else:
        assert seen == Counter(range(num_rows))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_row_exactly_once(tmp_path_factory, data):
    _check_exactly_once(tmp_path_factory.mktemp("rows") / "files", data.draw)


@pytest.mark.nightly
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_row_exactly_once_at_length(tmp_path_factory, data):
    _check_exactly_once(tmp_path_factory.mktemp("rows") / "files", data.draw)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("order") / "files"
    _write(folder, "parquet", [7, 0, 25, 1, 13, 40, 2], 5)
    return folder


_NUM_ROWS = 88


def _all(folder, **options):
    return [row for batch in Dataset(folder, ["x", "l"], **{"batch_size": 6, **options}) for row in _rows(batch)]


@pytest.mark.parametrize("shuffle", [None, Shuffle(3), Shuffle(3, 4, 2), Shuffle(9, 2, 3)])
def test_the_order_is_the_same_for_any_ranks_threads_and_batches(folder, shuffle):
    alone = _all(folder, shuffle=shuffle)
    assert sorted(alone) == list(range(_NUM_ROWS))
    assert (alone == list(range(_NUM_ROWS))) == (shuffle is None)
    for num_threads, prefetch, batch_size in ((1, 0, 1), (2, 3, 10), (4, 8, 100)):
        assert _all(folder, shuffle=shuffle, num_threads=num_threads, prefetch=prefetch, batch_size=batch_size) == alone
    for world_size in (2, 3, 7):
        shares = [_all(folder, shuffle=shuffle, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        if shuffle is None or shuffle.window_files >= 7:
            assert [row for share in shares for row in share] == alone
        assert sorted(row for share in shares for row in share) == sorted(alone)


def test_epochs_and_seeds_differ_and_come_again(folder):
    def epochs(seed):
        dataset = Dataset(folder, ["x", "l"], batch_size=9, shuffle=Shuffle(seed, 3, 2))
        return [[row for batch in dataset for row in _rows(batch)] for _ in range(3)]

    orders = [tuple(order) for seed in (0, 1, 2**64 - 1) for order in epochs(seed)]
    assert len(set(orders)) == 9
    assert [tuple(order) for order in epochs(1)] == orders[3:6]
    assert all(sorted(order) == list(range(_NUM_ROWS)) for order in orders)


def test_rows_are_mixed_within_their_buffers(folder):
    """Neighbours in the order are of different pieces, and pieces of a window in no order of files."""
    order = _all(folder, shuffle=Shuffle(5, 64, 64))
    steps = Counter(abs(a - b) for a, b in itertools.pairwise(order))
    assert steps[1] < _NUM_ROWS / 8


def test_origins_of_shuffled_rows_are_theirs(folder):
    begins = {0: 0, 2: 7, 3: 32, 4: 33, 5: 46, 6: 86}
    for batch in Dataset(folder, ["x", "l"], batch_size=16, shuffle=Shuffle(1)):
        for sample, row in enumerate(batch["x"].tolist()):
            path, _, in_file = batch.locate(sample).partition(", row ")
            assert begins[int(path[-len("000.parquet") :][:3])] + int(in_file) == row


def test_fewer_pieces_than_ranks_feed_every_rank(tmp_path):
    _write(tmp_path / "one", "parquet", [10], 100)
    shares = [_all(tmp_path / "one", rank=rank, world_size=4) for rank in range(4)]
    assert [len(share) for share in shares] == [3, 3, 2, 2]


def test_a_rank_without_rows_takes_part_in_every_step(tmp_path):
    _write(tmp_path / "two", "parquet", [2], 100)
    for tail, rows in (("short", [0, 1]), ("pad", [0, 1]), ("drop", [])):
        batches = [list(Dataset(tmp_path / "two", ["x", "l"], batch_size=4, rank=rank, world_size=3, tail=tail)) for rank in range(3)]
        assert len({len(one) for one in batches}) == 1
        assert [row for one in batches for batch in one for row in _rows(batch)] == rows


@pytest.mark.parametrize("tail", ["short", "pad", "repeat", "drop"])
def test_a_state_saved_after_the_last_batch_has_nothing_left_of_the_epoch(folder, tail):
    for world_size in (1, 3):
        readers = [Dataset(folder, ["x", "l"], batch_size=29, rank=rank, world_size=world_size, tail=tail) for rank in range(world_size)]
        iterators = [iter(reader) for reader in readers]
        for iterator in iterators:
            for _ in range(len(list(Dataset(folder, ["x"], batch_size=29, world_size=world_size, tail=tail)))):
                next(iterator)
        states = [reader.state_dict() for reader in readers]
        for again in (world_size, 2):
            rest = []
            for rank in range(again):
                reader = Dataset(folder, ["x", "l"], batch_size=29, rank=rank, world_size=again, tail=tail)
                reader.load_state_dict(states)
                rest.append(list(reader))
                assert reader.epoch == 1
            if tail != "drop":
                assert rest == [[]] * again
            iterators = []


def test_states_that_do_not_belong_together_are_refused(folder):
    def readers(world_size, **options):
        return [Dataset(folder, ["x", "l"], batch_size=5, rank=rank, world_size=world_size, **options) for rank in range(world_size)]

    three = readers(3)
    for reader in three:
        next(iter(reader))
    states = [reader.state_dict() for reader in three]
    (one,) = readers(1)
    before = one.state_dict()
    with pytest.raises(ConfigError, match=r"saved by 3 ranks, and this is rank 0 of 1: give the list .* those of ranks 1, 2 are missing"):
        one.load_state_dict(states[0])
    with pytest.raises(ConfigError, match="those of ranks 1 are missing"):
        one.load_state_dict([states[2], states[0]])
    with pytest.raises(CheckpointError, match="given twice"):
        one.load_state_dict([states[0], states[0], states[1]])
    with pytest.raises(CheckpointError, match=r"runs with \[1, 3\] ranks"):
        one.load_state_dict([states[0], before])
    with pytest.raises(CheckpointError, match="different epochs"):
        one.load_state_dict([states[0], states[1], {**states[2], "epoch": 1}])
    with pytest.raises(CheckpointError, match="not dealt the same rows"):
        one.load_state_dict([states[0], states[1], {**states[2], "base": {"begun": 1, "left": [[0, [[0, 5]]]]}}])
    with pytest.raises(ConfigError, match=r"shuffle=None, but this reads with Shuffle\(seed=4"):
        readers(1, shuffle=Shuffle(4))[0].load_state_dict(states)
    with pytest.raises(ConfigError, match="is empty"):
        one.load_state_dict([])
    assert one.state_dict() == before


def test_options_that_can_never_be_right_are_refused(folder):
    for options, message in (
        ({"rank": 2, "world_size": 2}, "rank is 2, world_size 2"),
        ({"tail": "drp"}, "tail is 'drp'; did you mean"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"shuffle": True}, "shuffle is True; give a Shuffle of sparrow.io"),
        ({"rank": True, "world_size": 1}, "rank is True"),
        ({"world_size": 2, "on_error": "skip"}, r'with on_error="skip" the ranks may have different numbers of batches'),
    ):
        with pytest.raises(ConfigError, match=message):
            Dataset(folder, ["x"], batch_size=4, **options)
    for options in ({"seed": -1}, {"seed": 2**64}, {"window_files": 0}, {"buffer_pieces": True}):
        with pytest.raises(ConfigError, match="Shuffle: "):
            Shuffle(**options)


def _places(value, path=()):
    """Yield the place of every value inside of a state."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _places(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _places(one, (*path, index))


_ODD = (
    st.none() | st.booleans() | st.integers(-3, 100) | st.just(2**70) | st.floats() | st.text(max_size=3)
    | st.lists(st.integers(-1, 60) | st.lists(st.integers(-1, 60), max_size=3), max_size=3) | st.just({})
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_state_with_anything_in_it_is_refused_or_leads_somewhere(folder, data):
    """Never another exception, never a row twice from one reader, and a state that was refused changes nothing."""
    shuffle = data.draw(st.sampled_from([None, Shuffle(1, 3, 2)]))
    readers = [Dataset(folder, ["x", "l"], batch_size=5, rank=rank, world_size=3, shuffle=shuffle, prefetch=0) for rank in range(3)]
    for reader in readers:
        next(iter(reader))
    pair = [Dataset(folder, ["x", "l"], batch_size=5, rank=rank, world_size=2, shuffle=shuffle, prefetch=0) for rank in range(2)]
    for one in pair:
        one.load_state_dict([reader.state_dict() for reader in readers])
        next(iter(one))
    states = json.loads(json.dumps([one.state_dict() for one in pair]))
    place = data.draw(st.sampled_from([path for path in _places(states) if path]))
    *parents, last = place
    inside = states
    for parent in parents:
        inside = inside[parent]
    inside[last] = data.draw(_ODD)
    reader = Dataset(folder, ["x", "l"], batch_size=7, shuffle=shuffle, prefetch=0)
    before = reader.state_dict()
    message = _message_of(lambda: reader.load_state_dict(states))
    if message is not None:
        assert "\n" not in message
        assert reader.state_dict() == before
        return
    rows = []
    message = _message_of(lambda: rows.extend(row for batch in reader for row in _rows(batch)))
    assert message is None or "\n" not in message
    assert len(rows) == len(set(rows))
    assert set(rows) <= set(range(_NUM_ROWS))


def _message_of(call):
    """Return what a `SparrowError` of a call says, None where it raises none."""
    try:
        call()
    except SparrowError as error:
        return str(error)
    return None
