"""Row groups of Parquet decoded by `decode_parquet`: columns of numbers and of lists of numbers, which it reads faster than pyarrow.

What it does not decode, or refuses, is left to pyarrow, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from sparrow.io.formats.ranges import read_range
from sparrow.ops.decode_parquet.op import CODECS, decode_parquet
from sparrow.ops.find_chunks.op import find_chunks

_PHYSICAL = {pa.int32(): "INT32", pa.int64(): "INT64", pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
# The format's CompressionCodec -> place in `CODECS`.
_CODECS = {0: CODECS.index("UNCOMPRESSED"), 1: CODECS.index("SNAPPY")}
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
class _Leaf:
    """A column: bytes of a number, and the last three of what `decode_parquet` wants to know."""

    item_bytes: int
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class DirectColumns:
    """Columns of Parquet files of one schema that are decoded directly.

    leaves: in the order of `schema`, the Arrow schema of these columns. indices: of these among the file's leaves, int64.
    others: the names that are read by pyarrow.
    """

    leaves: tuple[_Leaf, ...]
    indices: Tensor
    schema: Any
    others: tuple[str, ...]

    @staticmethod
    def of(leaves: Any, schema: Any, names: Sequence[str]) -> DirectColumns:
        """Choose those of the columns `names` that can be decoded, by the Parquet schema and the Arrow schema of a file."""
        # By the name before the first dot, the place of the only leaf of a column.
        places: dict[str, int | None] = {}
        for index in range(len(leaves)):
            first = leaves.column(index).path.partition(".")[0]
            places[first] = None if first in places else index
        found: dict[str, tuple[int, _Leaf]] = {}
        for name in names:
            field, of_leaf = schema.get_field_index(name), places.get(name)
            leaf = None if field < 0 or of_leaf is None else _leaf_of(schema.field(field), leaves.column(of_leaf))
            if leaf is not None and of_leaf is not None:
                found[name] = of_leaf, leaf
        fields = [schema.field(name) for name in found]
        indices = torch.tensor([index for index, _ in found.values()], dtype=torch.int64)
        others = tuple(name for name in names if name not in found)
        return DirectColumns(tuple(leaf for _, leaf in found.values()), indices, pa.schema(fields), others)

    def read(self, source: Any, chunks: Tensor, num_rows: int) -> Any | None:
        """Return the columns of a row group as a record batch, None where they must be read another way.

        source: the open file. chunks: of the row group, as `find_chunks` gives them, [leaves, 4]. num_rows: of the row group.
        """
        spans, rows = [], []
        for leaf, (codec, num_values, begin, end) in zip(self.leaves, chunks[self.indices].tolist(), strict=True):
            if codec not in _CODECS:
                return None
            spans.append((begin, end))
            rows.append([_CODECS[codec], leaf.item_bytes, num_values, *leaf.shape])
        runs = _runs_of(spans)
        if len(runs) > _MAX_READS or sum(end - begin for begin, end in runs) > 2 * sum(end - begin for begin, end in spans):
            return None
        if runs and runs[-1][1] > source.size():
            return None
        tensors = [read_range(source, begin, end) for begin, end in runs]
        wanted = []
        for (begin, end), row in zip(spans, rows, strict=True):
            run = next(run for run, (_, last) in enumerate(runs) if end <= last)
            first = runs[run][0]
            if first + tensors[run].numel() < end:
                return None
            wanted.append([run, begin - first, end - first, *row])
        array = torch.empty(10, dtype=torch.int64)
        if decode_parquet(array, tensors, torch.tensor(wanted, dtype=torch.int64), num_rows) >= 0:
            return None
        return pa.RecordBatch._import_from_c(array.data_ptr(), self.schema)


def _leaf_of(field: Any, leaf: Any) -> _Leaf | None:
    """Return what `decode_parquet` wants to know of a column with one leaf, None where it does not decode such."""
    is_list = pa.types.is_list(field.type)
    item = field.type.value_field if is_list else field
    # A list is a group of a repeated group of the item, whatever the two inner ones are called.
    depth = int(field.nullable) + (1 + int(item.nullable) if is_list else 0)
    if leaf.physical_type != _PHYSICAL.get(item.type) or leaf.path.count(".") != (2 if is_list else 0):
        return None
    if leaf.max_repetition_level != int(is_list) or leaf.max_definition_level != depth:
        return None
    return _Leaf(item.type.bit_width // 8, (int(is_list), int(field.nullable), int(is_list and item.nullable)))


def _runs_of(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if runs and begin <= runs[-1][1] + _MAX_GAP_BYTES:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        else:
            runs.append((begin, end))
    return runs
