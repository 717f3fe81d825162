"""`partition_ids`, plainly."""

import torch
from torch import Tensor

from sparrow.ops import id_map


def partition_ids(
    columns: list[Tensor], table_offsets: Tensor, salts: Tensor, first_slices: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids = torch.cat([*columns, torch.empty(0, dtype=torch.int64)])
    num_owners, num_tables = first_slices.numel() - 1, table_offsets.numel() - 1
    positions_of: list[list[int]] = [[] for _ in range(num_owners)]
    counts = torch.zeros(num_owners, num_tables, dtype=torch.int64)
    for table in range(num_tables):
        for position in range(int(table_offsets[table]), int(table_offsets[table + 1])):
            piece = int(id_map.slice_of(ids[position], int(salts[table])))
            for owner in range(num_owners):
                if first_slices[owner] <= piece < first_slices[owner + 1]:
                    positions_of[owner].append(position)
                    counts[owner, table] += 1
    taken = torch.tensor([position for positions in positions_of for position in positions], dtype=torch.int64)
    owned_ids, order = torch.zeros_like(ids), torch.full((ids.numel(),), -1, dtype=torch.int32)
    inverse = torch.full_like(order, -1)
    owned_ids[: taken.numel()] = ids[taken]
    order[: taken.numel()] = taken.int()
    inverse[taken] = torch.arange(taken.numel(), dtype=torch.int32)
    return owned_ids, order, inverse, counts
