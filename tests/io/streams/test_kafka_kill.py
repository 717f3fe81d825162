"""Two kills and two changes of the number of ranks: no row lost but those left out, none doubled by what was saved."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np

from killed_ranks import FILTERED, run_ranks
from streams_support import MockKafka, ids_message


def test_two_kills_two_to_three_to_one_rank(kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    random, numbers = np.random.default_rng(0), itertools.count()
    messages = [[next(numbers) for _ in range(size)] for size in random.integers(0, 25, 120)]
    kafka.produce(topic, [(int(partition), ids_message(ids)) for partition, ids in zip(random.integers(0, 4, 120), messages, strict=True)])
    stream = (
        f'KafkaDataset({topic!r}, ["id"], batch_size=7, servers={kafka.servers!r}, rank=rank, world_size=world_size, end="now", '
        f'config={{"fetch.wait.max.ms": 10, "log_level": 2}}, {FILTERED})'
    )
    wanted = [one for ids in messages for one in ids if one % 3]
    seen: list[int] = []
    states = tmp_path / "states.json"
    for phase, (world_size, saves) in enumerate([(2, 6), (3, 5), (1, None)]):
        saved = run_ranks(stream, tmp_path / str(phase), world_size, saves, states)
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
