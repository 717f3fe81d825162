"""The ids of many columns, end to end: what one lookup and one pooling take."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparrow.embedding.options import EmbeddingOption
from sparrow.errors import DataError
from sparrow.tables import TableGroup
from sparrow.tables.placement import HOST
from sparrow.types import Batch, Column, Ragged


@dataclass(frozen=True, slots=True)
class Plan:
    """Features of one table group and one batch group, ordered by table, all pooled or none: what one call looks up."""

    group: TableGroup
    batch_group: str
    features: tuple[str, ...]
    tables: tuple[int, ...]  # table index of each feature, non-decreasing
    combiners: Tensor  # int64 [F]; of no meaning where not pooled
    pooled: bool


@dataclass(frozen=True, slots=True)
class Apart:
    """A feature whose ids keep their vectors: how many segments it has, and what its vectors [segments, dim] become."""

    num_segments: int
    shape: tuple[int, ...]  # of the vectors, without dim
    offsets: Tensor | None  # of a Ragged

    def shaped(self, vectors: Tensor) -> Tensor | Ragged:
        if self.offsets is not None:
            return Ragged(vectors, (self.offsets,))
        return vectors.reshape(*self.shape, vectors.shape[1])


def concatenate(plan: Plan, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor, Tensor | None]:
    """Return (ids, table_offsets [T + 1], segments [F * rows + 1], weights [N] or None) of the plan's features.

    ids: int64 columns, N ids in all: those of the batch, not copied, which stand for one after the other. table_offsets are on the CPU, all
    else where the tables live. Raises `DataError` naming the feature.
    """
    group = batch.groups[plan.batch_group]
    columns = [group.columns[feature] for feature in plan.features]
    device = plan.group.device
    plain = [
        column.contiguous()
        for column in columns
        if isinstance(column, Tensor) and column.dim() == 1 and column.dtype == torch.int64 and column.device == device
    ]
    if len(plain) == len(columns):
        return plain, *_one_id_each(plan.tables, len(plan.group.tables), group.num_rows, device), None
    values, segments, weights = [], [], []
    ends_of_tables = [0] * len(plan.group.tables)
    base = 0
    for feature, table, column in zip(plan.features, plan.tables, columns, strict=True):
        check_device(plan.group, feature, table, column)
        ids, starts, position_weights = ids_of(feature, column)
        values.append(ids)
        segments.append(starts + base)
        weights.append(position_weights)
        base += ids.numel()
        ends_of_tables[table] = base
    segments.append(torch.full((1,), base, device=device))
    all_weights = None
    if any(weight is not None for weight in weights):
        all_weights = torch.cat(
            [
                torch.ones(ids.numel(), device=ids.device) if weight is None else weight.float()
                for ids, weight in zip(values, weights, strict=True)
            ]
        )
    return values, running_offsets(ends_of_tables), torch.cat(segments), all_weights


def one_by_one(plan: Plan, batch: Batch, options: Mapping[str, EmbeddingOption]) -> tuple[list[Tensor], Tensor, Tensor, list[Apart]]:
    """Return (columns of ids, table_offsets [T + 1], segments [S + 1], parts) of features not pooled, each id a segment of its own.

    Combiner "tile" has `tile_len` segments a row, empty beyond its ids; ids beyond `tile_len` are left out, which waits for a device.
    """
    values, segments, parts = [], [torch.zeros(1, dtype=torch.int64, device=plan.group.device)], []
    ends_of_tables = [0] * len(plan.group.tables)
    base = 0
    for feature, table in zip(plan.features, plan.tables, strict=True):
        column = batch.groups[plan.batch_group].columns[feature]
        check_device(plan.group, feature, table, column)
        ids, starts, _ = ids_of(feature, column)
        offsets = torch.cat([starts, torch.full((1,), ids.numel(), device=starts.device)])
        if options[feature].combiner == "tile":
            ids, ends, part = _tiled(ids, offsets, options[feature].tile_len)
        else:
            ends = torch.arange(1, ids.numel() + 1, device=ids.device)
            shape = () if isinstance(column, Ragged) else tuple(column.shape)
            part = Apart(ids.numel(), shape, offsets if isinstance(column, Ragged) else None)
        values.append(ids)
        segments.append(ends + base)
        parts.append(part)
        base += ids.numel()
        ends_of_tables[table] = base
    return values, running_offsets(ends_of_tables), torch.cat(segments), parts


def _tiled(ids: Tensor, offsets: Tensor, tile_len: int) -> tuple[Tensor, Tensor, Apart]:
    """Return (the first `tile_len` ids of each row, the end of each of `tile_len` segments a row, what becomes of them)."""
    lengths, num_rows = offsets.diff(), offsets.numel() - 1
    place = torch.arange(ids.numel(), device=ids.device) - offsets[:-1].repeat_interleave(lengths)
    kept = lengths.clamp_max(tile_len)
    within = torch.minimum(torch.arange(1, tile_len + 1, device=ids.device), kept.unsqueeze(1))
    ends = (kept.cumsum(0) - kept).unsqueeze(1) + within
    return ids[place < tile_len], ends.reshape(-1), Apart(num_rows * tile_len, (num_rows, tile_len), None)


def running_offsets(ends_of_tables: list[int]) -> Tensor:
    """Return int64 [T + 1] of where each table's ids end, those of tables without ids being 0 in `ends_of_tables`."""
    return torch.tensor([0, *itertools.accumulate(ends_of_tables, max)])


