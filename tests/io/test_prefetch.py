"""The reader thread: order, bound, errors, and that it always ends."""

import gc
import os
import random
import subprocess
import sys
import threading

import pyarrow as pa
import pytest

from sparrow.errors import DataError
from sparrow.io import Dataset
from sparrow.io.prefetch import Prefetcher


def _reader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "sparrow-reader"]


def _open_files(folder):
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return [target for target in (os.readlink(link) for link in links if os.path.islink(link)) if target.startswith(str(folder))]


@pytest.fixture
def folder(write_orc):
    yield write_orc(*(pa.table({"x": list(range(50))}) for _ in range(4)), stripe_rows=10)
    gc.collect()
    assert _reader_threads() == []


class _Worker:
    """Does `work` and notes that it was closed."""

    def __init__(self, work=lambda task: task, closed=None):
        self._work, self._closed = work, closed

    def __call__(self, task):
        return self._work(task)

    def close(self):
        if self._closed is not None:
            self._closed.append(self)


@pytest.mark.parametrize(("depth", "num_threads"), [(0, 1), (1, 1), (3, 1), (3, 2), (5, 4), (2, 8)])
def test_items_come_in_order_and_once(depth, num_threads):
    def make():
        yield from range(200)

    jitter = random.Random(depth)
    delays = [threading.Event() for _ in range(200)]

    def work(task):
        # Some tasks wait until the one after them has been begun, so that they end in another order.
        delays[task].set()
        if task + 1 < 200 and num_threads > 1 and jitter.random() < 0.3:
            delays[task + 1].wait(0.05)
        return task * 10

    closed = []
    items = Prefetcher(make, lambda: _Worker(work, closed), depth, num_threads)
    assert list(items) == list(range(0, 2000, 10))
    assert list(items) == []
    items.close()
    assert _reader_threads() == []
    assert len(closed) == max(1, min(num_threads, depth))


def test_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=30)

    def work(task):
        both.wait()
        return task

    assert list(Prefetcher(lambda: (yield from range(10)), lambda: _Worker(work), 4, 2)) == list(range(10))


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("depth", [0, 4])
def test_what_a_worker_raises_arrives_in_its_place(depth, num_threads):
    def work(task):
        if task == 7:
            raise DataError("the eighth is bad")
        return task

    items = Prefetcher(lambda: (yield from range(100)), lambda: _Worker(work), depth, num_threads)
    got = []
    with pytest.raises(DataError, match="the eighth is bad"):
        got.extend(iter(items.__next__, None))
    items.close()
    assert _reader_threads() == []


@pytest.mark.parametrize(("depth", "num_threads"), [(1, 1), (2, 1), (5, 1), (2, 2), (5, 3)])
def test_never_more_than_depth_items_are_ahead(depth, num_threads):
    num_made, num_taken, too_far = 0, 0, []
    ahead = threading.Semaphore(0)

    def make():
        nonlocal num_made
        for item in range(60):
            num_made += 1
            # `num_taken` may lag behind by the one item that the caller has just been handed.
            if num_made - num_taken > depth + 1:
                too_far.append(item)
            ahead.release()
            yield item

    items = Prefetcher(make, _Worker, depth, num_threads)
    for item in items:
        assert item == num_taken
        num_taken += 1
        if num_taken == 1:
            # The thread does run ahead by itself: all that fits is made while nothing is taken.
            for _ in range(depth + 1):
                assert ahead.acquire(timeout=30)
    assert num_taken == 60
    assert too_far == []


@pytest.mark.parametrize("depth", [0, 2])
def test_an_exception_arrives_after_the_items_before_it_and_once(depth):
    def make():
        yield 1
        yield 2
        raise DataError("the third is bad")

    items = Prefetcher(make, _Worker, depth)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(DataError, match="the third is bad"):
        next(items)
    assert list(items) == []


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("started", [False, True])
def test_close_ends_the_generator_and_the_iteration(depth, started):
    ended = []

    def make():
        try:
            yield from range(1000)
        finally:
            ended.append(True)

    items = Prefetcher(make, _Worker, depth)
    if started:
        next(items)
    items.close()
    items.close()
    assert list(items) == []
    assert len(ended) == started
    assert _reader_threads() == []


@pytest.mark.parametrize("num_batches", [1, 7, 28, 29])
def test_dropping_the_iterator_ends_the_thread_and_closes_the_file(folder, num_batches):
    dataset = Dataset(folder, ["x"], batch_size=7)
    batches = iter(dataset)
    for _ in range(num_batches):
        next(batches)
    del batches
    assert _reader_threads() == []
    assert _open_files(folder) == []


def test_leaving_a_loop_early_and_dropping_the_dataset_ends_the_thread(folder):
    dataset = Dataset(folder, ["x"], batch_size=7)
    for _ in dataset:
        break
    del dataset
    assert _reader_threads() == []
    assert _open_files(folder) == []


def test_an_iterator_in_a_reference_cycle_is_ended_by_the_collector(folder):
    batches = iter(Dataset(folder, ["x"], batch_size=7))
    next(batches)
    cycle = [batches]
    cycle.append(cycle)
    del batches, cycle
    gc.collect()
    assert _reader_threads() == []


def test_an_error_ends_the_thread_and_closes_the_file(folder):
    dataset = Dataset(folder, ["x"], batch_size=7)
    with open(folder / "part-2.orc", "r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match=r"part-2.orc: changed while in use"):
        list(dataset)
    assert _reader_threads() == []
    assert _open_files(folder) == []


_SCRIPT = """
import sys
from sparrow.io import Dataset
dataset = Dataset(sys.argv[1], ["x"], batch_size=3, prefetch=1)
batches = iter(dataset)
next(batches)
{ending}
"""


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("raise ValueError", 1)])
def test_the_interpreter_exits_while_a_reader_is_blocked(folder, ending, code):
    """The thread waits for room in its queue, and the iterator is still referenced by a global."""
    source = _SCRIPT.format(ending=ending)
    done = subprocess.run([sys.executable, "-c", source, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr
