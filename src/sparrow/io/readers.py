"""Open files of a dataset, kept for the next who reads from them: opening one costs about as much as decoding a small piece."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from sparrow.io.read import FileReader
from sparrow.io.source import Source

_MAX_IDLE = 16


@final
class Readers:
    """Readers of a source's files, each used by one thread at a time; at most 16 lie idle, those used last."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, list[FileReader]] = OrderedDict()
        self._num_idle = 0
        self._is_closed = False

    @contextmanager
    def reading(self, index: int) -> Iterator[FileReader]:
        """Give a reader of a file, which the caller has alone until it leaves. Raises `DataError` where the file cannot be opened."""
        with self._lock:
            waiting = self._idle.get(index)
            reader = waiting.pop() if waiting else None
            self._num_idle -= reader is not None
        reader = reader or FileReader(self.source, index)
        try:
            yield reader
        except BaseException:
            # It may be in any state.
            reader.close()
            raise
        self._keep(reader)

    def _keep(self, reader: FileReader) -> None:
        surplus: FileReader | None = None
        with self._lock:
            if reader.in_order or self._is_closed:
                surplus = reader
            else:
                self._idle.setdefault(reader.index, []).append(reader)
                self._idle.move_to_end(reader.index)
                self._num_idle += 1
                if self._num_idle > _MAX_IDLE:
                    surplus = self._oldest()
        if surplus is not None:
            surplus.close()

    def _oldest(self) -> FileReader:
        for index in list(self._idle):
            if self._idle[index]:
                self._num_idle -= 1
                return self._idle[index].pop()
            del self._idle[index]
        raise AssertionError("a reader is idle")

    def close(self) -> None:
        """Close those that are idle now, and others once they are left."""
        with self._lock:
            self._is_closed = True
            idle = [reader for readers in self._idle.values() for reader in readers]
            self._idle.clear()
        for reader in idle:
            reader.close()