@functools.lru_cache(maxsize=64)
def _one_id_each(tables: tuple[int, ...], num_tables: int, num_rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (table_offsets, segments) where every feature has one id a row: all that most batches of a run need, made once."""
    ends_of_tables = [0] * num_tables
    for position, table in enumerate(tables):
        ends_of_tables[table] = (position + 1) * num_rows
    return running_offsets(ends_of_tables), torch.arange(len(tables) * num_rows + 1, device=device)


def check_device(group: TableGroup, feature: str, table: int, column: Column) -> None:
    values = column.values if isinstance(column, Ragged) else column
    if values.device != group.device:
        raise DataError(
            f"feature {feature!r}: its ids are on {values.device}, its table {group.tables[table].name!r} lives on {group.device}; "
            f"move the batch with Batch.to({str(group.device)!r})"
        )


def ids_of(feature: str, column: Column) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return (ids [N], start of each row [rows], weights or None) of a column."""
    values = column.values if isinstance(column, Ragged) else column
    if isinstance(column, Ragged) and column.is_bytes:
        raise DataError(f"feature {feature!r}: embeddings need integer ids, got text; hash or bucketize it in its Feature")
    if values.dtype.is_floating_point or values.dtype.is_complex or values.dtype == torch.bool:
        raise DataError(f"feature {feature!r}: embeddings need integer ids, got {values.dtype}; hash or bucketize it in its Feature")
    if isinstance(column, Ragged):
        if len(column.offsets) != 1:
            raise DataError(f"feature {feature!r}: a pooled embedding needs ids of one level, got {len(column.offsets)}")
        offsets = column.offsets[0]
        # A device's offsets go unchecked: looking at them would wait for it.
        if offsets.device == HOST and (int(offsets[0]) != 0 or int(offsets[-1]) != values.numel()):
            raise DataError(
                f"feature {feature!r}: offsets run from {int(offsets[0])} to {int(offsets[-1])}, expected 0 to {values.numel()}"
            )
        return column.values.long().contiguous(), offsets[:-1], column.weights
    if column.dim() not in (1, 2):
        raise DataError(f"feature {feature!r}: dense ids must be [rows] or [rows, width], got {list(column.shape)}")
    width = 1 if column.dim() == 1 else column.shape[1]
    return column.reshape(-1).long().contiguous(), torch.arange(column.shape[0], device=column.device) * width, None
