"""Several processes watch one folder: two kills and two changes of their number, while files land; every row once, but those left out."""

import itertools
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import orc

from killed_ranks import FILTERED, run_ranks
from sparrow.errors import CheckpointError, ConfigError
from sparrow.io.streams import WatchedFolder


def land(folder: Path, name: str, ids: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    orc.write_table(pa.table({"id": pa.array(ids, pa.int64())}), str(folder / f".{name}"), batch_size=5, stripe_size=512)
    (folder / f".{name}").rename(folder / name)


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
    stream = (
        f'WatchedFolder({str(folder)!r}, ["id"], batch_size=7, rank=rank, world_size=world_size, end="now" if saves is None else "never", '
        f"poll_seconds=0.02, flush_seconds=0.05, {FILTERED})"
    )
    seen: list[int] = []
    in_part = 0
    for phase, (world_size, saves) in enumerate([(2, 4), (3, 2), (1, None)]):
        if phase == 2:
            writing.join()
        saved = run_ranks(stream, tmp_path / str(phase), world_size, saves, states)
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
