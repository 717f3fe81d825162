"""Rows to ORC files, in the column types of the public Criteo files: every column a list, empty where the value is missing."""

from __future__ import annotations

import pathlib
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import orc

from sparrow.synth.draws import Floats, Ints
from sparrow.synth.rows import Rows, ids_of_ranks
from sparrow.synth.spec import Shape

_STRIPE_BYTES = 16 << 20
_TEXT_PREFIX = b"v-"
_HEX_PAIRS = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint8).reshape(256, 2)


def table_of(rows: Rows, labels: Floats, shape: Shape, seed: int) -> Any:
    """Return the rows as an Arrow table: `label` and numerics list<double>, ids list<int64>, text string."""
    columns = {"label": _lists(labels, np.ones(len(labels), np.int64))}
    for numeric in shape.numerics:
        values = rows.numerics[numeric.name]
        present = ~np.isnan(values)
        columns[numeric.name] = _lists(values[present], present)
    for column in shape.ids:
        ranks = rows.ranks[column.name]
        present = ranks >= 0
        ids = ids_of_ranks(seed, column.name, ranks[present])
        columns[column.name] = _texts(ids) if column.text else _lists(ids, present.sum(axis=1))
    return pa.table(columns)


class PartWriter:
    """Writes tables end to end into `folder/part-00000.orc`, `part-00001.orc`, ..., `rows_per_file` rows each, the last one short."""

    def __init__(self, folder: pathlib.Path, rows_per_file: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._rows_per_file = rows_per_file
        self._num_files = 0
        self._room = 0
        self._writer: Any = None

    def write(self, table: Any) -> None:
        start = 0
        while start < table.num_rows:
            if self._room == 0:
                self._open_next()
            part = table.slice(start, self._room)
            self._writer.write(part)
            start += part.num_rows
            self._room -= part.num_rows

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _open_next(self) -> None:
        self._close()
        path = self._folder / f"part-{self._num_files:05d}.orc"
        self._writer = orc.ORCWriter(str(path), compression="zstd", stripe_size=_STRIPE_BYTES)
        self._num_files += 1
        self._room = self._rows_per_file

    def _close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def _lists(values: Floats | Ints, lengths: Any) -> Any:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _texts(ids: Ints) -> Any:
    digits = _HEX_PAIRS[np.ascontiguousarray(ids).astype(">i8").view(np.uint8).reshape(-1, 8)].reshape(-1, 16)
    prefix = np.broadcast_to(np.frombuffer(_TEXT_PREFIX, np.uint8), (len(ids), len(_TEXT_PREFIX)))
    letters = np.concatenate([prefix, digits], axis=1)
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(letters.tobytes()))
