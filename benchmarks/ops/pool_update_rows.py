"""pool_update_rows_: gradients of a Zipf batch summed and applied in one pass, beside the same in two."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, DIM, offsets, zipf_batch
from benchmarks.ops.update_rows import filled_blocks, moved_bytes
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.pool_backward.op import pool_backward
from sparrow.ops.pool_update_rows.op import pool_update_rows_
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES


def run(options: Options) -> Iterable[Result]:
    batch = zipf_batch()
    _, tables, inverse, _ = dedup_ids([batch], offsets(batch))
    num_unique = int(tables[-1])
    grad, segments, combiners = torch.randn(BATCH_IDS, 1, DIM), torch.arange(BATCH_IDS + 1), torch.zeros(1, dtype=torch.int64)
    for name in ("rowwise_adagrad", "adam"):
        rule, held, other = RULES[name], *(filled_blocks(name, DIM, torch.float32) for _ in range(2))
        rows = torch.randperm(held.meta.shape[0], generator=torch.Generator().manual_seed(1))[:num_unique].int()
        hyper = torch.tensor([rule.hyper_row(step=1, lr=1e-3)], dtype=torch.float64)
        for mine, theirs in zip(held.weights, other.weights, strict=True):
            theirs.copy_(mine)
        state, apart = ((one.weights, one.element_slots, one.row_slots, one.meta, rows) for one in (held, other))
        settings = (hyper, rule.code, 1)

        def in_one_pass(state: tuple = state, settings: tuple = settings) -> None:
            pool_update_rows_(*state, tables, grad, inverse, segments, None, combiners, *settings, False)

        def in_two(apart: tuple = apart, settings: tuple = settings) -> None:
            update_rows_(*apart, pool_backward(grad, apart[-1], inverse, segments, None, combiners), *settings)

        in_one_pass()
        in_two()
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(held.weights, other.weights, strict=True))
        moved = BATCH_IDS * (DIM * 4 + 4) + num_unique * (moved_bytes(held) - 2 * 16 - DIM * 4)
        functions = {"sparrow": in_one_pass, "pool_backward, then update_rows_": in_two}
        yield rate(f"{name}, 262,144 Zipf ids, dim {DIM}", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=moved)
