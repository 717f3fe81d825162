"""column_io: files to batches of tensors, beside pyarrow merely decoding them, and beside pyarrow's scanner into tensors.

    python -m benchmarks column_io [--threads N]

All 40 columns of the Criteo parts (label and 13 numbers dense float32, 26 id columns ragged int64), as ORC and as Parquet, batches of 1,024
and of 8,192 rows, on one thread (nothing read ahead) and on N. The goal is 90% of pyarrow decoding on as many threads, one file a thread.
Rows are compared by sums once, untimed; what is timed makes every column of every batch and looks at none, as its peers do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import torch
from pyarrow import orc, parquet

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.errors import DataError
from sparrow.io import Dataset
from sparrow.types import ColumnSpec, Ragged

_BATCH_SIZES = (1024, 8192)
_DENSE = ("label", *(f"i{index}" for index in range(1, 14)))
_IDS = tuple(f"c{index}" for index in range(1, 27))
_COLUMNS = [*_DENSE, *_IDS]
_MISSING = 0.0
Totals = tuple[int, int, float]


def dataset_of(paths: list[str], batch_size: int, prefetch: int, num_threads: int = 1) -> Dataset:
    dense = [ColumnSpec(name, kind="dense", default=_MISSING, dtype=torch.float32) for name in _DENSE]
    return Dataset(paths, [*dense, *_IDS], batch_size=batch_size, prefetch=prefetch, num_threads=num_threads)


def sparrow_rows(dataset: Dataset) -> int:
    """Make the batches of an epoch, every column of each; return their rows."""
    return sum(batch.num_samples for batch in dataset)


def sparrow_totals(dataset: Dataset) -> Totals:
    """Read an epoch; return rows, a checksum of ids and offsets, and the sum of the numbers."""
    rows, ids, numbers = 0, 0, 0.0
    for batch in dataset:
        first, last = batch["i1"], batch["c26"]
        assert isinstance(first, torch.Tensor)
        assert isinstance(last, Ragged)
        rows += batch.num_samples
        ids += int(last.values.sum()) + int(last.lengths().sum())
        numbers += float(first.sum(dtype=torch.float64))
    return rows, ids, numbers


def scanner_totals(paths: list[str], format: str, batch_size: int) -> Totals:
    """The same by `pyarrow.dataset`'s scanner and NumPy."""
    rows, ids, numbers = 0, 0, 0.0
    scanner = pyarrow.dataset.dataset(paths, format=format).scanner(columns=_COLUMNS, batch_size=batch_size)
    for batch in scanner.to_batches():
        columns = _tensors_of(batch)
        values, offsets = columns["c26"]
        rows += batch.num_rows
        ids += int(values.sum()) + int(offsets[-1])
        numbers += float(columns["i1"].sum(dtype=torch.float64))
    return rows, ids, numbers


def scanner_rows(paths: list[str], format: str, batch_size: int) -> int:
    """Make the tensors of an epoch so; return their rows."""
    rows = 0
    for batch in pyarrow.dataset.dataset(paths, format=format).scanner(columns=_COLUMNS, batch_size=batch_size).to_batches():
        _tensors_of(batch)
        rows += batch.num_rows
    return rows


def _tensors_of(batch: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in batch.schema.names:
        array = batch.column(name)
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


def _pieces(path: str) -> Iterator[Callable[[], Any]]:
    if path.endswith(".orc"):
        file = orc.ORCFile(path)
        return (partial(file.read_stripe, stripe, columns=_COLUMNS) for stripe in range(file.nstripes))
    groups = parquet.ParquetFile(path)
    return (partial(groups.read_row_group, group, columns=_COLUMNS, use_threads=False) for group in range(groups.num_row_groups))


def decoded_rows(paths: list[str], threads: int) -> int:
    """Return the rows that pyarrow decodes into Arrow memory, with no tensors made: a bound."""

    def of_file(path: str) -> int:
        return sum(decode().num_rows for decode in _pieces(path))

    if threads == 1:
        return sum(map(of_file, paths))
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(of_file, paths))


def run(options: Options) -> Iterable[Result]:
    paths = sorted(map(str, (options.data / "criteo_orc").glob("part-*.orc")))
    if not paths:
        raise DataError(f"no part-*.orc in {options.data / 'criteo_orc'}; name the folder of real data sets by --data or SPARROW_DATA")
    with tempfile.TemporaryDirectory() as folder:
        copies = [str(Path(folder) / f"{Path(path).stem}.parquet") for path in paths]
        for path, copy in zip(paths, copies, strict=True):
            parquet.write_table(orc.ORCFile(path).read(), copy)
        for threads in dict.fromkeys([1, options.threads]):
            pa.set_cpu_count(threads)
            # The threads that are counted are those that decode; what is left is too little for threads of torch's own beside them.
            torch.set_num_threads(1)
            for format, files in (("orc", paths), ("parquet", copies)):
                for batch_size in _BATCH_SIZES:
                    yield from _measured(files, format, batch_size, threads, options.runs)


def _measured(files: list[str], format: str, batch_size: int, threads: int, runs: int) -> Iterable[Result]:
    dataset = dataset_of(files, batch_size, prefetch=0 if threads == 1 else 2 * threads, num_threads=threads)
    expected = scanner_totals(files, format, batch_size)
    assert sparrow_totals(dataset) == expected
    case = f"{format}, batches of {batch_size}, {threads} thread{'s' * (threads > 1)}"
    for peer, function in (
        ("pyarrow-decode, goal 0.9", lambda: decoded_rows(files, threads)),
        ("pyarrow-scanner", lambda: scanner_rows(files, format, batch_size)),
    ):
        times = interleaved({"sparrow": lambda: sparrow_rows(dataset), peer: function}, runs)
        yield rate(case, expected[0], times, unit="M rows/s")
