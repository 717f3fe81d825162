"""Features whose parameters come from data -> features whose parameters are known."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch

from sparrow.errors import ConfigError
from sparrow.features.engine import FeatureEngine
from sparrow.features.expression import Expression, in_order
from sparrow.features.feature import Feature
from sparrow.features.fitting.learned import Learned
from sparrow.features.fitting.sketches import Sketch
from sparrow.features.types import Context
from sparrow.ops.take_rows import take_rows
from sparrow.types import Batch, ColumnSpec


def fit(features: Sequence[Feature], batches: Iterable[Batch]) -> list[Feature]:
    """Return `features` with every learned transform replaced by the one that `batches` give.

    batches: iterated once; once more for each depth where a learned transform reads another's result. Rows that only pad a batch do not
    count, and what samples share counts for each.
    Raises `ConfigError` naming the feature where data give no parameters; `DataError` naming feature and column.
    """
    known = list(features)
    for number in itertools.count():
        fitting = Fitting(known)
        if not fitting.is_needed:
            break
        if number and isinstance(batches, Iterator):
            raise ConfigError(
                "fit: a learned transform reads what another makes, and an iterator gives batches once; pass a list or a Dataset"
            )
        for batch in batches:
            fitting.update(batch)
        known = fitting.features()
    return known


class Fitting:
    """One pass over data: summaries of what the learned transforms read, as far as it is known. Passes over parts of the data `merge`."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._features = list(features)
        outputs = [feature.expression for feature in self._features if feature.expression is not None]
        parts = list(in_order(outputs))
        unknown: set[Expression] = set()
        self._learned: list[Expression] = []
        for part in parts:
            if any(source in unknown for source in part.inputs):
                unknown.add(part)
            elif isinstance(part.transform, Learned):
                unknown.add(part)
                self._learned.append(part)
        owner = {
            part: feature.name for feature in reversed(self._features) if feature.expression for part in in_order([feature.expression])
        }
        self._owners = [owner[part] for part in self._learned]
        # What they read, computed by an engine of its own.
        self._engine = FeatureEngine([Feature(str(index), part.inputs[0]) for index, part in enumerate(self._learned)])
        self._sketches: list[Sketch] = [part.transform.sketch() for part in self._learned if isinstance(part.transform, Learned)]

    @property
    def is_needed(self) -> bool:
        """Whether any transform is still to be fitted."""
        return bool(self._learned)

    @property
    def columns(self) -> list[ColumnSpec]:
        """The columns that `update` reads, as a reader takes them."""
        return self._engine.columns

    def update(self, batch: Batch) -> None:
        """Add a batch. Raises `DataError` naming feature and column."""
        inputs = self._engine(batch)
        for index, (part, owner, sketch) in enumerate(zip(self._learned, self._owners, self._sketches, strict=True)):
            group = inputs.group_of(str(index))
            column = group.columns[str(index)]
            assert isinstance(part.transform, Learned)
            if group.sample_to_row is not None:
                column = take_rows(column, group.sample_to_row[: batch.num_samples - batch.num_padding])
            elif batch.num_padding:
                column = take_rows(column, torch.arange(batch.num_samples - batch.num_padding))
            part.transform.update(sketch, column, Context(owner, " and ".join(part.columns()), batch.locate))

    def merge(self, other: Fitting) -> None:
        """Add what another pass, of the same features over other data, has seen."""
        if self._learned != other._learned:
            raise ConfigError("only fittings of the same features can be merged")
        for mine, theirs in zip(self._sketches, other._sketches, strict=True):
            mine.merge(theirs)

    def features(self) -> list[Feature]:
        """Return the features with what this pass read fitted. Raises `ConfigError` naming the feature."""
        made: dict[Expression, Expression] = {}
        fitted = {}
        for part, owner, sketch in zip(self._learned, self._owners, self._sketches, strict=True):
            assert isinstance(part.transform, Learned)
            try:
                fitted[part] = part.transform.fitted(sketch)
            except ConfigError as error:
                raise ConfigError(f"feature {owner!r}, column {' and '.join(part.columns())!r}: {error}") from None
        for part in in_order([feature.expression for feature in self._features if feature.expression is not None]):
            transform = fitted.get(part, part.transform)
            if transform is None:
                made[part] = part
                continue
            inputs = tuple(made[source] for source in part.inputs)
            made[part] = Expression(transform=transform, inputs=inputs, output=transform.output_type(*(one.output for one in inputs)))
        return [Feature(feature.name, None if feature.expression is None else made[feature.expression]) for feature in self._features]
