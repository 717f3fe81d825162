"""A batch: columns in groups, so that what many samples share is stored and computed once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sparrow.errors import DataError, did_you_mean
from sparrow.types.ragged import Column, Ragged

SAMPLE_GROUP = "sample"


@dataclass(frozen=True, slots=True)
class RowSpan:
    """Where consecutive samples of a batch came from: `num_rows` rows of `path` from `first_row` on, counted from 0."""

    path: str
    first_row: int
    num_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Columns of equal row count.

    columns:       name -> dense tensor [rows] or [rows, width], or Ragged of `num_rows` rows.
    num_rows:      rows of every column.
    sample_to_row: int64 [samples], the row each sample reads; None where sample i reads row i.
    """

    columns: dict[str, Column]
    num_rows: int
    sample_to_row: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a reader yields and an engine takes: groups of columns, and where their samples came from.

    groups: group name -> Group. Most data has one, `"sample"`, whose rows are the samples. A group of user-side columns
            holds each user once and joins by `sample_to_row`; features and lookups work per group, the model joins.
    origin: the spans of rows the samples were read from, in sample order; empty where unknown. Used by errors.
    num_padding: how many samples at the end only fill the batch up; they count in no loss and no metric.
    buffer: uint8, the memory that all tensors are views of, where `packed` made them so; None elsewhere.
    """

    groups: dict[str, Group]
    origin: Sequence[RowSpan] = field(default=())
    num_padding: int = 0
    buffer: Tensor | None = None

    @staticmethod
    def of(columns: dict[str, Column], *, origin: Sequence[RowSpan] = (), num_padding: int = 0) -> Batch:
        """Make a batch of one identity group. Raises `DataError` when columns differ in their number of rows."""
        counts = {name: num_rows_of(column) for name, column in columns.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"columns of one group must have equal rows, got {counts}")
        return Batch({SAMPLE_GROUP: Group(columns, next(iter(counts.values()), 0))}, origin, num_padding)

    @property
    def num_samples(self) -> int:
        for group in self.groups.values():
            return group.num_rows if group.sample_to_row is None else group.sample_to_row.numel()
        return 0

    def __contains__(self, name: str) -> bool:
        return any(name in group.columns for group in self.groups.values())

    def __getitem__(self, name: str) -> Column:
        return self.group_of(name).columns[name]

    def __iter__(self) -> Iterator[str]:
        for group in self.groups.values():
            yield from group.columns

    def group_of(self, name: str) -> Group:
        """Return the group that holds column `name`. Raises `DataError` with the nearest name."""
        for group in self.groups.values():
            if name in group.columns:
                return group
        raise DataError(f"the batch has no column {name!r}{did_you_mean(name, self)}")

    def locate(self, sample: int) -> str:
        """Return `"FILE, row R"` for a sample of this batch, rows counted from 0; `"sample I of the batch"` where unknown."""
        before = 0
        for span in self.origin:
            if sample < before + span.num_rows:
                return f"{span.path}, row {span.first_row + sample - before}"
            before += span.num_rows
        return f"sample {sample} of the batch"

    def packed(self, *, pin_memory: bool = False) -> Batch:
        """Return this batch with all tensors end to end in one buffer, each at a multiple of 64 bytes, so that `to` copies once.

        pin_memory: in memory a CUDA device copies from while the host goes on. Cost: a copy of the batch.
        """
        tensors: dict[int, Tensor] = {}
        self.mapped(lambda tensor: tensors.setdefault(id(tensor), tensor))
        begins = list(itertools.accumulate((-(-tensor.nbytes // 64) * 64 for tensor in tensors.values()), initial=0))
        buffer = torch.empty(begins[-1], dtype=torch.uint8, pin_memory=pin_memory)
        views = {}
        for begin, (key, tensor) in zip(begins, tensors.items(), strict=False):
            views[key] = buffer[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            views[key].copy_(tensor)
        return replace(self.mapped(lambda tensor: views[id(tensor)]), buffer=buffer)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return this batch on a device: by one copy where it is `packed`, else by one a tensor."""
        if self.buffer is None:
            return self.mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        origin, moved = self.buffer.data_ptr(), self.buffer.to(device, non_blocking=non_blocking)

        def view(tensor: Tensor) -> Tensor:
            # An empty tensor has no address.
            begin = tensor.data_ptr() - origin if tensor.numel() else 0
            return moved[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)

        return replace(self.mapped(view), buffer=moved)

    def mapped(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """Return this batch with `move` of each of its tensors, which it is given in one order each time; a tensor in several places is
        moved for each."""
        groups = {
            name: Group(
                {key: _map_column(column, move) for key, column in group.columns.items()},
                group.num_rows,
                None if group.sample_to_row is None else move(group.sample_to_row),
            )
            for name, group in self.groups.items()
        }
        return Batch(groups, self.origin, self.num_padding)


def _map_column(column: Column, move: Callable[[Tensor], Tensor]) -> Column:
    if isinstance(column, Tensor):
        return move(column)
    return Ragged(move(column.values), tuple(map(move, column.offsets)), None if column.weights is None else move(column.weights))


def num_rows_of(column: Column) -> int:
    """Return the number of rows of a dense or ragged column."""
    return column.shape[0] if isinstance(column, Tensor) else column.num_rows
