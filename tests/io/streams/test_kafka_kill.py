"""Two kills and two changes of the number of ranks: no row lost but those left out, none doubled by what was saved."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from streams_support import MockKafka, ids_message, wait_until

# Saves, after every third batch, its state and all the rows that state covers, in one file. After `saves` saves it takes one more batch and
# says that it is ready to be killed; before that it reads on, or to the end.
RANK = """
import json, os, sys
from sparrow.io import Cost
from sparrow.io.streams import KafkaDataset

servers, topic, rank, world_size, saves, states, out = sys.argv[1:]
stream = KafkaDataset(topic, ["id"], batch_size=7, servers=servers, rank=int(rank), world_size=int(world_size), end="now",
                      config={"fetch.wait.max.ms": 10, "log_level": 2}, cost=Cost(["id"], 5),
                      where=lambda batch: batch["id"].to_numpy() % 3 != 0)
if os.path.exists(states):
    stream.load_state_dict(json.load(open(states)))

def save(rows):
    with open(out + ".tmp", "w") as file:
        json.dump({"state": stream.state_dict(), "rows": rows}, file)
    os.rename(out + ".tmp", out)

rows, num_saves = [], 0
for number, batch in enumerate(stream, 1):
    if num_saves == int(saves):
        open(out + ".ready", "w").close()
        sys.stdin.read()
    rows += batch["id"].tolist()
    if number % 3 == 0:
        save(rows)
        num_saves += 1
save(rows)
open(out + ".ready", "w").close()
"""


def start(kafka: MockKafka, topic: str, folder: Path, rank: int, world_size: int, saves: int, states: Path) -> subprocess.Popen[bytes]:
    words = [kafka.servers, topic, str(rank), str(world_size), str(saves), str(states), str(folder / f"{rank}.json")]
    return subprocess.Popen([sys.executable, "-c", RANK, *words], stdin=subprocess.PIPE)


def run(kafka: MockKafka, topic: str, folder: Path, world_size: int, saves: int, states: Path) -> list[dict[str, Any]]:
    """Run all ranks until each has made `saves` saves and read on, or the end; kill them, and return what each had saved."""
    folder.mkdir()
    ranks = [start(kafka, topic, folder, rank, world_size, saves, states) for rank in range(world_size)]
    try:
        wait_until(lambda: all((folder / f"{rank}.json.ready").exists() or process.poll() for rank, process in enumerate(ranks)))
    finally:
        for process in ranks:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world_size)]


def test_two_kills_two_to_three_to_one_rank(kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    random, numbers = np.random.default_rng(0), itertools.count()
    messages = [[next(numbers) for _ in range(size)] for size in random.integers(0, 25, 120)]
    kafka.produce(topic, [(int(partition), ids_message(ids)) for partition, ids in zip(random.integers(0, 4, 120), messages, strict=True)])
    wanted = [one for ids in messages for one in ids if one % 3]
    seen: list[int] = []
    states = tmp_path / "states.json"
    for phase, (world_size, saves) in enumerate([(2, 6), (3, 5), (1, 10**6)]):
        saved = run(kafka, topic, tmp_path / str(phase), world_size, saves, states)
        rows = [one for rank in saved for one in rank["rows"]]
        assert rows
        seen += rows
        states.write_text(json.dumps([rank["state"] for rank in reversed(saved)]))
        assert len(states.read_text()) < 100_000 * world_size
        if phase < 2:
            # It was in the middle of a message, or a kill proves little.
            assert any(row for rank in saved for _, _, row in rank["state"]["positions"][topic])
            assert len(seen) < len(wanted)
    assert Counter(seen) == Counter(wanted)
