"""The training step that embedding libraries are compared on: features, ids, gradients, and what the answer is."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.harness import zipf_ranks
from sparrow.ops import id_map
from sparrow.types import Batch, Column, Ragged

LR, EPS, BETA1, BETA2, FIRST_VALUE = 0.01, 1e-8, 0.9, 0.999, 0.01
NUM_STEPS = 6
_MULTI_TABLES, _MOST_IDS = 8, 39  # bags of 1..39 ids, 20 on average
_LINE_BYTES = 64


@dataclass(frozen=True)
class Cell:
    """One case. rows: of each table, all of them inserted before anything is timed. batch: samples a step."""

    multi: bool
    dim: int
    rule: str
    rows: int = 1_000_000
    batch: int = 8192
    tables: int = 26

    def __str__(self) -> str:
        return f"{'multi' if self.multi else 'one-hot'} {self.dim} {self.rule}"

    @property
    def slot_bytes(self) -> int:
        """Optimizer state of a row."""
        return {"sgd": 0, "rowwise_adagrad": 4}.get(self.rule, 8 * self.dim)

    def has_bags(self, table: int) -> bool:
        return self.multi and table % 3 == 0 and table // 3 < _MULTI_TABLES


@dataclass(frozen=True, eq=False)
class Step:
    """What one step is given. Table-major: segment `table * batch + sample` pools `indices[offsets[s]:offsets[s + 1]]` of that table.

    indices: int64 [N], rows of a table of fixed size, for peers. ids: int64 [N], what stands for them in 64 bits.
    offsets: int64 [tables * batch + 1]. grad: [batch, tables * dim], of the output. num_unique: distinct (table, row).
    """

    indices: Tensor
    ids: Tensor
    offsets: Tensor
    grad: Tensor
    num_unique: int

    def must_move_bytes(self, cell: Cell) -> int:
        """Ids once, weights and state of every distinct row read and written; not output and gradient, which may stay in cache."""
        return 8 * self.ids.numel() + self.num_unique * (8 * cell.dim + 2 * cell.slot_bytes)

    def random_lines(self, cell: Cell) -> int:
        """Cache lines a step reaches at random: a row's place in the map, its weights to pool and to update, its state, its stamp."""
        weights, slots = (-(-num_bytes // _LINE_BYTES) for num_bytes in (4 * cell.dim, cell.slot_bytes))
        return self.num_unique * (1 + 2 * weights + slots + 1)

    def merged_indices(self, cell: Cell) -> Tensor:
        """Return the rows in one table that holds all tables end to end."""
        ends = self.offsets[torch.arange(cell.tables + 1) * cell.batch]
        return self.indices + (torch.arange(cell.tables) * cell.rows).repeat_interleave(ends.diff())


def id_of(indices: Tensor, table: int) -> Tensor:
    """Return the 64-bit ids that stand for rows of a table."""
    return id_map.mix(indices, table + 1)


@functools.cache
def _scattered(rows: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(7))


def steps_of(cell: Cell, num_steps: int = NUM_STEPS) -> list[Step]:
    """Return steps of Zipf(1.05) ranks; rank r of table t is row `scattered[r + 7919 t]`, so that popular rows lie anywhere."""
    generator = torch.Generator().manual_seed(3)
    steps = []
    for number in range(num_steps):
        indices, ids, lengths, num_unique = [], [], [], 0
        for table in range(cell.tables):
            ones = torch.ones(cell.batch, dtype=torch.int64)
            length = torch.randint(1, _MOST_IDS + 1, (cell.batch,), generator=generator) if cell.has_bags(table) else ones
            ranks = zipf_ranks(int(length.sum()), cell.rows, seed=number * cell.tables + table)
            rows = _scattered(cell.rows)[(ranks + 7919 * table) % cell.rows]
            indices.append(rows)
            ids.append(id_of(rows, table))
            lengths.append(length)
            num_unique += rows.unique().numel()
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cat(lengths).cumsum(0)])
        grad = torch.randn(cell.batch, cell.tables * cell.dim, generator=generator) * 1e-2
        steps.append(Step(torch.cat(indices), torch.cat(ids), offsets, grad, num_unique))
    return steps


def batch_of(cell: Cell, step: Step) -> Batch:
    """Return the step as a batch of one feature a table: dense where it holds one id a sample, ragged where more."""
    columns: dict[str, Column] = {}
    for table in range(cell.tables):
        offsets = step.offsets[table * cell.batch : (table + 1) * cell.batch + 1]
        ids = step.ids[int(offsets[0]) : int(offsets[-1])]
        columns[f"f{table}"] = Ragged(ids, (offsets - offsets[0],)) if cell.has_bags(table) else ids
    return Batch.of(columns)


def expected(cell: Cell, steps: Sequence[Step], *, eps_of_torch: bool) -> list[Tensor]:
    """Return the output of each step, [batch, tables * dim], by float64 arithmetic on whole tables.

    eps_of_torch: add Adam's eps after the correction of the second moment, as `torch.optim.Adam` does; `SparseAdam` adds it before.
    """
    num_rows = cell.rows * cell.tables
    weights = torch.full((num_rows, cell.dim), FIRST_VALUE, dtype=torch.float64)
    first, second, row_sums = torch.zeros_like(weights), torch.zeros_like(weights), torch.zeros(num_rows, 1, dtype=torch.float64)
    outputs = []
    for number, step in enumerate(steps, 1):
        indices, segments = step.merged_indices(cell), torch.arange(cell.tables * cell.batch).repeat_interleave(step.offsets.diff())
        pooled = torch.zeros(cell.tables * cell.batch, cell.dim, dtype=torch.float64).index_add_(0, segments, weights[indices])
        outputs.append(sample_major(cell, pooled))
        grad = torch.zeros_like(weights).index_add_(0, indices, table_major(cell, step.grad).double()[segments])
        touched = indices.unique()
        g = grad[touched]
        if cell.rule == "sgd":
            weights[touched] -= LR * g
        elif cell.rule == "rowwise_adagrad":
            row_sums[touched] += g.square().mean(1, keepdim=True)
            weights[touched] -= LR * g / (row_sums[touched].sqrt() + EPS)
        else:
            first[touched] = BETA1 * first[touched] + (1 - BETA1) * g
            second[touched] = BETA2 * second[touched] + (1 - BETA2) * g * g
            correction = math.sqrt(1 - BETA2**number)
            eps = EPS * correction if eps_of_torch else EPS
            weights[touched] -= LR * correction / (1 - BETA1**number) * first[touched] / (second[touched].sqrt() + eps)
    return outputs


def sample_major(cell: Cell, pooled: Tensor) -> Tensor:
    """Return [tables * batch, dim] as [batch, tables * dim]."""
    return pooled.view(cell.tables, cell.batch, cell.dim).transpose(0, 1).reshape(cell.batch, cell.tables * cell.dim)


def table_major(cell: Cell, output: Tensor) -> Tensor:
    """Return [batch, tables * dim] as [tables * batch, dim]."""
    return output.view(cell.batch, cell.tables, cell.dim).transpose(0, 1).reshape(cell.tables * cell.batch, cell.dim)
