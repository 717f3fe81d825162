"""A batch that stays where it is while its values change: what a captured step reads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.types import Batch, Column, Group, Ragged


class BatchMisfit(DataError):
    """A batch that a captured step cannot take. longer: ragged column -> its values, where more values than there is room for are all that
    keeps it; empty where its shape is another."""

    def __init__(self, message: str, longer: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.longer = dict(longer or {})


class StaticBatch:
    """A batch on `device` of the shapes of `example`, but for ragged columns, which have memory for more values.

    most_values: ragged column -> values it may have; those not named have room for twice the example's. Columns have one level.
    most: what that is, of every ragged column.
    batch: what a step takes. `values` and `weights` of a ragged column are as long as they may be: offsets say which count.

    Raises `ConfigError` for a column the example has not, or has more values of; `DataError` for what cannot be of fixed shape.
    """

    def __init__(self, example: Batch, most_values: Mapping[str, int], device: torch.device) -> None:
        ragged = {name for name in example if isinstance(example[name], Ragged)}
        for name in most_values:
            if name not in ragged:
                raise ConfigError(f"most_values: the batch has no ragged column {name!r}{did_you_mean(name, ragged)}")
        self.most = {name: most_values.get(name, 2 * _values_of(example[name]).numel()) for name in ragged}

        def place(name: str, column: Column) -> Column:
            if isinstance(column, Tensor):
                return torch.zeros(column.shape, dtype=column.dtype, device=device)
            if len(column.offsets) != 1:
                raise DataError(f"column {name!r} has {len(column.offsets)} levels, a captured step takes ragged columns of one")
            values, weights = (
                None if values is None else torch.zeros(self.most[name], *values.shape[1:], dtype=values.dtype, device=device)
                for values in (column.values, column.weights)
            )
            assert values is not None
            return Ragged(values, (torch.zeros(column.num_rows + 1, dtype=torch.int64, device=device),), weights)

        self.batch = Batch(
            {
                name: Group(
                    {key: place(key, column) for key, column in group.columns.items()},
                    group.num_rows,
                    None if group.sample_to_row is None else torch.zeros_like(group.sample_to_row, device=device),
                )
                for name, group in example.groups.items()
            },
            num_padding=example.num_padding,
        )

    def fill(self, batch: Batch) -> None:
        """Copy `batch`, on the device or the CPU, without waiting. Raises `BatchMisfit`, and copies nothing, where it does not fit."""
        self._check_alike(batch)
        targets: list[Tensor] = []
        sources: list[Tensor] = []
        longer: dict[str, int] = {}

        def add(what: str, target: Tensor | None, source: Tensor | None, num: int | None = None) -> None:
            if target is None or source is None:
                if target is not source:
                    raise BatchMisfit(f"{what} {'are new' if target is None else 'are missing'}; a captured step takes batches of one kind")
                return
            into = target if num is None else target[:num]
            if into.shape != source.shape or target.dtype != source.dtype:
                raise BatchMisfit(
                    f"{what} are {source.dtype} {list(source.shape)}, those of the captured step {target.dtype} {list(into.shape)}; "
                    f"call the function that was captured for such batches"
                )
            if into.numel():
                targets.append(into)
                sources.append(source)

        for name, group in batch.groups.items():
            mine = self.batch.groups[name]
            add(f"sample_to_row of group {name!r}", mine.sample_to_row, group.sample_to_row)
            for key, column in group.columns.items():
                own = mine.columns[key]
                if isinstance(column, Tensor) or isinstance(own, Tensor):
                    if not (isinstance(column, Tensor) and isinstance(own, Tensor)):
                        raise BatchMisfit(f"column {key!r} is {_kind(column)}, that of the captured step {_kind(own)}")
                    add(f"values of column {key!r}", own, column)
                    continue
                if len(column.offsets) != 1:
                    raise BatchMisfit(f"column {key!r} has {len(column.offsets)} levels, that of the captured step has 1")
                num = column.values.shape[0]
                if num > self.most[key]:
                    longer[key], num = num, self.most[key]
                    column = Ragged(column.values[:num], column.offsets, None if column.weights is None else column.weights[:num])
                add(f"values of column {key!r}", own.values, column.values, num)
                add(f"weights of column {key!r}", own.weights, column.weights, num)
                add(f"offsets of column {key!r}", own.offsets[0], column.offsets[0])
        for key, num in longer.items():
            raise BatchMisfit(
                f"column {key!r} has {num} values, the captured step takes {self.most[key]} at most; build CapturedStep with "
                f"most_values={{{key!r}: {num}}} or more, or call the function that was captured for such batches",
                longer,
            )
        _copy(targets, sources)

    def _check_alike(self, batch: Batch) -> None:
        expected = {name: list(group.columns) for name, group in self.batch.groups.items()}
        found = {name: list(group.columns) for name, group in batch.groups.items()}
        if {name: set(columns) for name, columns in expected.items()} != {name: set(columns) for name, columns in found.items()}:
            raise BatchMisfit(f"the batch has columns {found}, the step was captured with {expected}")
        mine = self.batch
        for what, num, own in (
            ("samples", batch.num_samples, mine.num_samples),
            ("samples of padding", batch.num_padding, mine.num_padding),
        ):
            if num != own:
                raise BatchMisfit(
                    f"the batch has {num} {what}, the step was captured with {own}; call the function that was captured for such batches"
                )


def _values_of(column: Column) -> Tensor:
    return column if isinstance(column, Tensor) else column.values


def _kind(column: Column) -> str:
    return "dense" if isinstance(column, Tensor) else "ragged"


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy all that is on the device already by as few launches as torch can, and the rest one by one."""
    there = [source.device == target.device for target, source in zip(targets, sources, strict=True)]
    # One call a dtype: torch copies mixed ones one by one.
    of_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for target, source, is_there in zip(targets, sources, there, strict=True):
        if is_there:
            into, out_of = of_dtype.setdefault(target.dtype, ([], []))
            into.append(target)
            out_of.append(source)
    for into, out_of in of_dtype.values():
        torch._foreach_copy_(into, out_of)
    for target, source, is_there in zip(targets, sources, there, strict=True):
        if not is_there:
            target.copy_(source, non_blocking=True)
