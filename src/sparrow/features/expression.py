"""What a feature is computed from: a graph of columns and transforms, in which equal parts are one part."""

from __future__ import annotations

import dataclasses
import math
import operator
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from sparrow.features.types import UNKNOWN, FeatureType, Step

# A pickle of a deep graph begins with its parts at every so many levels, since Python allows few calls within calls.
_LEVELS = 50


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Expression:
    """A column of the batch (`transform` None), or a transform of other expressions. Immutable; compared by what it computes.

    column:    name of the column, of a leaf.
    transform: what is done to `inputs`.
    output:    what is known of the type.
    """

    column: str | None = None
    transform: Step | None = None
    inputs: tuple[Expression, ...] = ()
    output: FeatureType = UNKNOWN
    # Computed once: graphs share parts, and hashing a long chain anew at every look would cost its square.
    _key: Any = field(init=False)
    _hash: int = field(init=False)
    _depth: int = field(init=False)
    # The parts below, `_LEVELS` apart, the lowest first.
    _below: tuple[Expression, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", exact_key(self.transform))
        object.__setattr__(self, "_hash", hash((self.column, self._key, tuple(part._hash for part in self.inputs))))
        object.__setattr__(self, "_depth", 1 + max((part._depth for part in self.inputs), default=0))
        object.__setattr__(self, "_below", _levels_below(self.inputs))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expression):
            return NotImplemented
        # Not by recursion, and each pair of parts once: a chain may be long, and a graph has more ways through it than parts.
        pairs, seen = [(self, other)], set()
        while pairs:
            a, b = pairs.pop()
            if a is b or (id(a), id(b)) in seen:
                continue
            if a._hash != b._hash or (a.column, a._key, len(a.inputs)) != (b.column, b._key, len(b.inputs)):
                return False
            seen.add((id(a), id(b)))
            pairs += zip(a.inputs, b.inputs, strict=True)
        return True

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        # Hashes of strings differ from process to process: it is computed where the pickle is read.
        # The lower parts come first, so that the inputs are reached by few calls.
        return _pickled, (self._below, self.column, self.transform, self.inputs, self.output)

    def __repr__(self) -> str:
        """Every part once, by number, inputs first: of a graph of any depth."""
        shown = [
            f"{place}: {column!r}" if transform is None else f"{place}: {transform!r} of {', '.join(map(str, inputs))}"
            for place, (column, transform, inputs, _) in enumerate(_parts_of(self))
        ]
        return f"Expression({'; '.join(shown)})"

    def __copy__(self) -> Expression:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Expression:
        return self

    @property
    def is_column(self) -> bool:
        return self.transform is None

    def columns(self) -> list[str]:
        """Return the names of the columns it reads, each once, in order."""
        return list(dict.fromkeys(part.column for part in in_order([self]) if part.column is not None))


def in_order(expressions: Iterable[Expression]) -> Iterator[Expression]:
    """Yield every part of `expressions` once, inputs first."""
    seen: set[Expression] = set()
    stack = [(expression, False) for expression in reversed(list(expressions))]
    while stack:
        expression, inputs_done = stack.pop()
        if expression in seen:
            continue
        if inputs_done:
            seen.add(expression)
            yield expression
        else:
            stack.append((expression, True))
            stack.extend((part, False) for part in reversed(expression.inputs))


def exact_key(value: Any) -> Any:
    """Return what tells `value` from all that computes something else: `value` itself, but for numbers by their bits.

    -0.0 is not 0.0, and a NaN is itself: what holds one, a tuple or a transform, becomes a tuple of what its parts are told by.
    """
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = float(value)
        special = number != number or (number == 0 and math.copysign(1.0, number) < 0)
        return ("bits", struct.pack("<d", number)) if special else value
    if isinstance(value, tuple):
        # Vocabularies are long, and hold none.
        keys = tuple(map(exact_key, value)) if any(isinstance(one, float | tuple) for one in value) else value
        return value if all(map(operator.is_, keys, value)) else keys
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, one.name) for one in dataclasses.fields(value) if one.compare]
        keys = tuple(map(exact_key, fields))
        return value if all(map(operator.is_, keys, fields)) else (type(value), keys)
    return value


def _parts_of(expression: Expression) -> list[tuple[str | None, Step | None, tuple[int, ...], FeatureType]]:
    """Return every part of an expression, inputs first, which are named by number."""
    number: dict[Expression, int] = {}
    parts: list[tuple[str | None, Step | None, tuple[int, ...], FeatureType]] = []
    for part in in_order([expression]):
        number[part] = len(parts)
        parts.append((part.column, part.transform, tuple([number[one] for one in part.inputs]), part.output))
    return parts


def _levels_below(inputs: tuple[Expression, ...]) -> tuple[Expression, ...]:
    found = [(*part._below, part) if part._depth % _LEVELS == 0 else part._below for part in inputs]
    found = [parts for parts in found if parts]
    if len(found) < 2:
        return found[0] if found else ()
    return tuple(sorted({id(part): part for parts in found for part in parts}.values(), key=lambda part: part._depth))


def _pickled(below: object, column: str | None, transform: Step | None, inputs: tuple[Expression, ...], output: FeatureType) -> Expression:
    return Expression(column, transform, inputs, output)
