"""What a feature is computed from: a graph of columns and transforms, in which equal parts are one part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sparrow.features.types import UNKNOWN, FeatureType, Step


@dataclass(frozen=True, slots=True)
class Expression:
    """A column of the batch (`transform` None), or a transform of other expressions. Compared by what it computes.

    column:    name of the column, of a leaf.
    transform: what is done to `inputs`.
    output:    what is known of the type.
    """

    column: str | None = None
    transform: Step | None = None
    inputs: tuple[Expression, ...] = ()
    output: FeatureType = field(default=UNKNOWN, compare=False)
    # Computed once: graphs share parts, and hashing a long chain anew at every look would cost its square.
    _hash: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.column, self.transform, tuple(part._hash for part in self.inputs))))

    def __hash__(self) -> int:
        return self._hash

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
