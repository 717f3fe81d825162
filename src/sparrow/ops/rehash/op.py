"""Rebuilds ranges of the id map in new places. `ops/id_map.py` describes the tensors."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("rehash_(Tensor(a!) lines, Tensor headers, Tensor(b!) ranges, Tensor old_headers, Tensor old_ranges) -> ()")
library.triton_body("rehash_", "sparrow.ops.rehash.triton", sends=False)


@library.shape_function("rehash_")
def _shapes(lines: Tensor, headers: Tensor, ranges: Tensor, old_headers: Tensor, old_ranges: Tensor) -> None:
    return None


def rehash_(lines: Tensor, headers: Tensor, ranges: Tensor, old_headers: Tensor, old_ranges: Tensor) -> None:
    """Move the living ids of `old_ranges` to where `ranges` say; rows keep their numbers, erased ids are left behind.

    Args:
        lines: int64 [L, 8]. Mutated: the lines of every rebuilt range.
        headers: int64 [T, 8]: tables, salts and slices as in `old_headers`; the number of ranges may differ.
        ranges: int64 [R, 4]. A range whose number of keys is `REBUILD` is rebuilt, all of a table's where their number differs; its
            lines may overlap its old ones, but no other range's. Mutated: keys and dead of the rebuilt.
        old_headers, old_ranges: what `lines` is now.

    Raises: RuntimeError naming table and range where living ids do not fit; nothing of that table is written then. A GPU cannot tell the host without
        making it wait: there the marks of such a table stay in `ranges`.
    Layout: living ids are inserted in line order; on a GPU all at once, so that the place of an id on its path depends on the schedule.
    Cost: living ids copied out, then placed in mix order: both sides are walked nearly in order. Ranges are divided among threads. On a GPU scratch as large
    as `lines` is reserved.
    """
    torch.ops.sparrow.rehash_.default(lines, headers, ranges, old_headers, old_ranges)
