"""A batch that stays where it is while its values change: what a captured step reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.types import Batch, Column, Group, Ragged

# Of a ragged column, the values it may have; of one of several levels also the elements that each level may have, outermost first.
Most = int | Sequence[int]


class BatchMisfit(DataError):
    """A batch that a captured step cannot take. longer: ragged column -> the elements of each of its levels, outermost first, where more of
    them than there is room for are all that keeps it; empty where its shape is another."""

    def __init__(self, message: str, longer: Mapping[str, Sequence[int]] | None = None) -> None:
        super().__init__(message)
        self.longer = {name: tuple(sizes) for name, sizes in (longer or {}).items()}


class StaticBatch:
    """A batch on `device` of the shapes of `example`, but for ragged columns, which have memory for more.

    most_values: ragged column -> values it may have: of strings, bytes. Of a column of several levels that is the innermost; or one number
        a level, outermost first: `(lists, values)` of lists of lists, `(strings, bytes)` of lists of strings. What is not said is
        twice what the example has.
    most: what that is, of every ragged column, a number a level.
    batch: what a step takes. All of a ragged column but its outermost offsets is as long as it may be: offsets say which values and which
        lists count. Lists behind the last are empty, values behind the last are anything.

    Raises `ConfigError` for a column the example has not, or has other levels of.
    """

    def __init__(self, example: Batch, most_values: Mapping[str, Most], device: torch.device) -> None:
        sizes = {name: _sizes_of(column) for name in example if isinstance(column := example[name], Ragged)}
        for name in most_values:
            if name not in sizes:
                raise ConfigError(f"most_values: the batch has no ragged column {name!r}{did_you_mean(name, sizes)}")
        self.most = {name: _most_of(name, num, most_values.get(name)) for name, num in sizes.items()}

        def place(name: str, column: Column) -> Column:
            if isinstance(column, Tensor):
                return torch.zeros(column.shape, dtype=column.dtype, device=device)
            *nums, num_values = column.num_rows, *self.most[name]
            values, weights = (
                None if values is None else torch.zeros(num_values, *values.shape[1:], dtype=values.dtype, device=device)
                for values in (column.values, column.weights)
            )
            assert values is not None
            return Ragged(values, tuple(torch.zeros(num + 1, dtype=torch.int64, device=device) for num in nums), weights)

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
        inner: list[tuple[Tensor, int]] = []
        longer: dict[str, tuple[int, ...]] = {}

        def add(what: str, target: Tensor | None, source: Tensor | None, num: int | None = None) -> None:
            if target is None or source is None:
                if target is not source:
                    raise BatchMisfit(f"{what} {'are new' if target is None else 'are missing'}; a captured step takes batches of one kind")
                return
            into, out_of = target[:num], source[:num]
            if into.shape != out_of.shape or target.dtype != source.dtype:
                raise BatchMisfit(
                    f"{what} are {source.dtype} {list(source.shape)}, those of the captured step {target.dtype} {list(into.shape)}; "
                    f"call the function that was captured for such batches"
                )
            if into.numel():
                targets.append(into)
                sources.append(out_of)

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
                if len(column.offsets) != len(own.offsets):
                    raise BatchMisfit(f"column {key!r} has {_levels(column)}, that of the captured step has {_levels(own)}")
                sizes = _sizes_of(column)
                if any(size > most for size, most in zip(sizes, self.most[key], strict=True)):
                    longer[key] = sizes
                # Of one that is too long, what there is room for: all else must fit.
                *nums, num_values = map(min, sizes, self.most[key])
                add(f"values of column {key!r}", own.values, column.values, num_values)
                add(f"weights of column {key!r}", own.weights, column.weights, num_values)
                add(f"offsets of column {key!r}", own.offsets[0], column.offsets[0])
                for num, into, out_of in zip(nums, own.offsets[1:], column.offsets[1:], strict=True):
                    add(f"inner offsets of column {key!r}", into, out_of, num + 1)
                    inner.append((into, num))
        if longer:
            first = next(iter(longer))
            raise BatchMisfit(self._too_long(first, batch[first], longer[first]), longer)
        _copy(targets, sources)
        for offsets, num in inner:
            behind = offsets[num + 1 :]
            if behind.numel():
                behind.copy_(offsets[num : num + 1].expand_as(behind))

    def _too_long(self, name: str, column: Column, sizes: tuple[int, ...]) -> str:
        most, innermost = self.most[name], "bytes" if isinstance(column, Ragged) and column.is_bytes else "values"
        found = f"{sizes[0]} {innermost}, the captured step takes {most[0]} at most"
        if len(sizes) > 1:
            found = f"levels of {list(sizes)} elements, the innermost of {innermost}, the captured step takes {list(most)} at most"
        return (
            f"column {name!r} has {found}; build CapturedStep with most_values={{{name!r}: {sizes[0] if len(sizes) == 1 else sizes}}} or "
            f"more, or call the function that was captured for such batches"
        )

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


def _sizes_of(column: Ragged) -> tuple[int, ...]:
    """Return how many elements there are at each level, outermost first: the host knows it without reading offsets."""
    return (*[level.numel() - 1 for level in column.offsets[1:]], column.values.shape[0])


def _most_of(name: str, sizes: tuple[int, ...], given: Most | None) -> tuple[int, ...]:
    doubled = tuple(2 * size for size in sizes)
    if given is None:
        return doubled
    if isinstance(given, int):
        return (*doubled[:-1], given)
    if len(given) != len(sizes):
        raise ConfigError(
            f"most_values: column {name!r} has {len(sizes)} levels, found {len(given)} numbers; give one a level, outermost first, or the "
            f"innermost alone as a number"
        )
    return tuple(given)


def _levels(column: Ragged) -> str:
    return "1 level" if len(column.offsets) == 1 else f"{len(column.offsets)} levels"


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
