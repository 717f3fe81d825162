"""user_groups: what it buys to hold a user's history once: samples a second of reading and training, beside flat rows.

    python -m benchmarks user_groups [--threads N]

100 users of 20 samples and 1,000 ids of history each; logistic regression over item and history. The peer repeats the history a sample;
"runs" finds it again in flat rows (`SharedRows`), "requests" reads files that store it once (`Requests`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import nn

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.features import Feature
from sparrow.io import Dataset, Requests, SharedRows
from sparrow.models import LogisticRegression
from sparrow.optim import SparseOptimizer

NUM_USERS, SAMPLES_EACH, HISTORY = 100, 20, 1000


def _write(folder: Path) -> None:
    random = np.random.default_rng(1)
    histories = [random.integers(0, 100_000, HISTORY) for _ in range(NUM_USERS)]
    items = random.integers(0, 10_000, (NUM_USERS, SAMPLES_EACH))
    labels = (random.random((NUM_USERS, SAMPLES_EACH)) < 0.3).astype(np.float32)
    flat: dict[str, Any] = {
        "label": labels.ravel(),
        "user": np.repeat(np.arange(NUM_USERS), SAMPLES_EACH),
        "item": items.ravel(),
        "history": [history for history in histories for _ in range(SAMPLES_EACH)],
    }
    parquet.write_table(pa.table(flat), folder / "flat.parquet", row_group_size=500)
    requests: dict[str, Any] = {
        "label_0": list(labels),
        "item_0": list(items),
        "history_1": [[history] for history in histories],
        "_indicator_1": [[0] * SAMPLES_EACH] * NUM_USERS,
    }
    parquet.write_table(pa.table(requests), folder / "requests.parquet", row_group_size=25)


def _training(make: Callable[[], Dataset]) -> Callable[[], None]:
    model = LogisticRegression([Feature("item").select("item"), Feature("history").select("history")], dense=[], sparse=["item", "history"])
    optimizer = SparseOptimizer(model, lr=0.01)
    loss = nn.BCEWithLogitsLoss()

    def epoch() -> None:
        num_samples = 0
        for batch in make():
            optimizer.zero_grad()
            label = batch["label"]
            assert isinstance(label, torch.Tensor)
            loss(model(batch), label).backward()
            optimizer.step()
            num_samples += batch.num_samples
        assert num_samples == NUM_USERS * SAMPLES_EACH

    return epoch


def run(options: Options) -> Iterable[Result]:
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        columns = ["label", "user", "item", "history"]
        shared = [SharedRows("user", ["history"], key="user")]
        names = ["label_0", "item_0", "history_1"]
        flat = _training(lambda: Dataset(folder / "flat.parquet", columns, batch_size=400))
        for case, make in (
            ("runs of flat rows", lambda: Dataset(folder / "flat.parquet", columns, batch_size=400, groups=shared)),
            (
                "requests",
                lambda: Dataset(folder / "requests.parquet", names, batch_size=20, groups=Requests()),
            ),
        ):
            times = interleaved({"sparrow": _training(make), "flat rows": flat}, options.runs)
            yield rate(f"{case}, {HISTORY:,} ids, {SAMPLES_EACH} samples a user", NUM_USERS * SAMPLES_EACH, times, unit="M samples/s")
