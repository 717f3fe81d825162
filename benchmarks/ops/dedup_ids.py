"""dedup_ids: a Zipf batch, beside torch.unique."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import offsets, zipf_batch
from sparrow.ops.dedup_ids.op import dedup_ids


def run(options: Options) -> Iterable[Result]:
    batch = zipf_batch(options)
    tables = offsets(batch)
    unique_ids, unique_offsets, inverse, _ = dedup_ids([batch], tables)
    num_unique = int(unique_offsets[-1])
    assert torch.equal(unique_ids[inverse.long()], batch)
    assert torch.equal(unique_ids[:num_unique].sort().values, batch.unique())
    functions = {
        "sparrow": lambda: dedup_ids([batch], tables),
        "torch.unique": lambda: torch.unique(batch, return_inverse=True, return_counts=True),
    }
    yield compared(options, f"{batch.numel():,} Zipf ids", batch.numel(), functions, must_move_bytes=batch.numel() * 24)
