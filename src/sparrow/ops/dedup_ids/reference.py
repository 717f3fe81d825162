"""`dedup_ids`, plainly."""

import torch
from torch import Tensor


def dedup_ids(columns: list[Tensor], table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids = torch.cat([*columns, torch.empty(0, dtype=torch.int64)])
    index_of: dict[tuple[int, int], int] = {}
    unique_ids, counts = torch.zeros_like(ids), torch.zeros(ids.numel(), dtype=torch.int32)
    unique_offsets, inverse = torch.zeros_like(table_offsets), torch.full((ids.numel(),), -1, dtype=torch.int32)
    for table in range(table_offsets.numel() - 1):
        for position in range(int(table_offsets[table]), int(table_offsets[table + 1])):
            index = index_of.setdefault((table, int(ids[position])), len(index_of))
            unique_ids[index] = ids[position]
            counts[index] += 1
            inverse[position] = index
        unique_offsets[table + 1] = len(index_of)
    return unique_ids, unique_offsets, inverse, counts
