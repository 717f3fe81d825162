"""touch_rows_: stamping the rows of a batch, beside two indexed writes of torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import distinct_rows, sizes_of
from sparrow.ops.touch_rows.op import touch_rows_


def run(options: Options) -> Iterable[Result]:
    sizes, device = sizes_of(options), options.device
    num_rows = sizes.batch_ids
    meta = torch.zeros(sizes.num_rows, 4, dtype=torch.int32, device=device)
    rows, counts = distinct_rows(options, num_rows), torch.ones(num_rows, dtype=torch.int32, device=device)
    number = torch.tensor([num_rows], device=device)
    touch_rows_(meta, rows, counts, number, 5, True)
    assert meta[:, 2].sum() == num_rows
    assert meta[:, 0].sum() == 5 * num_rows
    other, index = meta.clone(), rows.long()

    def peer() -> None:
        other[index, 0] = 5
        other[index, 2] += counts

    functions = {"sparrow": lambda: touch_rows_(meta, rows, counts, number, 5, True), "torch indexing": peer}
    yield compared(options, f"{num_rows:,} rows", num_rows, functions, must_move_bytes=num_rows * (32 + 8))
