"""touch_rows_: stamping the rows of a batch, beside two indexed writes of torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, NUM_ROWS, distinct_rows
from sparrow.ops.touch_rows.op import touch_rows_


def run(options: Options) -> Iterable[Result]:
    meta = torch.zeros(NUM_ROWS, 4, dtype=torch.int32)
    rows, counts, num_rows = distinct_rows(BATCH_IDS), torch.ones(BATCH_IDS, dtype=torch.int32), torch.tensor([BATCH_IDS])
    touch_rows_(meta, rows, counts, num_rows, 5, True)
    assert meta[:, 2].sum() == BATCH_IDS
    assert meta[:, 0].sum() == 5 * BATCH_IDS
    other, index = meta.clone(), rows.long()

    def peer() -> None:
        other[index, 0] = 5
        other[index, 2] += counts

    functions = {"sparrow": lambda: touch_rows_(meta, rows, counts, num_rows, 5, True), "torch indexing": peer}
    yield rate("262,144 rows", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=BATCH_IDS * (32 + 8))
