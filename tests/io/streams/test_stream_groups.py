"""Columns that samples share, in batches of streams: joined, they are the flat rows."""

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from torch import Tensor

from sparrow.errors import ConfigError, DataError
from sparrow.io import Requests, SharedRows
from sparrow.io.streams import KafkaDataset, WatchedFolder
from sparrow.types import Batch, Ragged
from streams_support import MockKafka, arrow_message

USERS = [0, 0, 1, 0, 1, 2, 1, 3, 3, 3]


def flat(users: list[int]) -> pa.Table:
    histories = pa.array([[user] * (user + 1) for user in users], pa.list_(pa.int64()))
    return pa.table({"label": pa.array(range(len(users)), pa.int64()), "user": pa.array(users, pa.int64()), "history": histories})


def histories_of(batch: Batch) -> list[list[int]]:
    """Of every sample, by the group's `sample_to_row`."""
    group = batch.groups["user"]
    history = group.columns["history"]
    assert isinstance(history, Ragged)
    assert group.sample_to_row is not None
    rows = [history.values[begin:end].tolist() for begin, end in itertools.pairwise(history.offsets[0].tolist())]
    return [rows[row] if row >= 0 else [] for row in group.sample_to_row.tolist()]


def labels_of(batch: Batch) -> list[int]:
    labels = batch["label"]
    assert isinstance(labels, Tensor)
    return labels.tolist()


@pytest.mark.parametrize("by, num_rows", [("runs", [3, 4, 1]), ("key", [2, 3, 1])])
def test_flat_rows_of_messages(kafka: MockKafka, topic: str, by: Any, num_rows: list[int]) -> None:
    kafka.produce(topic, [(0, arrow_message(flat(USERS).slice(begin, 3))) for begin in range(0, 10, 3)])
    shared = SharedRows("user", ["history"], key="user", by=by)
    columns = ["label", "user", "history"]
    stream = KafkaDataset(topic, columns, batch_size=4, servers=kafka.servers, groups=[shared], end="now", config={"log_level": 2})
    batches = list(stream)
    assert [labels_of(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [one for batch in batches for one in histories_of(batch)] == [[user] * (user + 1) for user in USERS]
    assert [batch.groups["user"].num_rows for batch in batches] == num_rows


def test_requests_in_files_that_land(tmp_path: Path) -> None:
    requests = pa.table({
        "label_0": [[0, 1], [2], [], [3, 4]],
        "history_1": [[[1, 2], [3]], [[4]], [[5]], [[6], [7]]],
        "_indicator_1": [[1, 0], [0], [], [1, 1]],
    })  # fmt: skip
    for number in range(4):
        parquet.write_table(requests.slice(number, 1), tmp_path / f".{number}")
        (tmp_path / f".{number}").rename(tmp_path / f"{number}.parquet")

    def watch() -> WatchedFolder:
        groups = Requests({1: "user"})
        return WatchedFolder(tmp_path, ["label_0", "history_1"], batch_size=2, pattern="*.parquet", groups=groups, end="now")

    stream = watch()
    first = next(iter(stream))
    stream.close()
    resumed = watch()
    resumed.load_state_dict(stream.state_dict())
    batches = [first, *resumed]
    assert [labels_of(batch) for batch in batches] == [[0, 1, 2], [3, 4]]
    assert [one for batch in batches for one in histories_of(batch)] == [[3], [1, 2], [4], [7], [7]]


def test_rows_of_one_user_that_differ_are_named_and_not_passed_over(tmp_path: Path) -> None:
    table = pa.table({"user": [1, 1], "age": [30, 31]})
    parquet.write_table(table, tmp_path / "a.parquet")
    shared = SharedRows("user", ["age"], key="user")
    stream = WatchedFolder(tmp_path, ["user", "age"], batch_size=2, pattern="*.parquet", groups=[shared], end="now")
    before = stream.state_dict()["done"]
    with pytest.raises(DataError, match=r"a\.parquet"):
        list(stream)
    assert stream.state_dict()["done"] == before, "the batch was not handed out"
    with pytest.raises(ConfigError, match="names column 'agee', which is not read"):
        WatchedFolder(tmp_path, ["user"], batch_size=2, groups=[SharedRows("user", ["agee"], key="user")])
