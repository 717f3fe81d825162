"""gather_pool: one id a sample, and bags of twenty, beside torch's index_select and embedding_bag."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Goal, Options, Result, compared
from benchmarks.ops.tables import blocks, distinct_rows, sizes_of
from sparrow.ops.gather_pool.op import gather_pool


def run(options: Options) -> Iterable[Result]:
    sizes = sizes_of(options)
    num_ids, dim = sizes.batch_ids, sizes.dim
    weights = blocks(options, dim)
    flat, rows = torch.cat(weights), distinct_rows(options, num_ids)
    inverse = torch.arange(num_ids, dtype=torch.int32, device=options.device)
    combiners, default = torch.zeros(1, dtype=torch.int64, device=options.device), torch.zeros(dim, device=options.device)
    sink = torch.zeros((), device=options.device).expand(num_ids, dim)
    index = rows.long()

    def bag(offsets: Tensor) -> Callable[[], Tensor]:
        return lambda: torch.nn.functional.embedding_bag(index, flat, offsets[:-1], mode="sum")

    for name, length, goal in (("one id a sample", 1, Goal(mbu=0.85, ratio=3)), ("twenty ids a sample", 20, Goal(mbu=0.75, ratio=3))):
        num_samples = num_ids // length
        offsets = torch.arange(num_samples + 1, device=options.device) * length
        offsets[-1] = num_ids

        def ours(offsets: Tensor = offsets, num_samples: int = num_samples) -> Tensor:
            return gather_pool(sink, weights, default, rows, inverse, offsets, None, combiners, num_samples)

        peer = (
            ("index_select", lambda: flat.index_select(0, index))
            if length == 1 and options.device != "cpu"
            else ("embedding_bag", bag(offsets))
        )
        assert torch.allclose(ours()[:, 0], peer[1](), atol=1e-4)
        functions = {"sparrow": ours, peer[0]: peer[1]}
        moved = num_ids * (dim * 4 + 8) + num_samples * (dim * 4 + 8)
        yield compared(options, f"{num_ids:,} ids, {name}, dim {dim}", num_ids, functions, must_move_bytes=moved, goal=goal)
