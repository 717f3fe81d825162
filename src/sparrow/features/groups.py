"""The columns that are known while a batch is computed, each in a batch group; columns of several groups meet at the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from sparrow.features.expression import Expression
from sparrow.features.feature import Feature
from sparrow.ops.take_rows import take_rows
from sparrow.types import SAMPLE_GROUP, Batch, Column, Group


class GroupedColumns:
    """What was computed so far of one batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        # The first group that holds a column owns it, as for `batch[column]`.
        self._group_of_column = {column: name for name, group in reversed(batch.groups.items()) for column in group.columns}
        self._known: dict[Expression, tuple[Column, str]] = {}
        self._joined: dict[Expression, Column] = {}
        self._locators: dict[str, Callable[[int], str]] = {}
        # Where columns of several groups meet: the group whose rows are the samples.
        samples = (name for name, group in batch.groups.items() if group.sample_to_row is None)
        self._samples = next(samples, SAMPLE_GROUP)

    def sources(self, expressions: Sequence[Expression]) -> tuple[tuple[Column, ...], str]:
        """Return the columns of `expressions` and their group, which is that of the samples where they come from several."""
        if len(expressions) == 1:
            column, group = self._find(expressions[0])
            return (column,), group
        found = [self._find(expression) for expression in expressions]
        groups = {group for _, group in found}
        if len(groups) == 1:
            return tuple(column for column, _ in found), groups.pop()
        joined = [self._at_samples(expression, *one) for expression, one in zip(expressions, found, strict=True)]
        return tuple(joined), self._samples

    def keep(self, expression: Expression, column: Column, group: str) -> None:
        """Remember what `expression` is in this batch."""
        self._known[expression] = column, group

    def num_rows(self, group: str) -> int:
        """Return the rows of a group."""
        return self._batch.groups[group].num_rows if group in self._batch.groups else self._batch.num_samples

    def locator(self, group: str) -> Callable[[int], str]:
        """Return the function that tells the file and row of a row of `group`."""
        if group not in self._locators:
            self._locators[group] = _locator(self._batch, group)
        return self._locators[group]

    def batch_of(self, features: Sequence[Feature]) -> Batch:
        """Return the batch whose columns are `features`, its groups in the order of this one's."""
        columns: dict[str, dict[str, Column]] = {name: {} for name in self._batch.groups}
        for feature in features:
            assert feature.expression is not None, "checked when the engine was built"
            column, group = self._find(feature.expression)
            columns.setdefault(group, {})[feature.name] = column
        groups = {}
        for name, members in columns.items():
            if members:
                given = self._batch.groups.get(name)
                groups[name] = Group(members, self.num_rows(name), None if given is None else given.sample_to_row)
        return Batch(groups, self._batch.origin, self._batch.num_padding)

    def _find(self, expression: Expression) -> tuple[Column, str]:
        known = self._known.get(expression)
        if known is not None:
            return known
        assert expression.column is not None, "the plan computes inputs first"
        if expression.column not in self._group_of_column:
            self._batch.group_of(expression.column)  # raises, naming the nearest column
        name = self._group_of_column[expression.column]
        found = self._known[expression] = self._batch.groups[name].columns[expression.column], name
        return found

    def _at_samples(self, expression: Expression, column: Column, group: str) -> Column:
        """Return a column of a shared group with a row for each sample. Cost: a copy of what they read, once a batch."""
        sample_to_row = self._batch.groups[group].sample_to_row if group in self._batch.groups else None
        if sample_to_row is None:
            return column
        if expression not in self._joined:
            self._joined[expression] = take_rows(column, sample_to_row)
        return self._joined[expression]


def _locator(batch: Batch, group_name: str) -> Callable[[int], str]:
    """Return the function that tells the file and row of a row of the group: those of the first sample that reads it."""
    sample_to_row: Tensor | None = batch.groups[group_name].sample_to_row if group_name in batch.groups else None
    if sample_to_row is None:
        return batch.locate

    def locate(row: int) -> str:
        samples = (sample_to_row == row).nonzero()
        return batch.locate(int(samples[0])) if samples.numel() else f"row {row} of group {group_name!r}"

    return locate
