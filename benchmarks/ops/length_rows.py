"""length_rows: lengths of the lists of 30 and of 200 columns, beside Tensor.diff a column."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.ragged import NUM_COLUMNS, columns_of, many_columns, rows_of
from sparrow.ops.length_rows.op import length_rows


def run(options: Options) -> Iterable[Result]:
    for num_columns, num_rows in ((NUM_COLUMNS, rows_of(options)), (many_columns(options), rows_of(options) // 16)):
        _, _, offsets = columns_of(options, num_columns, num_rows)
        columns = torch.tensor([[1, 0]] * num_columns)
        assert all(torch.equal(one, bounds.diff()) for one, bounds in zip(length_rows(offsets, columns), offsets, strict=True))

        # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from batch to batch.
        def ours(offsets: list[Tensor] = offsets, columns: Tensor = columns) -> None:
            length_rows(offsets, columns)

        def theirs(offsets: list[Tensor] = offsets) -> None:
            for bounds in offsets:
                bounds.diff()

        num_lists = num_columns * num_rows
        functions = {"sparrow": ours, "torch diff": theirs}
        yield compared(options, f"{num_columns} columns, {num_rows:,} rows", num_lists, functions, must_move_bytes=16 * num_lists)
