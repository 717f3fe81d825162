"""pool_update_rows_: gradients of a Zipf batch summed and applied in one pass, beside the same in two."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import Rows, distinct_rows, filled_rows, offsets, sizes_of, zipf_batch
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.pool_backward.op import pool_backward
from sparrow.ops.pool_update_rows.op import pool_update_rows_
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES


def run(options: Options) -> Iterable[Result]:
    batch, dim, device = zipf_batch(options), sizes_of(options).dim, options.device
    num_ids = batch.numel()
    _, tables, inverse, _ = dedup_ids([batch], offsets(batch))
    num_unique = int(tables[-1])
    grad, segments = torch.randn(num_ids, 1, dim, device=device), torch.arange(num_ids + 1, device=device)
    combiners, rows = torch.zeros(1, dtype=torch.int64, device=device), distinct_rows(options, num_unique)
    for name in ("rowwise_adagrad", "adam"):
        rule, held = RULES[name], filled_rows(options, name, dim)
        other = Rows(*([block.clone() for block in blocks] for blocks in held[:3]), held.meta.clone())
        hyper = torch.tensor([rule.hyper_row(step=1, lr=1e-3)], dtype=torch.float64, device=device)
        settings = (hyper, rule.code, 1)

        def in_one_pass(held: Rows = held, settings: tuple = settings) -> None:
            pool_update_rows_(*held, rows, tables, grad, inverse, segments, None, combiners, *settings, False)

        def in_two(other: Rows = other, settings: tuple = settings) -> None:
            update_rows_(*other, rows, pool_backward(grad, rows, inverse, segments, None, combiners), *settings)

        in_one_pass()
        in_two()
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(held.weights, other.weights, strict=True))
        moved = num_ids * (dim * 4 + 4) + num_unique * (2 * held.row_bytes() + 4)
        functions = {"sparrow": in_one_pass, "pool_backward, then update_rows_": in_two}
        yield compared(options, f"{name}, {num_ids:,} Zipf ids, dim {dim}", num_ids, functions, must_move_bytes=moved)
