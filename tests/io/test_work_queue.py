"""A queue of leases: every row once while all live, and at least once where a rank dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv, parquet
from torch.distributed import HashStore, TCPStore

from sparrow.errors import ConfigError
from sparrow.io import Agreement, Dataset, Shuffle, WorkQueue

_NUM_ROWS = 6 * 40


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    for part in range(6):
        table = pa.table({"x": list(range(40 * part, 40 * part + 40))})
        parquet.write_table(table, folder / f"{part}.parquet", row_group_size=7)
    return folder


def _together(make, world_size, paces=None):
    """Run ranks as threads, each at its pace in seconds a batch; return the rows of each."""
    rows, errors = [[] for _ in range(world_size)], []

    def run(rank):
        try:
            for batch in make(rank):
                rows[rank] += batch["x"].tolist()
                threading.Event().wait((paces or {}).get(rank, 0))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return rows


@pytest.mark.parametrize("shuffle", [None, Shuffle(1, 4, 3)])
@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("where", [None, (pc.field("x") < 3) | (pc.field("x") > 200)])
def test_every_row_once_and_the_slow_take_less(folder, shuffle, prefetch, where):
    store = HashStore()

    def make(rank):
        queue = WorkQueue(store, "rows", lease_s=30)
        return Dataset(folder, ["x"], batch_size=5, rank=rank, world_size=3, queue=queue, shuffle=shuffle, prefetch=prefetch, where=where)

    expected = [row for row in range(_NUM_ROWS) if where is None or row < 3 or row > 200]
    for _ in range(2):  # two runs of an epoch with one store: the second finds everything done
        rows = _together(make, 3, paces={0: 0.02})
        assert sorted(row for own in rows for row in own) == expected
        if expected and where is None and prefetch == 0:
            assert len(rows[0]) < len(rows[1]) + len(rows[2])
        expected = []


def test_epochs_are_queues_of_their_own(folder):
    dataset = Dataset(folder, ["x"], batch_size=50, queue=WorkQueue(HashStore(), "rows"))
    for epoch in range(3):
        assert dataset.epoch == epoch
        assert sorted(row for batch in dataset for row in batch["x"].tolist()) == list(range(_NUM_ROWS))


def test_files_that_are_read_in_order_are_leased_too(tmp_path):
    csv.write_csv(pa.table({"x": list(range(100))}), tmp_path / "0.csv")
    csv.write_csv(pa.table({"x": list(range(100, 130))}), tmp_path / "1.csv")
    store = HashStore()
    rows = _together(lambda rank: Dataset(tmp_path, ["x"], batch_size=9, rank=rank, world_size=2, queue=WorkQueue(store, "q")), 2)
    assert sorted(row for own in rows for row in own) == list(range(130))


_RANK = """
import sys
from datetime import timedelta
from torch.distributed import TCPStore
from sparrow.io import Dataset, WorkQueue
port, folder, rank = sys.argv[1:]
queue = WorkQueue(TCPStore("127.0.0.1", int(port), timeout=timedelta(seconds=60)), "rows", lease_s=4.0)
for batch in Dataset(folder, ["x"], batch_size=5, rank=int(rank), world_size=2, queue=queue, prefetch=2):
    print(*batch["x"].tolist(), flush=True)
    if rank == "0":
        sys.stdin.readline()
"""


def test_what_a_killed_rank_leased_comes_back(folder):
    # A server of its own: of a FileStore a killed writer may leave half a record, which all others then wait for.
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    arguments = [sys.executable, "-c", _RANK, str(server.port), str(folder)]
    with subprocess.Popen([*arguments, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as dying:
        seen = []
        for _ in range(3):
            seen += map(int, dying.stdout.readline().split())
            dying.stdin.write("\n")
            dying.stdin.flush()
        os.kill(dying.pid, signal.SIGKILL)
    began = time.monotonic()
    done = subprocess.run([*arguments, "1"], capture_output=True, text=True, timeout=120, check=True)
    others = [int(row) for line in done.stdout.splitlines() for row in line.split()]
    assert max(Counter(others).values()) == 1
    assert set(seen) | set(others) == set(range(_NUM_ROWS)), "nothing is lost"
    # Of what the dead one handed out, a piece that was acknowledged does not come again.
    assert set(range(7)) & set(others) == set()
    assert time.monotonic() - began < 60


def test_options_that_make_no_sense_are_refused(folder):
    queue = WorkQueue(HashStore(), "rows")
    for options in ({"tail": "drop"}, {"agree": Agreement(HashStore(), "rows")}):
        with pytest.raises(ConfigError, match="with queue every rank ends by itself"):
            Dataset(folder, ["x"], batch_size=5, queue=queue, **options)
    for arguments in ((HashStore(), ""), (HashStore(), "q", 0)):
        with pytest.raises(ConfigError, match="WorkQueue: "):
            WorkQueue(*arguments)
    dataset = Dataset(folder, ["x"], batch_size=5, queue=queue)
    with pytest.raises(ConfigError, match="no position"):
        dataset.state_dict()
