"""States the operator benchmarks share."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.harness import zipf_ids
from sparrow.ops import id_map
from sparrow.tables.growth import IdMap

NUM_ROWS = 1_000_000
BATCH_IDS = 262_144
DIM = 16
ROWS_PER_BLOCK = 1 << 16


def filled_map(num_rows: int = NUM_ROWS) -> tuple[IdMap, Tensor]:
    """Return (map, ids) of one table that holds `num_rows` ids, rank r's mixed value being the r-th."""
    filled = IdMap([12345])
    filled.reserve(0, num_rows)
    ids = id_map.mix(torch.arange(1, num_rows + 1), 0)
    filled.find_or_insert(ids, offsets(ids))
    return filled, ids


def offsets(ids: Tensor) -> Tensor:
    """Return the table offsets of ids of one table."""
    return torch.tensor([0, ids.numel()])


def zipf_batch(seed: int = 0) -> Tensor:
    """Return BATCH_IDS Zipf(1.05) ids of those in `filled_map`."""
    return zipf_ids(BATCH_IDS, NUM_ROWS, seed=seed)


def blocks(width: int, num_rows: int = NUM_ROWS) -> list[Tensor]:
    """Return row blocks for `num_rows` rows of `width` float32."""
    return [torch.randn(ROWS_PER_BLOCK, width) for _ in range(-(-num_rows // ROWS_PER_BLOCK))]


def distinct_rows(num_rows: int) -> Tensor:
    """Return `num_rows` distinct rows of a table, int32, in random order."""
    return torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(1))[:num_rows].int()
