"""Ids of a batch grouped by the rank that owns them: what an exchange sends, and where its answers belong."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "partition_ids(Tensor[] ids, Tensor table_offsets, Tensor salts, Tensor first_slices) -> (Tensor owned_ids, Tensor order, Tensor inverse, Tensor counts)"
)
library.triton_body("partition_ids", "sparrow.ops.partition_ids.triton", sends=False)


@library.shape_function("partition_ids")
def _shapes(ids: list[Tensor], table_offsets: Tensor, salts: Tensor, first_slices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_ids = sum(column.numel() for column in ids)
    order = table_offsets.new_empty(num_ids, dtype=torch.int32)
    counts = table_offsets.new_empty(first_slices.numel() - 1, table_offsets.numel() - 1)
    return table_offsets.new_empty(num_ids), order, torch.empty_like(order), counts


def partition_ids(ids: list[Tensor], table_offsets: Tensor, salts: Tensor, first_slices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the ids grouped by owner, within an owner as they came (so table by table), and how the two orders map to each other.

    An id's slice is the top 16 bits of `mix(id)`, salted by its table (docs/table-format.md); an owner holds consecutive slices.

    Args:
        ids: int64 columns, N ids in all, any values; table 0's first, then table 1's, ... N below 2^31. Columns may be cut anywhere.
        table_offsets: int64 [T + 1]. The CPU wants N as its last entry; on a GPU ids beyond the last entry are none: nobody owns them.
        salts: int64 [T], the salt of each table's header.
        first_slices: int64 [W + 1], never decreasing, from 0 to 65536: owner w holds slices `first_slices[w]` to `first_slices[w + 1] - 1`.

    Returns:
        owned_ids: int64 [N], owner 0's ids first. Zeros after the last.
        order: int32 [N]: `torch.cat(ids)[order] == owned_ids`. -1 after the last.
        inverse: int32 [N]: `owned_ids[inverse] == torch.cat(ids)`. -1 for an id beyond the last table.
        counts: int64 [W, T]: ids of each owner and table. A row's sum is what goes to that owner.

    Errors: a wrong dtype, offsets that decrease, slices that do not run from 0 to 65536, salts that are not one a table.

    Cost: 8 N bytes read twice (the second time from cache), 16 N written, log2(W) compares an id.
    On a GPU N is below 2^30, contents are trusted, ranks within a block cost a scan for every four owners, and 4 N bytes
    are written and read between its kernels.
    """
    return torch.ops.sparrow.partition_ids.default(ids, table_offsets, salts, first_slices)
