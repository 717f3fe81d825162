"""Several processes watch one folder: two kills and two changes of their number, while files land; every row once, but those left out."""

import itertools
import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import orc

from sparrow.errors import CheckpointError, ConfigError
from sparrow.io.streams import WatchedFolder
from streams_support import wait_until

# Saves, after every third batch, its state and all the rows that state covers, in one file. After `saves` saves it takes one more batch and
# says that it is ready to be killed; before that it reads on, or to the end.
RANK = """
import json, os, sys
from sparrow.io import Cost
from sparrow.io.streams import WatchedFolder

folder, rank, world_size, saves, states, out = sys.argv[1:]
stream = WatchedFolder(folder, ["id"], batch_size=7, rank=int(rank), world_size=int(world_size), end="now" if saves == "all" else "never",
                       poll_seconds=0.02, flush_seconds=0.05, cost=Cost(["id"], 5), where=lambda batch: batch["id"].to_numpy() % 3 != 0)
if os.path.exists(states):
    stream.load_state_dict(json.load(open(states)))

def save(rows):
    with open(out + ".tmp", "w") as file:
        json.dump({"state": stream.state_dict(), "rows": rows}, file)
    os.rename(out + ".tmp", out)

rows, num_saves = [], 0
save(rows)
for number, batch in enumerate(stream, 1):
    if str(num_saves) == saves:
        open(out + ".ready", "w").close()
        sys.stdin.read()
    rows += batch["id"].tolist()
    if number % 3 == 0:
        save(rows)
        num_saves += 1
save(rows)
open(out + ".ready", "w").close()
"""


def land(folder: Path, name: str, ids: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    orc.write_table(pa.table({"id": pa.array(ids, pa.int64())}), str(folder / f".{name}"), batch_size=5, stripe_size=512)
    (folder / f".{name}").rename(folder / name)


def run(folder: Path, out: Path, world_size: int, saves: str, states: Path) -> list[dict[str, Any]]:
    """Run all ranks until each has made `saves` saves and read on, or the end; kill them, and return what each had saved."""
    out.mkdir()
    words = [[str(folder), str(rank), str(world_size), saves, str(states), str(out / f"{rank}.json")] for rank in range(world_size)]
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, *one], stdin=subprocess.PIPE) for one in words]
    try:
        wait_until(lambda: all((out / f"{rank}.json.ready").exists() or process.poll() for rank, process in enumerate(ranks)), 180)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(world_size)]


def test_two_kills_two_to_three_to_one_rank(tmp_path: Path) -> None:
    folder, states, numbers = tmp_path / "in", tmp_path / "states.json", itertools.count()
    ids = [[next(numbers) for _ in range(size)] for size in (3 + 7 * index % 40 for index in range(60))]
    wanted = [one for rows in ids for one in rows if one % 3]
    over = threading.Event()

    def write() -> None:
        """Half of the files are there at once, the others come as they may, in no order of their names."""
        for index, rows in enumerate(ids):
            land(folder / f"hour={index * 7 % 60 // 20}", f"{index * 11 % 60:02}.orc", rows)
            if index == 30:
                over.set()

    writing = threading.Thread(target=write)
    writing.start()
    assert over.wait(60)
    seen: list[int] = []
    in_part = 0
    for phase, (world_size, saves) in enumerate([(2, "4"), (3, "2"), (1, "all")]):
        if phase == 2:
            writing.join()
        saved = run(folder, tmp_path / str(phase), world_size, saves, states)
        seen += [one for rank in saved for one in rank["rows"]]
        states.write_text(json.dumps([rank["state"] for rank in reversed(saved)]))
        in_part += sum(len(rank["state"]["parts"]) for rank in saved)
        if phase < 2:
            assert all(rank["rows"] for rank in saved)
            assert len(seen) < len(wanted)
    assert in_part, "none was in the middle of a file, so the kills prove little"
    assert Counter(seen) == Counter(wanted)


def watch(path: Path, **options: Any) -> WatchedFolder:
    return WatchedFolder(path, ["id"], **{"batch_size": 4, "end": "now", "poll_seconds": 0.01, "flush_seconds": 0.02, **options})


def test_states_of_all_ranks_are_needed_where_their_number_changes(tmp_path: Path) -> None:
    for index in range(8):
        land(tmp_path / "in", f"{index}.orc", [index])
    pair = [watch(tmp_path / "in", rank=rank, world_size=2) for rank in range(2)]
    rows = [[row for batch in one for row in batch["id"].tolist()] for one in pair]  # type: ignore[union-attr]
    assert sorted(rows[0] + rows[1]) == list(range(8))
    assert all(rows)
    states = [one.state_dict() for one in pair]
    alone = watch(tmp_path / "in")
    before = alone.state_dict()
    with pytest.raises(ConfigError, match=r"of rank 0 of 2, and this is rank 0 of 1; load a list of the states of all 2 ranks"):
        alone.load_state_dict(states[0])
    with pytest.raises(CheckpointError, match="the list of states is empty"):
        alone.load_state_dict([])
    assert alone.state_dict() == before
    alone.load_state_dict(states)
    assert list(alone) == []


@pytest.mark.parametrize(
    "options, message", [({"rank": 2, "world_size": 2}, "rank is 2, world_size 2"), ({"world_size": 0}, "world_size is 0")]
)
def test_options_that_could_not_work(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        watch(tmp_path, **options)
