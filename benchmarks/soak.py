"""soak: ten minutes of training with inserts, erasure and growth over a bounded universe of ids: the memory must stop growing.

    python -m benchmarks soak [--minutes M]

After the first minute (the first half of a shorter run) the resident memory may grow by less than 1 MB a minute, by a line fitted to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, resident_bytes
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.ops import id_map
from sparrow.optim import SparseOptimizer
from sparrow.types import Batch, Ragged

_GOAL_MB = 1.0
_TABLES, _BATCH, _DIM, _MOST_IDS = 8, 2048, 16, 8
_ERASE_EVERY, _ERASE_SHARE = 10, 50  # every tenth step, one id in fifty of one table
_SAMPLE_SECONDS = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--universe", type=int, default=200_000, help="ids of each table")


class _Training:
    """Features of one id and of bags, drawn evenly from the universe, so that erased ids come back and tables stay near full."""

    def __init__(self, universe: int) -> None:
        self.universe = universe
        self.generator = torch.Generator().manual_seed(5)
        self.engine = EmbeddingEngine({f"f{table}": EmbeddingOption(dim=_DIM, rule="adam") for table in range(_TABLES)})
        self.optimizer = SparseOptimizer(self.engine, lr=0.01)
        self.steps = self.inserted = self.erased = 0

    def _ids(self, num_ids: int) -> Tensor:
        return id_map.mix(torch.randint(1, self.universe + 1, (num_ids,), generator=self.generator), 0)

    def _batch(self) -> Batch:
        columns: dict[str, Tensor | Ragged] = {}
        for table in range(_TABLES):
            if table % 2:
                lengths = torch.randint(0, _MOST_IDS + 1, (_BATCH,), generator=self.generator)
                offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
                columns[f"f{table}"] = Ragged(self._ids(int(offsets[-1])), (offsets,))
            else:
                columns[f"f{table}"] = self._ids(_BATCH)
        return Batch.of(columns)

    def step(self) -> None:
        (group,) = self.engine.groups
        before = group.num_rows
        out = self.engine(self._batch()).stack([f"f{table}" for table in range(_TABLES)])
        self.inserted += group.num_rows - before
        out.square().mean().backward()
        self.optimizer.step()
        self.steps += 1
        if self.steps % _ERASE_EVERY == 0:
            table = f"f{self.steps // _ERASE_EVERY % _TABLES}"
            self.erased += group.erase(table, self._ids(self.universe // _ERASE_SHARE).unique())


def _slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares through (x, y) points."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def _resident(training: _Training, minutes: float) -> Iterator[tuple[float, float]]:
    """Train for so long and yield (minutes, MB) now and then."""
    began = time.monotonic()
    due = 0.0
    while (passed := time.monotonic() - began) < 60 * minutes:
        training.step()
        if passed >= due:
            yield passed / 60, resident_bytes() / 1e6
            due = passed + min(_SAMPLE_SECONDS, minutes)


def run(options: Options) -> Iterable[Result]:
    minutes = options.more.minutes
    training = _Training(options.more.universe)
    points = list(_resident(training, minutes))
    settled = [point for point in points if point[0] >= min(1.0, minutes / 2)]
    slope = _slope(settled or points)
    case = f"{minutes:g} minutes, {_TABLES} tables of {options.more.universe:,} ids"
    yield Result(f"{case}: memory", "growth", "MB/min", slope, goal=f"< {_GOAL_MB:g}", met=slope < _GOAL_MB)
    yield Result(f"{case}: resident at the end", "memory", "MB", settled[-1][1] if settled else points[-1][1])
    for what, count in (("steps", training.steps), ("ids inserted", training.inserted), ("ids erased", training.erased)):
        yield Result(f"{case}: {what}", "count", "", count)
