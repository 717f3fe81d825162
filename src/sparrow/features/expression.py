"""What a feature is computed from: a graph of columns and transforms, in which equal parts are one part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sparrow.features.types import UNKNOWN, FeatureType, Step


@dataclass(frozen=True, slots=True, eq=False)
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
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.column, self.transform, tuple(part._hash for part in self.inputs))))

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
            if a._hash != b._hash or (a.column, a.transform, len(a.inputs)) != (b.column, b.transform, len(b.inputs)):
                return False
            seen.add((id(a), id(b)))
            pairs += zip(a.inputs, b.inputs, strict=True)
        return True

    def __reduce__(self) -> tuple[type[Expression], tuple[object, ...]]:
        # Hashes of strings differ from process to process: it is computed where the pickle is read.
        return Expression, (self.column, self.transform, self.inputs, self.output)

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
