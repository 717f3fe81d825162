"""length_rows: lengths of the lists of 30 and of 200 columns, beside Tensor.diff a column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops.list_columns import NUM_COLUMNS, beside_torch, many_columns, rows_of, zipf_columns
from sparrow.ops.length_rows.op import length_rows


def run(options: Options) -> Iterable[Result]:
    for num_columns, num_rows in ((NUM_COLUMNS, rows_of(options)), (many_columns(options), rows_of(options) // 16)):
        _, _, offsets = zipf_columns(options, num_columns, num_rows)
        columns = torch.tensor([[1, 0]] * num_columns)
        assert all(torch.equal(one, bounds.diff()) for one, bounds in zip(length_rows(offsets, columns), offsets, strict=True))

        num_lists = num_columns * num_rows
        yield beside_torch(
            options,
            f"{num_columns} columns, {num_rows:,} rows",
            num_lists,
            partial(length_rows, offsets, columns),
            Tensor.diff,
            [(bounds,) for bounds in offsets],
            must_move_bytes=16 * num_lists,
            peer="torch diff",
        )
