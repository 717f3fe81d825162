"""The seam between tables and everything that moves rows: savers, resharding, deltas, serving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

NUM_SLICES = 65536


@dataclass(frozen=True, slots=True)
class SliceRange:
    """Slices [begin, end) of the id space, `0 <= begin <= end <= NUM_SLICES`. The slice of an id is the top 16 bits of its mixed value."""

    begin: int = 0
    end: int = NUM_SLICES


ALL_SLICES = SliceRange()


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Some rows of one table, in canonical order (unsigned mixed id), so that chunks of a table concatenate sorted.

    table:   name of the table.
    ids:     int64 [n], no duplicates within a table.
    weights: [n, dim], the weight dtype of the table.
    slots:   slot name -> [n, dim] (element-wise) or [n] (row-wise): optimizer state, float32 (float64 beside float64 weights).
    meta:    int32 [n, 3]: step last used, step last changed, occurrences counted (saturating).
    """

    table: str
    ids: Tensor
    weights: Tensor
    slots: dict[str, Tensor]
    meta: Tensor


@runtime_checkable
class RowStore(Protocol):
    """Rows by id, streamed. Row numbers, blocks and map layout never cross this seam."""

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able description: tables (name, dim, dtype, initializer, rule, slots, seed, salt, num_rows, step). Small."""
        ...

    def adopt(self, description: dict[str, Any]) -> None:
        """Check that `description` fits these tables, then take over seeds, salts and step counts. Raises `CheckpointError` naming table
        and field where it does not fit; nothing is changed then. The store must hold no rows."""
        ...

    def export(self, slices: SliceRange = ALL_SLICES, slots: Sequence[str] | None = None, since: int | None = None) -> Iterator[Chunk]:
        """Yield the rows whose slice is in `slices`, table by table, in canonical order, a bounded number of rows a chunk.

        slots: names wanted; None means all. since: only rows with `last_changed >= since`. Rows must not change meanwhile.
        """
        ...

    def load(self, chunks: Iterable[Chunk]) -> None:
        """Insert the rows of `chunks`, replacing rows of equal id. Slots missing from a chunk take their initial value."""
        ...
