"""gather_pool: one id a feature, and bags of twenty, beside torch's embedding_bag."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, DIM, NUM_ROWS, blocks, distinct_rows
from sparrow.ops.gather_pool.op import gather_pool


def run(options: Options) -> Iterable[Result]:
    weights = blocks(DIM)
    flat = torch.cat(weights)
    rows = distinct_rows(BATCH_IDS)
    assert flat.shape[0] >= NUM_ROWS
    inverse = torch.arange(BATCH_IDS, dtype=torch.int32)
    combiners, default = torch.zeros(1, dtype=torch.int64), torch.zeros(DIM)
    sink = torch.zeros(()).expand(BATCH_IDS, DIM)
    for name, bag in (("one id a row", 1), ("twenty ids a row", 20)):
        num_samples = BATCH_IDS // bag
        offsets = torch.arange(num_samples + 1) * bag
        offsets[-1] = BATCH_IDS
        mine = gather_pool(sink, weights, default, rows, inverse, offsets, None, combiners, num_samples)
        peer_rows, peer_offsets = rows.long(), offsets[:-1]
        theirs = torch.nn.functional.embedding_bag(peer_rows, flat, peer_offsets, mode="sum")
        assert torch.allclose(mine[:, 0], theirs, atol=1e-4)
        functions = {
            "sparrow": lambda o=offsets, n=num_samples: gather_pool(sink, weights, default, rows, inverse, o, None, combiners, n),
            "embedding_bag": lambda r=peer_rows, o=peer_offsets: torch.nn.functional.embedding_bag(r, flat, o, mode="sum"),
        }
        moved = BATCH_IDS * (DIM * 4 + 8) + num_samples * (DIM * 4 + 8)
        yield rate(f"{name}, dim {DIM}", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=moved)
