"""What the loop reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sparrow.types import Batch, Stateful


class Dataset(Stateful, Protocol):
    """Batches with a position: `iter` yields the rest of the current epoch, then moves to the start of the next. `Dataset` is one."""

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        ...

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]: ...
