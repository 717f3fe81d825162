"""A trainer that reads streams: it stops after some steps, or while it waits, and a resumed one goes on with the next row."""

import itertools
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import orc
from torch import Tensor, nn

from sparrow.io.streams import KafkaDataset, WatchedFolder
from sparrow.pipelines import Hook, Trainer
from sparrow.types import Batch, ColumnSpec
from streams_support import MockKafka, arrow_message, wait_until

COLUMNS = [ColumnSpec("x", kind="dense", width=3), ColumnSpec("label"), ColumnSpec("id")]


class Linear(nn.Module):
    """Remembers which rows it was trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.ids: list[int] = []

    def forward(self, batch: Batch) -> Tensor:
        x, ids = batch["x"], batch["id"]
        assert isinstance(x, Tensor)
        assert isinstance(ids, Tensor)
        self.ids += ids.tolist()
        return self.layer(x).squeeze(1)


def table(ids: list[int]) -> pa.Table:
    random = np.random.default_rng(ids)
    x = pa.array(random.normal(size=(len(ids), 3)).astype(np.float32).tolist(), pa.list_(pa.float32()))
    label = pa.array((random.random(len(ids)) < 0.5).astype(np.float32))
    return pa.table({"x": x, "label": label, "id": pa.array(ids, pa.int64())})


def trainer(folder: Path, **options: Any) -> tuple[Trainer, Linear]:
    model = Linear()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    return Trainer(model, optimizer, run_folder=folder, progress=False, log_every=4, **options), model


def weights_of(model: Linear) -> list[float]:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).tolist()


def test_train_stop_and_resume_from_kafka(kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    """One partition and full batches: the steps are those of a run that nothing stopped."""
    ids = list(range(100))
    kafka.produce(topic, [(0, arrow_message(table(ids[begin : begin + 7]))) for begin in range(0, 100, 7)])

    def stream() -> KafkaDataset:
        return KafkaDataset(topic, COLUMNS, batch_size=8, servers=kafka.servers, flush_seconds=3600, config={"log_level": 2})

    whole, expected = trainer(tmp_path / "whole")
    with stream() as dataset:
        summary = whole.fit(dataset, max_steps=12)
    assert (summary["step"], summary["samples"], summary["epochs_finished"]) == (12, 96, 0)
    assert expected.ids == ids[:96]

    first, model = trainer(tmp_path / "run", save_every=2)
    with stream() as dataset:
        assert first.fit(dataset, max_steps=5)["step"] == 5
    assert model.ids == ids[:40]
    second, model = trainer(tmp_path / "run", save_every=2)
    with stream() as dataset:
        summary = second.fit(dataset, max_steps=12, resume=True)
    assert (summary["step"], summary["samples"]) == (12, 96)
    assert model.ids == ids[40:96]
    assert weights_of(model) == weights_of(expected)


def test_a_signal_ends_a_fit_that_waits_for_messages(kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    kafka.produce(topic, [(0, arrow_message(table(list(range(16)))))])
    running, model = trainer(tmp_path / "run")
    with KafkaDataset(topic, COLUMNS, batch_size=8, servers=kafka.servers, config={"log_level": 2}) as dataset:
        waits = threading.Event()

        class Watch(Hook):
            def after_step(self, trainer: Any) -> None:
                if trainer.step == 2:
                    waits.set()

        running.hooks = (*running.hooks, Watch())

        def interrupt() -> None:
            assert waits.wait(60)
            os.kill(os.getpid(), signal.SIGTERM)

        sender = threading.Thread(target=interrupt)
        sender.start()
        summary = running.fit(dataset)
        sender.join()
    assert (summary["stopped"], summary["step"], summary["epochs_finished"]) == (True, 2, 0)
    kafka.produce(topic, [(0, arrow_message(table(list(range(16, 24)))))])
    resumed, model = trainer(tmp_path / "run")
    with KafkaDataset(topic, COLUMNS, batch_size=8, servers=kafka.servers, end="now", config={"log_level": 2}) as dataset:
        assert resumed.fit(dataset, resume=True)["epochs_finished"] == 1
    assert model.ids == list(range(16, 24))


def test_train_as_files_land(tmp_path: Path) -> None:
    root, numbers = tmp_path / "in", itertools.count()
    root.mkdir()

    def land() -> None:
        number = next(numbers)
        orc.write_table(table(list(range(10 * number, 10 * number + 10))), str(root / ".unfinished"))
        (root / ".unfinished").rename(root / f"{number:03}.orc")

    class Lander(Hook):
        def after_step(self, trainer: Any) -> None:
            land()

    land()
    seen: list[int] = []
    for max_steps in (3, 7):
        running, model = trainer(tmp_path / "run")
        running.hooks = (*running.hooks, Lander())
        with WatchedFolder(root, COLUMNS, batch_size=10, poll_seconds=0.01, flush_seconds=3600) as dataset:
            assert running.fit(dataset, max_steps=max_steps, resume=True)["step"] == max_steps
        seen += model.ids
    assert seen == list(range(70))


def test_what_is_left_out_is_logged(kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    kafka.produce(topic, [(0, b"poison"), (0, arrow_message(table(list(range(32)))))])
    running, _ = trainer(tmp_path / "run")
    with KafkaDataset(topic, COLUMNS, batch_size=8, servers=kafka.servers, on_error="skip", config={"log_level": 2}) as dataset:
        running.fit(dataset, max_steps=4)
    (line,) = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert line["reader"] == {"skipped": 1}


def test_a_stream_that_is_evaluated_ends_now(kafka: MockKafka, topic: str, tmp_path: Path) -> None:
    kafka.produce(topic, [(partition, arrow_message(table(list(range(5))))) for partition in range(4)])
    running, _ = trainer(tmp_path / "run")
    with KafkaDataset(topic, COLUMNS, batch_size=8, servers=kafka.servers, end="now", config={"log_level": 2}) as dataset:
        assert running.evaluate(dataset)["num_samples"] == 20
    wait_until(lambda: all(thread.name != "sparrow-reader" for thread in threading.enumerate()))
