"""init_rows_: normal first values, beside torch's normal_ (whose values depend on the order of rows)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import distinct_rows, filled_rows, offsets, sizes_of
from sparrow.ops import id_map
from sparrow.ops.init_rows.op import init_rows_


def run(options: Options) -> Iterable[Result]:
    sizes, device = sizes_of(options), options.device
    num_rows, dim = sizes.batch_ids, sizes.dim
    held = filled_rows(options, "adam", dim)
    capacity = held.meta.shape[0]
    rows, ids = distinct_rows(options, num_rows), id_map.mix(torch.arange(num_rows, device=device), 0)
    row_ids, tables = torch.zeros(capacity, dtype=torch.int64, device=device), offsets(ids)
    positions, count = torch.arange(num_rows, dtype=torch.int32, device=device), torch.tensor([num_rows], device=device)
    parameters, seeds = torch.tensor([[0.0, 1.0]], dtype=torch.float64, device=device), torch.tensor([7], device=device)
    slot_values = torch.zeros(1, 2, dtype=torch.float64, device=device)

    def sparrow() -> None:
        init_rows_(*held[:3], row_ids, held.meta, rows, ids, tables, positions, count, seeds, 2, parameters, slot_values)

    sparrow()
    values = held.gathered(rows.long())
    deviation = 5 / values.numel() ** 0.5  # of the mean; a right one is beyond once in a million
    assert abs(float(values.mean())) < deviation
    assert abs(float(values.std()) - 1) < deviation
    out, zeros = torch.empty(num_rows, dim, device=device), torch.empty(num_rows, 2 * dim, device=device)
    functions = {"sparrow": sparrow, "normal_ and zero_": lambda: (out.normal_(), zeros.zero_())}
    moved = num_rows * (3 * dim * 4 + 24)
    yield compared(options, f"{num_rows:,} rows, dim {dim}, Adam", num_rows, functions, must_move_bytes=moved)
