"""pool_backward: Zipf ids, one a row, beside index_add_ of the gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, DIM, offsets, zipf_batch
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.pool_backward.op import pool_backward


def run(options: Options) -> Iterable[Result]:
    batch = zipf_batch()
    _, unique_offsets, inverse, _ = dedup_ids([batch], offsets(batch))
    num_unique = int(unique_offsets[-1])
    rows = torch.arange(num_unique, dtype=torch.int32)
    grad = torch.randn(BATCH_IDS, 1, DIM)
    segments, combiners = torch.arange(BATCH_IDS + 1), torch.zeros(1, dtype=torch.int64)
    positions = inverse.long()
    mine = pool_backward(grad, rows, inverse, segments, None, combiners)
    assert torch.allclose(mine, torch.zeros(num_unique, DIM).index_add_(0, positions, grad[:, 0]), atol=1e-2)
    functions = {
        "sparrow": lambda: pool_backward(grad, rows, inverse, segments, None, combiners),
        "index_add_": lambda: torch.zeros(num_unique, DIM).index_add_(0, positions, grad[:, 0]),
    }
    moved = BATCH_IDS * (DIM * 4 + 4) + num_unique * DIM * 4
    yield rate(f"262,144 Zipf ids, dim {DIM}", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=moved)
