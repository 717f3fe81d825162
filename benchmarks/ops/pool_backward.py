"""pool_backward: Zipf ids, one a sample, beside index_add_ of the gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Goal, Options, Result, compared
from benchmarks.ops.tables import offsets, sizes_of, zipf_batch
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.pool_backward.op import pool_backward


def run(options: Options) -> Iterable[Result]:
    batch, dim = zipf_batch(options), sizes_of(options).dim
    num_ids = batch.numel()
    _, unique_offsets, inverse, _ = dedup_ids([batch], offsets(batch))
    num_unique = int(unique_offsets[-1])
    rows = torch.arange(num_unique, dtype=torch.int32, device=options.device)
    grad = torch.randn(num_ids, 1, dim, device=options.device)
    segments, combiners = torch.arange(num_ids + 1, device=options.device), torch.zeros(1, dtype=torch.int64, device=options.device)
    positions = inverse.long()
    mine = pool_backward(grad, rows, inverse, segments, None, combiners)
    summed = torch.zeros(num_unique, dim, dtype=torch.float64, device=options.device).index_add_(0, positions, grad[:, 0].double())
    # A sum of n float32 is off by at most n halves of the last bit of its terms' sizes.
    size = torch.zeros_like(summed).index_add_(0, positions, grad[:, 0].double().abs())
    assert bool(((mine.double() - summed).abs() <= size * 2.0**-12).all())
    functions = {
        "sparrow": lambda: pool_backward(grad, rows, inverse, segments, None, combiners),
        "index_add_": lambda: grad.new_zeros(num_unique, dim).index_add_(0, positions, grad[:, 0]),
    }
    moved = num_ids * (dim * 4 + 4) + num_unique * dim * 4
    case = f"{num_ids:,} Zipf ids, dim {dim}"
    yield compared(options, case, num_ids, functions, must_move_bytes=moved, goal=Goal(mbu=0.75, ratio=3))
