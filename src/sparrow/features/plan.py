"""From declared features to few operator calls: equal parts once, chains in one pass, and one call for all parts of a kind at one depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sparrow.errors import ConfigError
from sparrow.features.chains import ChainUnit
from sparrow.features.expression import Expression, in_order
from sparrow.features.feature import Feature
from sparrow.features.transforms.element_wise import ElementWise
from sparrow.features.transforms.numbers import Fill


@dataclass(frozen=True, slots=True)
class StepUnit:
    """A transform that is no part of a chain. result: its expression; the sources are that one's inputs."""

    result: Expression

    @property
    def kind(self) -> str:
        assert self.result.transform is not None
        return self.result.transform.kind


Unit = ChainUnit | StepUnit


@dataclass(frozen=True, slots=True)
class PlannerNode:
    """All parts of one kind at one depth: one operator call. depth: 1 where it reads columns alone, else one more than what it reads."""

    depth: int
    kind: str
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine runs, in order. A function of the features alone.

    features:   names and expressions, as declared.
    columns:    what the reader must read, in order of first use.
    nodes:      the operator calls, in order.
    feature_of: of every expression, the first feature that uses it: whom an error names.
    """

    features: tuple[Feature, ...]
    columns: tuple[str, ...]
    nodes: tuple[PlannerNode, ...]
    feature_of: dict[Expression, str] = field(compare=False)

    @staticmethod
    def of(features: Sequence[Feature], *, fuse: bool = True) -> Plan:
        """Plan `features`. fuse: without it every transform is a node of its own: the same results, for tests and for finding faults."""
        outputs = [_expression(feature) for feature in features]
        parts = list(in_order(outputs))
        feature_of: dict[Expression, str] = {}
        for feature, output in zip(features, outputs, strict=True):
            for part in in_order([output]):
                feature_of.setdefault(part, feature.name)
        columns = tuple(part.column for part in parts if part.column is not None)
        units = _units(parts, set(outputs), fuse)
        return Plan(tuple(features), columns, _nodes(units, fuse), feature_of)


def sources_of(unit: Unit) -> tuple[Expression, ...]:
    """Return the expressions a unit reads."""
    return (unit.source,) if isinstance(unit, ChainUnit) else unit.result.inputs


def _expression(feature: Feature) -> Expression:
    if feature.expression is None:
        raise ConfigError(f"feature {feature.name!r} selects no column; write Feature({feature.name!r}).select(column)")
    return feature.expression


def _units(parts: Sequence[Expression], outputs: set[Expression], fuse: bool) -> list[Unit]:
    """Return the units that compute `parts`, inputs first. A part that is wanted by more than one is made, not computed twice."""
    uses = Counter(used for part in parts for used in part.inputs)
    units: list[Unit] = []
    # The transforms that lead to a part from the last one that is made, and that one.
    pending: dict[Expression, tuple[Expression, tuple[ElementWise, ...]]] = {}
    followers = {used: part for part in parts for used in part.inputs}
    for part in parts:
        if part.transform is None:
            continue
        if not isinstance(part.transform, ElementWise):
            units.append(StepUnit(part))
            continue
        source, before = pending.pop(part.inputs[0], (part.inputs[0], ()))
        chain = (*before, part.transform)
        follower = followers.get(part)
        fuses = (
            fuse
            and part not in outputs
            and uses[part] == 1
            and follower is not None
            and isinstance(follower.transform, ElementWise)
            # Rows without a value are filled as they are read: by the first of a chain, where the column may have such rows.
            and (not isinstance(follower.transform, Fill) or part.output.dense is True)
        )
        if fuses:
            pending[part] = (source, chain)
        else:
            units.append(ChainUnit(source, chain, part))
    return units


def _nodes(units: Sequence[Unit], fuse: bool) -> tuple[PlannerNode, ...]:
    depth_of: dict[Expression, int] = {}
    members: dict[tuple[int, str, str, int], list[Unit]] = {}
    for number, unit in enumerate(units):
        depth = 1 + max((depth_of.get(source, 0) for source in sources_of(unit)), default=0)
        depth_of[unit.result] = depth
        # A kind may be computed by one operator or another, as its parameters say.
        operator = getattr(unit.result.transform, "operator", "") if isinstance(unit, StepUnit) else ""
        members.setdefault((depth, unit.kind, operator, 0 if fuse else number), []).append(unit)
    return tuple(PlannerNode(key[0], key[1], tuple(members[key])) for key in sorted(members))
