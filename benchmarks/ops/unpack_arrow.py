"""unpack_arrow: a stripe of 40 columns from Arrow to tensors, beside the same column by column with pyarrow and NumPy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.harness import Options, Result, compared
from sparrow.ops.unpack_arrow.op import DENSE_LIST, LIST, TYPES, unpack_arrow

NUM_DENSE, NUM_LISTS = 14, 26


def run(options: Options) -> Iterable[Result]:
    num_rows = 50 if options.quick else 10_000
    random = np.random.default_rng(7)

    def column(values: Any) -> Any:
        bounds = np.zeros(num_rows + 1, dtype=np.int32)
        np.cumsum(random.random(num_rows) < 0.9, out=bounds[1:])
        return pa.ListArray.from_arrays(bounds, pa.array(values[: bounds[-1]]))

    arrays = [column(random.random(num_rows)) for _ in range(NUM_DENSE)]
    arrays += [column(random.integers(0, 1 << 40, num_rows)) for _ in range(NUM_LISTS)]
    batch = pa.RecordBatch.from_arrays(arrays, [str(index) for index in range(len(arrays))])
    float64, float32, int64 = (TYPES.index(dtype) for dtype in (torch.float64, torch.float32, torch.int64))
    rows = [[index, DENSE_LIST, 4, float64, float32, 1] for index in range(NUM_DENSE)]
    rows += [[index, LIST, 4, int64, int64, 0] for index in range(NUM_DENSE, NUM_DENSE + NUM_LISTS)]
    columns, defaults = torch.tensor(rows), torch.zeros(len(rows), dtype=torch.int64)

    def unpacked() -> list[torch.Tensor]:
        array = torch.empty(10, dtype=torch.int64)
        batch._export_to_c(array.data_ptr())
        return unpack_arrow(array, columns, defaults)

    def by_columns() -> list[Any]:
        out: list[Any] = []
        for index, array in enumerate(batch.columns):
            offsets = array.offsets.to_numpy().astype(np.int64)
            values = array.flatten().to_numpy()
            if index < NUM_DENSE:
                dense = np.zeros(num_rows, dtype=np.float32)
                dense[np.diff(offsets) > 0] = values
                out.append(torch.from_numpy(dense))
            else:
                out.append((torch.from_numpy(offsets), torch.from_numpy(values.copy())))
        return out

    assert torch.equal(unpacked()[2], torch.stack(by_columns()[:NUM_DENSE]))
    moved = num_rows * (4 * (NUM_DENSE + NUM_LISTS) + 12 * NUM_DENSE + 8 * NUM_LISTS)

    # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from piece to piece.
    functions = {"sparrow": lambda: len(unpacked()), "pyarrow and NumPy, column by column": lambda: len(by_columns())}
    yield compared(options, f"{num_rows:,} rows of 40 columns", num_rows, functions, must_move_bytes=moved)
