"""Columns to features, batch by batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sparrow.errors import BackendError, ConfigError, DataError
from sparrow.features.chains import ChainCalls, ChainUnit
from sparrow.features.expression import Expression, exact_key, in_order
from sparrow.features.feature import Feature
from sparrow.features.fitting.learned import Learned
from sparrow.features.groups import GroupedColumns
from sparrow.features.layout import nbytes_of
from sparrow.features.plan import Plan, PlannerNode, StepUnit, sources_of
from sparrow.features.transforms.numbers import Fill
from sparrow.features.transforms.pairs import Several
from sparrow.features.transforms.sequences import OfLists
from sparrow.features.types import Call, Context, apply_each
from sparrow.types import Batch, ColumnSpec, Ragged
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
        parts = list(in_order(feature.expression for feature in self.features if feature.expression is not None))
        number = {part: place for place, part in enumerate(parts)}
        self._num_expressions = len(parts)
        self._leaves = [(place, part.column, self.plan.feature_of[part]) for place, part in enumerate(parts) if part.column is not None]
        self._calls = [_NodeCalls(node, number, self.plan.feature_of) for node in self.plan.nodes]
        self._outputs = [(feature.name, number[feature.expression]) for feature in self.features if feature.expression is not None]

    @property
    def columns(self) -> list[ColumnSpec]:
        """The columns a reader must read, each once, in order of first use; with a default where all that use one fill it alike."""
        return [ColumnSpec(name, default=self._fill_of(name)) for name in self.plan.columns]

    def _fill_of(self, name: str) -> float | None:
        """Return what every use of a column fills it with first, or None: a null of the file then reads as the features want it."""
        column = Expression(name)
        parts = list(in_order(feature.expression for feature in self.features if feature.expression is not None))
        if column in {feature.expression for feature in self.features}:
            return None
        values = [part.transform.value if isinstance(part.transform, Fill) else None for part in parts if column in part.inputs]
        return values[0] if len({exact_key(value) for value in values}) == 1 else None

    @property
    def counters(self) -> dict[str, int]:
        """How many NaN and infinities `finite` met so far, by feature: of every feature that counts them, also where several share them."""
        counted = {unit.result: count for calls in self._calls if calls.chains is not None for unit, count in calls.chains.counted()}
        found: dict[str, int] = {}
        for feature in self.features:
            counts = [counted[part] for part in in_order([feature.expression]) if part in counted] if feature.expression is not None else []
            if counts:
                found[feature.name] = sum(counts)
        return found

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, batch: Batch) -> Batch:
        """Return a batch whose columns are the features. Raises `DataError` naming feature and column."""
        if not isinstance(batch, Batch):
            raise DataError(f"FeatureEngine takes a Batch, found {type(batch).__name__}; Batch.of(columns) makes one of columns by name")
        return self._compute(batch).batch_of(self._outputs)

    def _compute(self, batch: Batch) -> GroupedColumns:
        known = GroupedColumns(batch, self._num_expressions, self._leaves)
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
    """One planner node, ready to run. number: of every expression of the plan. feature_of: the feature that an error about one names."""

    def __init__(self, node: PlannerNode, number: dict[Expression, int], feature_of: dict[Expression, str]) -> None:
        self.node = node
        self._inputs = [tuple(number[source] for source in sources_of(unit)) for unit in node.units]
        self._results = [number[unit.result] for unit in node.units]
        # Whom an error about each unit names: the feature and its columns.
        self._names = [(feature_of[unit.result], " and ".join(unit.result.columns())) for unit in node.units]
        self._sources = [(numbers, feature) for numbers, (feature, _) in zip(self._inputs, self._names, strict=True)]
        chains = tuple(unit for unit in node.units if isinstance(unit, ChainUnit))
        self.chains = ChainCalls(chains) if chains else None
        self._steps = [unit.result.transform for unit in node.units if isinstance(unit, StepUnit) and unit.result.transform is not None]
        self._apply_all = getattr(self._steps[0], "apply_all", apply_each) if self._steps else apply_each

    def run(self, known: GroupedColumns) -> None:
        """Compute all units of the node. Raises `DataError` naming feature, column and row."""
        if self.chains is not None:
            self._run_chains(known, self.chains)
        else:
            self._run_steps(known)

    def _run_chains(self, known: GroupedColumns, chains: ChainCalls) -> None:
        found = [known.column(number) for (number,) in self._inputs]
        columns = [column for column, _ in found]

        def context_of(index: int) -> Context:
            return Context(*self._names[index], known.locator(found[index][1]))

        def alone(index: int) -> None:
            ChainCalls((chains.units[index],)).run([columns[index]], lambda _: context_of(index))

        try:
            results = chains.run(columns, context_of)
        except (ConfigError, RuntimeError) as error:
            raise _named(error, alone, map(context_of, range(len(columns)))) from error
        for number, result, (_, group) in zip(self._results, results, found, strict=True):
            known.keep(number, result, group)

    def _run_steps(self, known: GroupedColumns) -> None:
        found = [known.sources(numbers, feature) for numbers, feature in self._sources]
        calls = [
            Call(step, columns, Context(feature, column, known.locator(group)))
            for step, (feature, column), (columns, group) in zip(self._steps, self._names, found, strict=True)
        ]
        try:
            results = self._apply_all(calls)
        except (ConfigError, RuntimeError) as error:
            raise _named(error, lambda index: self._apply_all([calls[index]]), (call.context for call in calls)) from error
        if len(results) != len(calls):
            raise calls[0].context.error(f"{self.node.kind}: apply_all made {len(results)} columns of {len(calls)} calls")
        for number, result, (_, group) in zip(self._results, results, found, strict=True):
            known.keep(number, result, group)
        if not isinstance(self._steps[0], OfLists | Several):
            self._check(known, calls)

    def _check(self, known: GroupedColumns, calls: Sequence[Call]) -> None:
        """Check what custom transforms made."""
        for number, call in zip(self._results, calls, strict=True):
            result, group = known.column(number)
            if not isinstance(result, Tensor | Ragged):
                raise call.context.error(f"{self.node.kind} made {result!r}, expected a tensor or a Ragged")
            if num_rows_of(result) != known.num_rows(group):
                raise call.context.error(
                    f"{self.node.kind} made {num_rows_of(result)} rows of {known.num_rows(group)}; a transform keeps them"
                )

    def traffic(self, known: GroupedColumns) -> tuple[int, int]:
        """Return the bytes that the node reads and writes, after `run`."""
        read = {number: column for numbers in self._inputs for number, column in zip(numbers, known.sources(numbers)[0], strict=True)}
        written = [known.column(number)[0] for number in self._results]
        return sum(map(nbytes_of, read.values())), sum(map(nbytes_of, written))


def _named(error: Exception, alone: Callable[[int], object], contexts: Iterable[Context]) -> Exception:
    """Return what an operator refused as an error that names feature and column: the first that it refuses alone."""
    if isinstance(error, BackendError | torch.OutOfMemoryError):
        return error
    for index, context in enumerate(contexts):
        try:
            alone(index)
        except (ConfigError, RuntimeError) as found:
            # Where in the C++ it was found is in the error this one is raised from.
            return context.error(re.sub(r"^\w+, \S+:\d+, |^chain 0(, step \d+)?: ", "", str(found).split("\n")[0]))
    return error


def _checked(features: Sequence[Feature]) -> list[Feature]:
    if isinstance(features, Feature):
        raise ConfigError(f"FeatureEngine takes a list of features; write FeatureEngine([Feature({features.name!r}), ...])")
    if not isinstance(features, Iterable):
        raise ConfigError(f"FeatureEngine takes a list of features, found {features!r}")
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
