"""What is known of a feature before any data, whom an error names, and what a transform must offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from sparrow.errors import BackendError, DataError
from sparrow.types import Column

Values = Literal["any", "number", "id"]


@dataclass(frozen=True, slots=True)
class FeatureType:
    """What is known of a feature before any data: its values, and whether every row has the same number of them.

    values: `"number"`, `"id"` (int64), or `"any"` until a transform or the file decides.
    dense:  True for a tensor, False for rows of different lengths, None where the file decides.
    """

    values: Values = "any"
    dense: bool | None = None


UNKNOWN = FeatureType()


# Context and Call are not frozen: one of each is made for every column of every batch, and frozen ones take three times as long to make.
@dataclass(slots=True)
class Context:
    """Whom to name in an error: the feature and its column; `locate` tells the file and row of a row of the column."""

    feature: str
    column: str
    locate: Callable[[int], str]

    def error(self, problem: str, row: int = 0) -> DataError:
        """Return a `DataError` that names feature, column, and where `row` came from: the first where all rows are wrong."""
        return DataError(f"feature {self.feature!r}, column {self.column!r}, {self.locate(row)}: {problem}")

    def late_error(self, problem: str) -> DataError:
        """Return the error of what a replay of a captured step met: its rows are known no more."""
        return DataError(
            f"feature {self.feature!r}, column {self.column!r}, in a step that a graph repeated: {problem}. It was taken all the same; "
            f"the function that was captured, called with such a batch, names the row"
        )

    def refusal(self, problem: str) -> BackendError:
        """Return the error of what a device cannot do, whatever the data: it names feature and column."""
        return BackendError(f"feature {self.feature!r}, column {self.column!r}: {problem}")


class Step(Protocol):
    """What makes a column of others: a frozen, hashable dataclass. Equal ones are computed once.

    kind: its name in errors, plans and files.
    """

    @property
    def kind(self) -> str: ...

    def output_type(self, *given: Any) -> FeatureType:
        """Return the type of what it makes of columns of `given` types. Raises `ConfigError` where it cannot follow them."""
        ...


@runtime_checkable
class Transform(Protocol):
    """A step on one column, your own too: a frozen, hashable dataclass.

    A class that serves many columns by one operator call also has

        @classmethod
        def apply_all(cls, calls: Sequence[Call]) -> list[Column]

    which the planner calls once for all transforms of this kind at one depth; else `apply` is called column by column.
    """

    @property
    def kind(self) -> str: ...

    def output_type(self, given: FeatureType, /) -> FeatureType:
        """Return the type after this transform. Raises `ConfigError` where it cannot follow `given`."""
        ...

    def apply(self, column: Column, context: Context, /) -> Column:
        """Return the transformed column, of as many rows; never writes to `column`. Raises `DataError` by `context.error`."""
        ...


@dataclass(slots=True)
class Call:
    """A step that waits to be computed, with the columns it takes: what `apply_all` gets one of for each feature."""

    transform: Any
    columns: tuple[Column, ...]
    context: Context

    @property
    def column(self) -> Column:
        """The only column."""
        (column,) = self.columns
        return column


def apply_each(calls: Sequence[Call]) -> list[Column]:
    """Compute each call by its transform's own `apply`."""
    return [call.transform.apply(*call.columns, call.context) for call in calls]
