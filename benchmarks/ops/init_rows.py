"""init_rows_: normal first values, beside torch's normal_ (whose values depend on the order of rows)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, DIM, NUM_ROWS, blocks, distinct_rows, offsets
from sparrow.ops import id_map
from sparrow.ops.init_rows.op import init_rows_


def run(options: Options) -> Iterable[Result]:
    weights, slots = blocks(DIM), blocks(2 * DIM)
    capacity = len(weights) * weights[0].shape[0]
    rows, ids = distinct_rows(BATCH_IDS), id_map.mix(torch.arange(BATCH_IDS), 0)
    row_ids, meta = torch.zeros(capacity, dtype=torch.int64), torch.zeros(capacity, 4, dtype=torch.int32)
    positions, count = torch.arange(BATCH_IDS, dtype=torch.int32), torch.tensor([BATCH_IDS])
    parameters, seeds = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([7])
    slot_values = torch.zeros(2, dtype=torch.float64)

    def sparrow() -> None:
        init_rows_(weights, slots, [], row_ids, meta, rows, ids, offsets(ids), positions, count, seeds, 2, parameters, slot_values)

    sparrow()
    values = torch.cat(weights)[rows.long()]
    assert abs(float(values.mean())) < 0.01
    assert abs(float(values.std()) - 1) < 0.01
    out, zeros = torch.empty(BATCH_IDS, DIM), torch.empty(BATCH_IDS, 2 * DIM)
    functions = {"sparrow": sparrow, "normal_ and zero_": lambda: (out.normal_(), zeros.zero_())}
    moved = BATCH_IDS * (3 * DIM * 4 + 24)
    assert capacity >= NUM_ROWS
    yield rate(f"262,144 rows, dim {DIM}, Adam", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=moved)
