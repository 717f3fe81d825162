"""ORC files to batches of tensors: `Dataset` beside a plain pyarrow loop, and beside pyarrow merely decoding.

All 40 columns of the Criteo parts (label and 13 numbers dense float32, 26 id columns ragged int64), batches of 1024 rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import orc

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.errors import DataError
from sparrow.io import Dataset
from sparrow.types import ColumnSpec, Ragged

_BATCH_SIZE = 1024
_DENSE = ("label", *(f"i{index}" for index in range(1, 14)))
_IDS = tuple(f"c{index}" for index in range(1, 27))
_MISSING = 0.0


def dataset_of(paths: list[str], prefetch: int = 2) -> Dataset:
    dense = [ColumnSpec(name, kind="dense", default=_MISSING, dtype=torch.float32) for name in _DENSE]
    return Dataset(paths, [*dense, *_IDS], batch_size=_BATCH_SIZE, prefetch=prefetch)


def sparrow_totals(dataset: Dataset) -> tuple[int, int, float]:
    """Read an epoch; return rows, a checksum of ids and offsets, and the sum of the numbers."""
    rows, ids, numbers = 0, 0, 0.0
    for batch in dataset:
        first, last = batch["i1"], batch["c26"]
        assert isinstance(first, torch.Tensor)
        assert isinstance(last, Ragged)
        rows += batch.num_samples
        ids += int(last.values.sum()) + int(last.offsets[0].sum())
        numbers += float(first.sum(dtype=torch.float64))
    return rows, ids, numbers


def pyarrow_batches(paths: list[str]) -> Iterator[dict[str, Any]]:
    """The loop one writes first: a file at a time, slices of 1024 rows, what is left goes before the next file."""
    left: pa.Table | None = None
    for path in paths:
        table = orc.ORCFile(path).read(columns=[*_DENSE, *_IDS])
        table = table if left is None else pa.concat_tables([left, table]).combine_chunks()
        full = table.num_rows // _BATCH_SIZE * _BATCH_SIZE
        for begin in range(0, full, _BATCH_SIZE):
            yield _tensors_of(table.slice(begin, _BATCH_SIZE))
        left = table.slice(full)
    if left is not None and left.num_rows:
        yield _tensors_of(left)


def _tensors_of(table: pa.Table) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in table.column_names:
        array = table.column(name).combine_chunks()
        offsets = array.offsets.to_numpy().astype(np.int64)
        offsets -= offsets[0]
        values = array.flatten().to_numpy()
        if name in _DENSE:
            dense = np.full(len(array), _MISSING, dtype=np.float32)
            dense[np.diff(offsets) > 0] = values
            out[name] = torch.from_numpy(dense)
        else:
            out[name] = (torch.from_numpy(values.copy()), torch.from_numpy(offsets))
    return out


def pyarrow_totals(paths: list[str]) -> tuple[int, int, float]:
    rows, ids, numbers = 0, 0, 0.0
    for batch in pyarrow_batches(paths):
        values, offsets = batch["c26"]
        rows += len(batch["label"])
        ids += int(values.sum()) + int(offsets.sum())
        numbers += float(batch["i1"].sum(dtype=torch.float64))
    return rows, ids, numbers


def decode_only(paths: list[str]) -> int:
    """Rows that pyarrow decodes into Arrow memory, with no tensors made: a bound for one thread."""
    rows = 0
    for path in paths:
        file = orc.ORCFile(path)
        rows += sum(file.read_stripe(stripe, columns=[*_DENSE, *_IDS]).num_rows for stripe in range(file.nstripes))
    return rows


def run(options: Options) -> Iterable[Result]:
    paths = sorted(map(str, (options.data / "criteo_orc").glob("part-*.orc")))
    if not paths:
        raise DataError(f"no part-*.orc in {options.data / 'criteo_orc'}; name the folder of real data sets by --data or SPARROW_DATA")
    dataset = dataset_of(paths)
    expected = pyarrow_totals(paths)
    assert sparrow_totals(dataset) == expected
    functions = {"sparrow": lambda: sparrow_totals(dataset), "pyarrow loop": lambda: pyarrow_totals(paths)}
    yield rate("40 columns to tensors", expected[0], interleaved(functions, options.runs), unit="M rows/s")
    functions = {"sparrow": lambda: sparrow_totals(dataset), "pyarrow decoding alone": lambda: decode_only(paths)}
    yield rate("the same, beside a bound", expected[0], interleaved(functions, options.runs), unit="M rows/s")
