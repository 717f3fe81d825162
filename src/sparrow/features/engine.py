"""Columns to features, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sparrow.errors import ConfigError
from sparrow.features.feature import Feature
from sparrow.features.transforms import Context, Transform
from sparrow.types import Batch, Column, ColumnSpec, Group

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
        names = [feature.name for feature in features]
        for feature in features:
            if feature.column is None:
                raise ConfigError(f"feature {feature.name!r} selects no column; write Feature({feature.name!r}).select(column)")
            if names.count(feature.name) > 1:
                raise ConfigError(f"feature {feature.name!r} is declared twice")
        self.features = list(features)

    @property
    def columns(self) -> list[ColumnSpec]:
        """The columns a reader must read, each once, in order of first use."""
        return [ColumnSpec(name) for name in dict.fromkeys(feature.column for feature in self.features if feature.column is not None)]

    def forward(self, batch: Batch) -> Batch:
        """Return a batch whose columns are the features. Raises `DataError` naming feature and column."""
        known: dict[_Expression, Column] = {}
        columns: dict[str, dict[str, Column]] = {name: {} for name in batch.groups}
        group_of = {column: name for name, group in batch.groups.items() for column in group.columns}
        for feature in self.features:
            assert feature.column is not None, "checked when the engine was built"
            if feature.column not in group_of:
                batch.group_of(feature.column)  # raises, naming the nearest column
            columns[group_of[feature.column]][feature.name] = self._compute(feature, batch, known)
        groups = {name: Group(columns[name], group.num_rows, group.sample_to_row) for name, group in batch.groups.items() if columns[name]}
        return Batch(groups, batch.origin)

    def _compute(self, feature: Feature, batch: Batch, known: dict[_Expression, Column]) -> Column:
        assert feature.column is not None, "checked when the engine was built"
        context = Context(feature.name, feature.column, batch.locate)
        column = batch[feature.column]
        for depth, transform in enumerate(feature.steps, start=1):
            expression = (feature.column, feature.steps[:depth])
            if expression not in known:
                known[expression] = transform.apply(column, context)
            column = known[expression]
        return column

    def explain(self) -> str:
        """Return the plan as text: a line a feature."""
        return "\n".join(
            f"{feature.name} <- {feature.column}" + "".join(f" | {step}" for step in feature.steps) for feature in self.features
        )
