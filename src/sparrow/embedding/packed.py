"""The ids of many columns, end to end, where only the device knows how many there are: as `columns`, for a step that is captured.

A captured step's ragged columns have memory for more values than a batch has; their offsets say which are values. They are moved end to end
on the device, so that positions beyond the last value are none, and all sizes are the most there may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparrow.embedding.columns import Apart, Plan, check_device, ids_of, running_offsets
from sparrow.embedding.options import EmbeddingOption
from sparrow.errors import TableError
from sparrow.tables.placement import fixed
from sparrow.types import Batch, Ragged


def check_captured(plans: Iterable[Plan], options: Mapping[str, EmbeddingOption]) -> None:
    """Raise `TableError` for a combiner whose sizes depend on the data."""
    for plan in plans:
        for feature in plan.features:
            if options[feature].combiner == "tile":
                raise TableError(
                    f"feature {feature!r}: combiner 'tile' waits for the device to learn how many ids are left, so its step cannot be "
                    f"captured in a CUDA graph; use combiner 'none', or step eagerly"
                )


@dataclass(frozen=True, slots=True)
class _Column:
    """Ids [most] of a feature, the start of each row, weights, and how many ids there are, int64 [1]; None where all are."""

    ids: Tensor
    starts: Tensor
    weights: Tensor | None
    count: Tensor | None


class _Packed:
    """The columns of a plan.

    ids: int64 columns of N positions in all. table_offsets: int64 [T + 1] on the CPU, of the most ids; offsets_there: of the ids there are.
    begins: where each feature's ids begin, int64 [1]. total: how many ids there are, int64 [1]. source: int64 [N], for each position where
    its value lies in the columns one after the other; None where all columns are full.
    """

    def __init__(self, plan: Plan, batch: Batch) -> None:
        device = plan.group.device
        self.columns = [_column(plan, batch, feature, table) for feature, table in zip(plan.features, plan.tables, strict=True)]
        sizes = [column.ids.numel() for column in self.columns]
        self.table_offsets, places = _offsets(plan, sizes)
        first = [0, *itertools.accumulate(sizes)]
        if all(column.count is None for column in self.columns):
            self.offsets_there, self.source = None, None
            self.begins = list(fixed(torch.tensor(first[:-1]), device).split(1))
            self.total = fixed(torch.tensor(first[-1:]), device)
            self.ids = [column.ids for column in self.columns]
            return
        full = fixed(torch.tensor(sizes), device).split(1)
        counts = torch.cat([size if column.count is None else column.count for size, column in zip(full, self.columns, strict=True)])
        ends = counts.cumsum(0)
        begins = ends - counts
        self.begins, self.total = list(begins.split(1)), ends[-1:]
        self.offsets_there = torch.cat([torch.zeros_like(self.total), ends]).index_select(0, fixed(places, device))
        positions = torch.arange(first[-1], device=device)
        of_feature = torch.searchsorted(ends, positions, right=True).clamp_max(len(sizes) - 1)
        shifts = fixed(torch.tensor(first[:-1]), device) - begins
        self.source = (positions + shifts.index_select(0, of_feature)).clamp_max(first[-1] - 1)
        self.ids = [torch.cat([column.ids for column in self.columns]).index_select(0, self.source)]

    def weights(self) -> Tensor | None:
        """Return float32 [N], 1 where a feature has none; None where none has."""
        if all(column.weights is None for column in self.columns):
            return None
        ones = [torch.ones(column.ids.numel(), device=column.ids.device) if column.weights is None else None for column in self.columns]
        parts = [column.weights.float() if one is None else one for one, column in zip(ones, self.columns, strict=True)]  # type: ignore[union-attr]
        return torch.cat(parts) if self.source is None else torch.cat(parts).index_select(0, self.source)


def packed(plan: Plan, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor | None, Tensor, Tensor | None]:
    """Return (ids, table_offsets, offsets_there, segments [F * rows + 1], weights) of pooled features; see `_Packed` and `concatenate`."""
    all = _Packed(plan, batch)
    starts = [column.starts + begin for column, begin in zip(all.columns, all.begins, strict=True)]
    return all.ids, all.table_offsets, all.offsets_there, torch.cat([*starts, all.total]), all.weights()


def packed_one_by_one(plan: Plan, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor | None, Tensor, list[Apart]]:
    """Return (ids, table_offsets, offsets_there, segments [N + 1], parts) of features not pooled; see `one_by_one`.

    A ragged feature has a segment for each value it may have, empty beyond those it has.
    """
    all = _Packed(plan, batch)
    ends, parts = [torch.zeros_like(all.total)], []
    for feature, column, begin in zip(plan.features, all.columns, all.begins, strict=True):
        within = torch.arange(1, column.ids.numel() + 1, device=column.ids.device)
        ends.append(begin + (within if column.count is None else torch.minimum(within, column.count)))
        given = batch.groups[plan.batch_group].columns[feature]
        shape = () if isinstance(given, Ragged) else tuple(given.shape)
        parts.append(Apart(column.ids.numel(), shape, given.offsets[0] if isinstance(given, Ragged) else None))
    return all.ids, all.table_offsets, all.offsets_there, torch.cat(ends), parts


def _column(plan: Plan, batch: Batch, feature: str, table: int) -> _Column:
    column = batch.groups[plan.batch_group].columns[feature]
    check_device(plan.group, feature, table, column)
    ids, starts, weights = ids_of(feature, column)
    return _Column(ids, starts, weights, column.offsets[0][-1:] if isinstance(column, Ragged) else None)


def _offsets(plan: Plan, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Return (table offsets where every column is full; for each, after how many features it stands), int64 [T + 1] each."""
    sizes_of_tables, features_of_tables = [0] * len(plan.group.tables), [0] * len(plan.group.tables)
    for table, size in zip(plan.tables, sizes, strict=True):
        sizes_of_tables[table] += size
        features_of_tables[table] += 1
    return (running_offsets(list(itertools.accumulate(sizes_of_tables))), torch.tensor([0, *itertools.accumulate(features_of_tables)]))
