"""What the loop reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sparrow.types import Batch, Stateful


class Dataset(Stateful, Protocol):
    """Batches with a position: `iter` yields the rest of the current epoch, then moves to the start of the next.

    A stream (`sparrow.io.streams`) is one too. It does not know its length, and its `iter` may wait: where there is a method `interrupt()`,
    a requested stop calls it, and the iteration then ends at once without the epoch.
    """

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        ...

    @property
    def num_rows(self) -> int | None:
        """Rows of an epoch, None where it is not known."""
        ...

    def __iter__(self) -> Iterator[Batch]: ...
