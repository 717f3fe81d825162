"""The columns that are known while a batch is computed, each in a batch group; columns of several groups meet at the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparrow.errors import BackendError, DataError, did_you_mean
from sparrow.ops import recorded
from sparrow.ops.take_rows import take_rows
from sparrow.types import SAMPLE_GROUP, Batch, Column, Group, Ragged


class GroupedColumns:
    """What was computed so far of one batch. Every expression of the plan has a number.

    num_expressions: how many there are.
    leaves: of every column that is read: its number, its name, and the feature that an error names.

    Raises `DataError` naming feature and column where the batch has no such column.
    """

    def __init__(self, batch: Batch, num_expressions: int, leaves: Sequence[tuple[int, str, str]]) -> None:
        self._batch = batch
        # The column and its group, by number; what is not computed yet holds nothing anyone reads.
        self._known: list[tuple[Column, str]] = [(_NOTHING, "")] * num_expressions
        groups = [(name, group.columns) for name, group in batch.groups.items()]
        for number, column, feature in leaves:
            # The first group that holds a column owns it, as for `batch[column]`.
            for name, columns in groups:
                if column in columns:
                    self._known[number] = columns[column], name
                    break
            else:
                raise DataError(f"feature {feature!r}: the batch has no column {column!r}{did_you_mean(column, batch)}")
        self._joined: dict[int, Column] = {}
        self._locators: dict[str, Callable[[int], str]] = {}
        # Where columns of several groups meet: the group whose rows are the samples.
        samples = (name for name, group in batch.groups.items() if group.sample_to_row is None)
        self._samples = next(samples, SAMPLE_GROUP)

    def column(self, number: int) -> tuple[Column, str]:
        """Return the column of an expression, and its group."""
        return self._known[number]

    def sources(self, numbers: tuple[int, ...], feature: str = "") -> tuple[tuple[Column, ...], str]:
        """Return the columns of expressions and their group, which is that of the samples where they come from several.

        feature: that an error names.
        """
        if len(numbers) == 1:
            column, group = self._known[numbers[0]]
            return (column,), group
        found = [self._known[number] for number in numbers]
        groups = {group for _, group in found}
        if len(groups) == 1:
            return tuple([column for column, _ in found]), groups.pop()
        joined = [self._at_samples(number, *one, feature) for number, one in zip(numbers, found, strict=True)]
        return tuple(joined), self._samples

    def keep(self, number: int, column: Column, group: str) -> None:
        """Remember what an expression is in this batch."""
        self._known[number] = column, group

    def num_rows(self, group: str) -> int:
        """Return the rows of a group."""
        return self._batch.groups[group].num_rows if group in self._batch.groups else self._batch.num_samples

    def locator(self, group: str) -> Callable[[int], str]:
        """Return the function that tells the file and row of a row of `group`."""
        if group not in self._locators:
            self._locators[group] = _locator(self._batch, group)
        return self._locators[group]

    def batch_of(self, features: Sequence[tuple[str, int]]) -> Batch:
        """Return the batch whose columns are `features`, names and numbers, its groups in the order of this one's."""
        columns: dict[str, dict[str, Column]] = {name: {} for name in self._batch.groups}
        for name, number in features:
            column, group = self._known[number]
            columns.setdefault(group, {})[name] = column
        groups = {}
        for name, members in columns.items():
            if members:
                given = self._batch.groups.get(name)
                groups[name] = Group(members, self.num_rows(name), None if given is None else given.sample_to_row)
        return Batch(groups, self._batch.origin, self._batch.num_padding)

    def _at_samples(self, number: int, column: Column, group: str, feature: str) -> Column:
        """Return a column of a shared group with a row for each sample. Cost: a copy of what they read, once a batch."""
        sample_to_row = self._batch.groups[group].sample_to_row if group in self._batch.groups else None
        if sample_to_row is None:
            return column
        if isinstance(column, Ragged) and recorded.current_on(column.values.device) is not None:
            raise BackendError(
                f"feature {feature!r}: lists of group {group!r} are copied for each sample that shares them, as many values as the data "
                f"decides, which a captured step cannot know; compute the feature before the step"
            )
        if number not in self._joined:
            self._joined[number] = take_rows(column, sample_to_row)
        return self._joined[number]


_NOTHING = torch.empty(0)


def _locator(batch: Batch, group_name: str) -> Callable[[int], str]:
    """Return the function that tells the file and row of a row of the group: those of the first sample that reads it."""
    sample_to_row: Tensor | None = batch.groups[group_name].sample_to_row if group_name in batch.groups else None
    if sample_to_row is None:
        return batch.locate

    def locate(row: int) -> str:
        samples = (sample_to_row == row).nonzero()
        return batch.locate(int(samples[0])) if samples.numel() else f"row {row} of group {group_name!r}"

    return locate
