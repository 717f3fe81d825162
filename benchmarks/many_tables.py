"""many_tables: 500 tables of a thousand rows, beside one table of half a million on the same ids; page faults of a steady step.

    python -m benchmarks many_tables [--tables N] [--rows N] [--batch N] [--dim N]

Both sides have as many features and give equal outputs from equal ids; what differs is whether the features share a table. The page faults
counted are those of a step after the warm-up: freed buffers and new mappings of any part of the process show there.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, interleaved, zipf_ranks
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.ops import id_map
from sparrow.optim import SparseOptimizer
from sparrow.tables import Constant
from sparrow.types import Batch

_GOAL_TIMES, _GOAL_FAULTS = 1.5, 0
_NUM_BATCHES, _FAULT_STEPS = 4, 12


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--rows", type=int, default=1000, help="of each table")
    parser.add_argument("--batch", type=int, default=512, help="samples a step, each with one id a feature")
    parser.add_argument("--dim", type=int, default=16)


def _batches(options: Options) -> list[Batch]:
    """Return batches of Zipf ids; those of different features differ."""
    more = options.more
    batches = []
    for number in range(_NUM_BATCHES):
        ranks = zipf_ranks(more.tables * more.batch, more.rows, seed=number).view(more.tables, more.batch)
        ids = id_map.mix(ranks + torch.arange(more.tables).unsqueeze(1) * more.rows, 0)
        batches.append(Batch.of({f"f{feature}": ids[feature] for feature in range(more.tables)}))
    return batches


class _Side:
    """An engine that knows every id of the batches, and its optimizer."""

    def __init__(self, options: Options, batches: list[Batch], table: str | None) -> None:
        more = options.more
        option = EmbeddingOption(dim=more.dim, table=table, rule="adam", initializer=Constant(0.01))
        self.features = [f"f{feature}" for feature in range(more.tables)]
        self.engine = EmbeddingEngine(dict.fromkeys(self.features, option))
        self.optimizer = SparseOptimizer(self.engine, lr=0.01)
        self.batches = batches
        self.grad = torch.randn(more.batch, more.tables, more.dim, generator=torch.Generator().manual_seed(1))
        ids = id_map.mix(torch.arange(1, more.rows + 1) + torch.arange(more.tables).unsqueeze(1) * more.rows, 0)
        with torch.no_grad():
            self.engine(Batch.of({feature: ids[index] for index, feature in enumerate(self.features)}))

    def step(self, batch: Batch) -> Tensor:
        out = self.engine(batch).stack(self.features)
        out.backward(self.grad)
        self.optimizer.step()
        return out.detach()

    def all_steps(self) -> None:
        for batch in self.batches:
            self.step(batch)


def faults_a_step(all_steps: Callable[[], None]) -> float:
    """Return minor page faults a step, once buffers and growth have settled."""
    all_steps()
    all_steps()
    rounds = -(-_FAULT_STEPS // _NUM_BATCHES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        all_steps()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (rounds * _NUM_BATCHES)


def run(options: Options) -> Iterable[Result]:
    more = options.more
    batches = _batches(options)
    many, one = _Side(options, batches, None), _Side(options, batches, "all")
    for batch in batches:
        assert torch.equal(many.step(batch), one.step(batch)), "the same ids of many tables and of one gave different vectors"
    name = f"one table of {more.tables * more.rows:,}"
    seconds = interleaved({"sparrow": many.all_steps, name: one.all_steps}, options.runs)
    mine, theirs = (1000 * seconds[side] / _NUM_BATCHES for side in ("sparrow", name))
    case = f"{more.tables} tables of {more.rows:,}, {more.tables * more.batch:,} ids"
    within = mine <= _GOAL_TIMES * theirs
    yield Result(case, "step", "ms", mine, name, theirs, theirs / mine, goal=f"<= {_GOAL_TIMES} times its peer", met=within)
    faults, of_one = faults_a_step(many.all_steps), faults_a_step(one.all_steps)
    yield Result("page faults a step", "faults", "faults", faults, name, of_one, goal=f"{_GOAL_FAULTS}", met=faults <= _GOAL_FAULTS)
