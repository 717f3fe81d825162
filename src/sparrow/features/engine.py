"""Columns to features, batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sparrow.errors import ConfigError
from sparrow.features.chains import ChainCalls, ChainUnit
from sparrow.features.expression import Expression, in_order
from sparrow.features.feature import Feature
from sparrow.features.fitting.learned import Learned
from sparrow.features.groups import GroupedColumns
from sparrow.features.layout import nbytes_of
from sparrow.features.plan import Plan, PlannerNode, StepUnit, sources_of
from sparrow.features.types import Call, Context, apply_each
from sparrow.types import Batch, ColumnSpec
from sparrow.types.batch import num_rows_of


class FeatureEngine(nn.Module):
    """Computes features from a batch's columns. Has no parameters; the input batch is never changed.

    Args:
        features: each with its own name and a selected column.
        fuse: False computes every transform by itself: the same results, bit for bit, slower.

    Equal sub-expressions are computed once a batch; transforms of one kind at one depth are one operator call over all their columns, and
    chains of element-wise ones run in one pass (`explain()` shows the calls). A feature stays in the batch group of its columns; one made
    of columns of several groups is one of the samples.
    """

    def __init__(self, features: Sequence[Feature], *, fuse: bool = True) -> None:
        super().__init__()
        self.features = _checked(features)
        self.plan = Plan.of(self.features, fuse=fuse)
        self._calls = [_NodeCalls(node, self.plan.feature_of) for node in self.plan.nodes]

    @property
    def columns(self) -> list[ColumnSpec]:
        """The columns a reader must read, each once, in order of first use."""
        return [ColumnSpec(name) for name in self.plan.columns]

    @property
    def counters(self) -> dict[str, int]:
        """How many NaN and infinities `finite` met so far, by feature: of every feature that counts them."""
        found: Counter[str] = Counter()
        for calls in self._calls:
            if calls.chains is not None:
                found.update({self.plan.feature_of[unit.result]: count for unit, count in calls.chains.counted()})
        return dict(found)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, batch: Batch) -> Batch:
        """Return a batch whose columns are the features. Raises `DataError` naming feature and column."""
        return self._compute(batch).batch_of(self.features)

    def _compute(self, batch: Batch) -> GroupedColumns:
        known = GroupedColumns(batch)
        for calls in self._calls:
            calls.run(known)
        return known

    def explain(self, batch: Batch | None = None) -> str:
        """Return the plan as text: the operator calls, the columns each serves, and what every feature is made from.

        batch: where given, it is computed, and the bytes that each call reads and writes are shown.
        """
        from sparrow.features.explain import as_text

        return as_text(self.plan, None if batch is None else self._traffic(batch))

    def draw(self, batch: Batch | None = None) -> str:
        """Return the plan as a drawing: a self-contained SVG of columns, operator calls and features. batch: as for `explain`."""
        from sparrow.features.drawing import as_svg

        return as_svg(self.plan, None if batch is None else self._traffic(batch))

    def save(self, path: str | Path) -> None:
        """Write the plan to a file that `FeatureEngine.load` reads, in training and in serving. The file is whole or absent."""
        from sparrow.features.plan_file import save

        save(self.features, Path(path))

    @staticmethod
    def load(path: str | Path) -> FeatureEngine:
        """Return the engine a file holds. Raises `ConfigError` naming the file where it is none, damaged, or of a newer version."""
        from sparrow.features.plan_file import load

        return FeatureEngine(load(Path(path)))

    def _traffic(self, batch: Batch) -> list[tuple[int, int]]:
        known = self._compute(batch)
        return [calls.traffic(known) for calls in self._calls]


class _NodeCalls:
    """One planner node, ready to run."""

    def __init__(self, node: PlannerNode, feature_of: dict[Expression, str]) -> None:
        self.node = node
        self._sources = [sources_of(unit) for unit in node.units]
        # Whom an error about each unit names: the feature and its columns.
        self._names = [(feature_of[unit.result], " and ".join(unit.result.columns())) for unit in node.units]
        chains = tuple(unit for unit in node.units if isinstance(unit, ChainUnit))
        self.chains = ChainCalls(chains) if chains else None
        self._steps = [unit.result.transform for unit in node.units if isinstance(unit, StepUnit) and unit.result.transform is not None]
        self._apply_all = getattr(self._steps[0], "apply_all", apply_each) if self._steps else apply_each

    def run(self, known: GroupedColumns) -> None:
        """Compute all units of the node. Raises `DataError` naming feature, column and row."""
        found = [known.sources(sources) for sources in self._sources]
        contexts = [Context(*names, known.locator(group)) for names, (_, group) in zip(self._names, found, strict=True)]
        if self.chains is not None:
            results = self.chains.run([columns[0] for columns, _ in found], contexts)
        else:
            results = self._apply_all(
                [Call(step, columns, context) for step, (columns, _), context in zip(self._steps, found, contexts, strict=True)]
            )
        for unit, column, (_, group), context in zip(self.node.units, results, found, contexts, strict=True):
            if num_rows_of(column) != known.num_rows(group):
                raise context.error(f"{unit.kind} made {num_rows_of(column)} rows of {known.num_rows(group)}; a transform keeps them")
            known.keep(unit.result, column, group)

    def traffic(self, known: GroupedColumns) -> tuple[int, int]:
        """Return the bytes that the node reads and writes, after `run`."""
        read = {source: known.sources(sources)[0][place] for sources in self._sources for place, source in enumerate(sources)}
        written = [known.sources([unit.result])[0][0] for unit in self.node.units]
        return sum(map(nbytes_of, read.values())), sum(map(nbytes_of, written))


def _checked(features: Sequence[Feature]) -> list[Feature]:
    if isinstance(features, Feature):
        raise ConfigError(f"FeatureEngine takes a list of features; write FeatureEngine([Feature({features.name!r}), ...])")
    checked = list(features)
    names: set[str] = set()
    for feature in checked:
        if not isinstance(feature, Feature):
            raise ConfigError(f"FeatureEngine takes a list of features, found {feature!r}")
        if feature.name in names:
            raise ConfigError(f"feature {feature.name!r} is declared twice")
        if feature.expression is not None:
            for part in in_order([feature.expression]):
                if isinstance(part.transform, Learned):
                    raise ConfigError(
                        f"feature {feature.name!r}: {part.transform.name} is not fitted; "
                        f"write features = sparrow.features.fit(features, dataset), or use `sparrow data fit`"
                    )
        names.add(feature.name)
    return checked
