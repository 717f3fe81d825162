"""Ranks of a stream, each a process, which are killed in the middle of it: what they had saved by then is all that counts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from streams_support import wait_until

# Saves, after every third batch, its state and all the rows that state covers, in one file. After `saves` saves it takes one more batch and
# says that it is ready to be killed; before that it reads on, or to the end.
_RANK = """
import json, os, sys
from sparrow.io import Cost
from sparrow.io.streams import KafkaDataset, WatchedFolder

stream, rank, world_size, saves, states, out = json.loads(sys.argv[1])
stream = eval(stream)
if os.path.exists(states):
    stream.load_state_dict(json.load(open(states)))

def save(rows):
    with open(out + ".tmp", "w") as file:
        json.dump({"state": stream.state_dict(), "rows": rows}, file)
    os.rename(out + ".tmp", out)

rows, num_saves = [], 0
save(rows)
for number, batch in enumerate(stream, 1):
    if num_saves == saves:
        open(out + ".ready", "w").close()
        sys.stdin.read()
    rows += batch["id"].tolist()
    if number % 3 == 0:
        save(rows)
        num_saves += 1
save(rows)
open(out + ".ready", "w").close()
"""

# For such a stream: leaves out every third id, and ends a batch by cost before it is full.
FILTERED = 'cost=Cost(["id"], 5), where=lambda batch: batch["id"].to_numpy() % 3 != 0'


def run_ranks(stream: str, folder: Path, world_size: int, saves: int | None, states: Path) -> list[dict[str, Any]]:
    """Run all ranks until each has made `saves` saves and read on, or the end; kill them, and return what each had saved.

    stream: Python that makes it, of columns with an "id", given `rank`, `world_size` and `saves`; it begins at the states in the file
    `states` where there is one. folder: a new one.
    """
    folder.mkdir()
    words = [json.dumps([stream, rank, world_size, saves, str(states), str(folder / f"{rank}.json")]) for rank in range(world_size)]
    ranks = [subprocess.Popen([sys.executable, "-c", _RANK, one], stdin=subprocess.PIPE) for one in words]
    try:
        wait_until(lambda: all((folder / f"{rank}.json.ready").exists() or process.poll() for rank, process in enumerate(ranks)), 180)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world_size)]
