"""Columns to features, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from sparrow.errors import ConfigError
from sparrow.features.feature import Feature
from sparrow.features.transforms import Context, Transform
from sparrow.types import Batch, Column, ColumnSpec, Group
from sparrow.types.batch import num_rows_of

# A sub-expression: a column and the first transforms applied to it.
_Expression = tuple[str, tuple[Transform, ...]]


class FeatureEngine(nn.Module):
    """Computes features from a batch's columns. Has no parameters; the input batch is never changed.

    Args:
        features: each with its own name and a selected column.

    Equal sub-expressions (the same column through the same first transforms) are computed once a batch. Features stay in the batch
    group of their column.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        if isinstance(features, Feature):
            raise ConfigError(f"FeatureEngine takes a list of features; write FeatureEngine([Feature({features.name!r}), ...])")
        self.features = list(features)
        for feature in self.features:
            if not isinstance(feature, Feature):
                raise ConfigError(f"FeatureEngine takes a list of features, found {feature!r}")
        names = [feature.name for feature in self.features]
        for feature in self.features:
            if feature.column is None:
                raise ConfigError(f"feature {feature.name!r} selects no column; write Feature({feature.name!r}).select(column)")
            if names.count(feature.name) > 1:
                raise ConfigError(f"feature {feature.name!r} is declared twice")

    @property
    def columns(self) -> list[ColumnSpec]:
        """The columns a reader must read, each once, in order of first use."""
        return [ColumnSpec(name) for name in dict.fromkeys(feature.column for feature in self.features if feature.column is not None)]

    def forward(self, batch: Batch) -> Batch:
        """Return a batch whose columns are the features. Raises `DataError` naming feature and column."""
        known: dict[_Expression, Column] = {}
        columns: dict[str, dict[str, Column]] = {name: {} for name in batch.groups}
        # The first group that holds a column owns it, as for `batch[column]`.
        group_of = {column: name for name, group in reversed(batch.groups.items()) for column in group.columns}
        for feature in self.features:
            assert feature.column is not None, "checked when the engine was built"
            if feature.column not in group_of:
                batch.group_of(feature.column)  # raises, naming the nearest column
            group_name = group_of[feature.column]
            columns[group_name][feature.name] = self._compute(feature, batch, group_name, known)
        groups = {name: Group(columns[name], group.num_rows, group.sample_to_row) for name, group in batch.groups.items() if columns[name]}
        return Batch(groups, batch.origin, batch.num_padding)

    def _compute(self, feature: Feature, batch: Batch, group_name: str, known: dict[_Expression, Column]) -> Column:
        assert feature.column is not None, "checked when the engine was built"
        context = Context(feature.name, feature.column, _locator(batch, group_name))
        group = batch.groups[group_name]
        column = group.columns[feature.column]
        for depth, transform in enumerate(feature.steps, start=1):
            expression = (feature.column, feature.steps[:depth])
            if expression not in known:
                result = transform.apply(column, context)
                if num_rows_of(result) != group.num_rows:
                    raise context.error(f"{transform.kind} made {num_rows_of(result)} rows of {group.num_rows}; a transform keeps them")
                known[expression] = result
            column = known[expression]
        return column

    def explain(self) -> str:
        """Return the plan as text: a line a feature."""
        return "\n".join(
            f"{feature.name} <- {feature.column}" + "".join(f" | {step}" for step in feature.steps) for feature in self.features
        )


def _locator(batch: Batch, group_name: str) -> Callable[[int], str]:
    """Return the function that tells the file and row of a row of the group: those of the first sample that reads it."""
    sample_to_row = batch.groups[group_name].sample_to_row
    if sample_to_row is None:
        return batch.locate

    def locate(row: int) -> str:
        samples = (sample_to_row == row).nonzero()
        return batch.locate(int(samples[0])) if samples.numel() else f"row {row} of group {group_name!r}"

    return locate
