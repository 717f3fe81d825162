"""Distinct ids by table, in order of first appearance."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("dedup_ids(Tensor[] ids, Tensor table_offsets) -> (Tensor unique_ids, Tensor unique_offsets, Tensor inverse, Tensor counts)")
library.triton_body("dedup_ids", "sparrow.ops.dedup_ids.triton", sends=False)


@library.shape_function("dedup_ids")
def _shapes(ids: list[Tensor], table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_ids = sum(column.numel() for column in ids)
    counts = table_offsets.new_empty(num_ids, dtype=torch.int32)
    return table_offsets.new_empty(num_ids), torch.empty_like(table_offsets), counts, torch.empty_like(counts)


def dedup_ids(ids: list[Tensor], table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the distinct (table, id) pairs and where each occurrence points. Equal ids of two tables stay two.

    Args:
        ids: int64 columns, N ids in all, any values; table 0's first, then table 1's, ... N below 2^31. Columns may be cut anywhere.
        table_offsets: int64 [T + 1]. The CPU wants N as its last entry; on a GPU ids beyond the last entry are none, and get -1 in `inverse`.

    Returns:
        unique_ids: int64 [N]; table t owns `unique_ids[unique_offsets[t]:unique_offsets[t + 1]]`, in order of first appearance. Zeros after the last.
        unique_offsets: int64 [T + 1]; the last entry is the number of distinct pairs.
        inverse: int32 [N]: `unique_ids[inverse] == torch.cat(ids)`.
        counts: int32 [N]: occurrences of each distinct pair. Zeros after the last.

    Cost: 8 N bytes read, 16 N written, and one probe of a scratch table of 8 to 16 bytes an id. Tables run in parallel, all threads share a giant one.
    On a GPU N is below 2^30.
    """
    return torch.ops.sparrow.dedup_ids.default(ids, table_offsets)
