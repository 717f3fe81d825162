"""What a dataset left out because it could not be read."""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple


class Skipped(NamedTuple):
    """Something left out: a piece of a file, or, where `piece` is None, all of it. `reason` is the error it would have been."""

    path: str
    piece: str | None
    reason: str


class SkipLog:
    """What was left out so far, each thing once however often it is read. The reader thread writes, any thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str | None], Skipped] = {}
        self._counts: Counter[str] = Counter()

    def add(self, path: str, piece: str | None, error: Exception, num_rows: int | None = None) -> None:
        """Note a file or piece, and the rows it had, where known."""
        with self._lock:
            if (path, piece) not in self._found:
                self._found[path, piece] = Skipped(path, piece, str(error).removeprefix(f"{path}: "))
                self._counts["files" if piece is None else "pieces"] += 1
                self._counts["rows"] += num_rows or 0

    @property
    def found(self) -> list[Skipped]:
        with self._lock:
            return list(self._found.values())

    @property
    def counts(self) -> Counter[str]:
        with self._lock:
            return Counter(self._counts)
