"""Row groups of Parquet decoded by `decode_parquet`: columns of numbers and of lists of numbers, which it reads faster than pyarrow.

What it does not decode, or refuses, is left to pyarrow, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from sparrow.io.formats.ranges import read_range
from sparrow.ops.decode_parquet.op import CODECS, decode_parquet
from sparrow.ops.find_chunks.op import find_chunks

_PHYSICAL = {pa.int32(): "INT32", pa.int64(): "INT64", pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
# Chunks nearer to each other than this are read at once; where that makes more reads than these, or reads twice what is wanted, pyarrow's
# reader does better: it reads several ranges of a remote file at a time.
_MAX_GAP_BYTES = 64 * 1024
_MAX_READS = 4
# Behind the footer: its length and the format's name.
_TAIL_BYTES = 8


def chunks_of(source: Any, metadata: Any) -> Tensor:
    """Return where the chunks of an open file lie: int64 [row groups, leaves, 4], as `find_chunks` gives them; none where it cannot.

    metadata: pyarrow's, whose own account of a chunk is not asked for: where a damaged footer has impossible levels, it ends the process.
    """
    end = source.size() - _TAIL_BYTES
    footer = read_range(source, max(0, end - metadata.serialized_size), end)
    return find_chunks(footer, metadata.num_columns)


@dataclass(frozen=True, slots=True)
class DirectColumns:
    """Columns of Parquet files of one schema that are decoded directly.

    schema: the Arrow schema of these columns, N. indices: of their leaves among the file's, int64 [N].
    shapes: int64 [N, 4]: bytes of a number, and the last three of what `decode_parquet` wants to know of a column.
    others: the names that are read by pyarrow.
    """

    schema: Any
    indices: Any
    shapes: Any
    others: tuple[str, ...]

    @staticmethod
    def of(leaves: Any, schema: Any, names: Sequence[str]) -> DirectColumns:
        """Choose those of the columns `names` that can be decoded, by the Parquet schema and the Arrow schema of a file."""
        # By the name before the first dot, the place of the only leaf of a column.
        places: dict[str, int | None] = {}
        for index in range(len(leaves)):
            first = leaves.column(index).path.partition(".")[0]
            places[first] = None if first in places else index
        found: dict[str, tuple[int, list[int]]] = {}
        for name in names:
            field, of_leaf = schema.get_field_index(name), places.get(name)
            shape = None if field < 0 or of_leaf is None else _shape_of(schema.field(field), leaves.column(of_leaf))
            if shape is not None and of_leaf is not None:
                found[name] = of_leaf, shape
        fields = [schema.field(name) for name in found]
        indices = np.array([index for index, _ in found.values()], dtype=np.int64)
        shapes = np.array([shape for _, shape in found.values()], dtype=np.int64).reshape(-1, 4)
        return DirectColumns(pa.schema(fields), indices, shapes, tuple(name for name in names if name not in found))

    def read(self, source: Any, chunks: Tensor, num_rows: int) -> Any | None:
        """Return the columns of a row group as a record batch, None where they must be read another way.

        source: the open file. chunks: of the row group, as `find_chunks` gives them, [leaves, 4]. num_rows: of the row group.
        """
        wanted = chunks.numpy()[self.indices]
        codecs, num_values, begins, ends = wanted.T
        # The format's first compressions are those of `CODECS`, in this order.
        if not ((codecs >= 0) & (codecs < len(CODECS))).all():
            return None
        runs, run_of_chunk = _runs_of(begins, ends)
        if len(runs) > _MAX_READS or (runs[:, 1] - runs[:, 0]).sum() > 2 * (ends - begins).sum() or runs[-1, 1] > source.size():
            return None
        tensors = [read_range(source, begin, end) for begin, end in runs.tolist()]
        if any(tensor.numel() < end - begin for tensor, (begin, end) in zip(tensors, runs.tolist(), strict=True)):
            return None
        first = runs[run_of_chunk, 0]
        places = np.stack([run_of_chunk, begins - first, ends - first, codecs], 1)
        columns = np.concatenate([places, self.shapes[:, :1], num_values[:, None], self.shapes[:, 1:]], 1)
        array = torch.empty(10, dtype=torch.int64)
        if decode_parquet(array, tensors, torch.from_numpy(columns), num_rows) >= 0:
            return None
        return pa.RecordBatch._import_from_c(array.data_ptr(), self.schema)


def _shape_of(field: Any, leaf: Any) -> list[int] | None:
    """Return a row of `DirectColumns.shapes` for a column with one leaf, None where such is not decoded."""
    is_list = pa.types.is_list(field.type)
    item = field.type.value_field if is_list else field
    # A list is a group of a repeated group of the item, whatever the two inner ones are called.
    depth = int(field.nullable) + (1 + int(item.nullable) if is_list else 0)
    if leaf.physical_type != _PHYSICAL.get(item.type) or leaf.path.count(".") != (2 if is_list else 0):
        return None
    if leaf.max_repetition_level != int(is_list) or leaf.max_definition_level != depth:
        return None
    return [item.type.bit_width // 8, int(is_list), int(field.nullable), int(is_list and item.nullable)]


def _runs_of(begins: Any, ends: Any) -> tuple[Any, Any]:
    """Return runs of bytes that hold chunks near to each other, [runs, 2], begin and end, and the run of each chunk."""
    order = begins.argsort(kind="stable")
    begins, reach = begins[order], np.maximum.accumulate(ends[order])
    is_first = np.concatenate([[True], begins[1:] > reach[:-1] + _MAX_GAP_BYTES])
    firsts = np.flatnonzero(is_first)
    run_of_chunk = np.empty_like(order)
    run_of_chunk[order] = is_first.cumsum() - 1
    return np.stack([begins[firsts], reach[np.append(firsts[1:], len(order)) - 1]], 1), run_of_chunk
