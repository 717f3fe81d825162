"""Ranks of a stream that end together: each tells the others how many batches it has, and what columns, for those that have none."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sparrow.io.agreement import Agreement, StoppedError, agreed
from sparrow.io.streams.reader import Reader
from sparrow.io.streams.rows import Handout
from sparrow.types import Batch, Column, Ragged

StreamTail = Literal["short", "drop"]


@dataclass(frozen=True, slots=True)
class InStep:
    """How the ranks of a stream end together.

    tail: `"short"`: after all have no batch left, those that have none joining in with batches without rows; `"drop"`: before one has none.
    """

    agreement: Agreement
    tail: StreamTail
    rank: int
    world_size: int

    def steps(self, reader: Reader[Handout]) -> Iterator[tuple[Batch | None, list[Handout]]]:
        """Yield the batches of a rank, each with the handouts, without their batches, that are consumed with it; last those behind it."""
        own = _Own(reader)
        exchange = self.agreement.begin(self.rank, self.world_size, reader.pause)
        try:
            for batch, moves in agreed(self._telling(own), exchange, self.tail, lambda: (self._extra(own), [])):
                if reader.was_stopped:
                    break
                if moves:
                    own.ahead.popleft()
                yield batch, moves
                del batch
        except StoppedError:
            pass  # as asked: the place is that of the last batch
        # What no row was in is consumed up to the next batch, which stays for another iteration.
        yield None, own.ahead[0][:-1] if own.ahead else own.moves

    def _telling(self, own: _Own) -> Iterator[tuple[Batch, list[Handout]]]:
        for batch, moves in own:
            if not own.columns:
                own.columns = columns_of(batch)
                self.agreement.tell_columns(self.rank, own.columns)
            yield batch, moves
            del batch

    def _extra(self, own: _Own) -> Batch:
        told = own.columns or next(filter(None, map(self.agreement.columns_of, range(self.world_size))))
        return empty_batch(told)


class _Own:
    """The batches of a reader. Raises `StoppedError` where it was stopped.

    ahead:   the handouts of each batch that is not handed on yet. moves: those since.
    columns: of the batches, "" before the first.
    """

    def __init__(self, reader: Reader[Handout]) -> None:
        self._reader = reader
        self.ahead: deque[list[Handout]] = deque()
        self.moves: list[Handout] = []
        self.columns = ""

    def __iter__(self) -> Iterator[tuple[Batch, list[Handout]]]:
        for handout in self._reader:
            self.moves.append(handout._replace(batch=None))
            if handout.batch is not None:
                moves, self.moves = self.moves, []
                self.ahead.append(moves)
                yield handout.batch, moves
            del handout
        if self._reader.was_stopped:
            raise StoppedError


def columns_of(batch: Batch) -> str:
    """Return what the columns of a batch of one group are: dtype, and width or levels, and the dtype of weights."""
    described = {}
    for name in batch:
        column = batch[name]
        if isinstance(column, Tensor):
            described[name] = [_name_of(column.dtype), list(column.shape[1:]), 0, None]
        else:
            weights = None if column.weights is None else _name_of(column.weights.dtype)
            described[name] = [_name_of(column.values.dtype), [], len(column.offsets), weights]
    return json.dumps(described)


def empty_batch(columns: str) -> Batch:
    """Return a batch without rows of the columns that `columns_of` described."""
    made: dict[str, Column] = {}
    for name, (dtype, width, num_levels, weights) in json.loads(columns).items():
        values = torch.empty([0, *width], dtype=getattr(torch, dtype))
        if num_levels:
            levels = tuple(torch.zeros(1, dtype=torch.int64) for _ in range(num_levels))
            made[name] = Ragged(values, levels, None if weights is None else torch.empty(0, dtype=getattr(torch, weights)))
        else:
            made[name] = values
    return Batch.of(made)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
