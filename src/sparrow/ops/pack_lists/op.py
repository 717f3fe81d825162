"""Rows of ragged columns that lie in several parts -> the same columns in one piece."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "pack_lists(Tensor[] offsets, Tensor[] values, Tensor rows, Tensor? sizes=None) -> (Tensor offsets, Tensor values, Tensor sizes)"
)
library.triton_body("pack_lists", "sparrow.ops.pack_lists.triton", waits=True)


@library.shape_function("pack_lists")
def _shapes(offsets: list[Tensor], values: list[Tensor], rows: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    context = torch.library.get_ctx()
    num_columns = offsets[0].shape[0]
    packed = offsets[0].new_empty(num_columns, context.new_dynamic_size())
    return packed, values[0].new_empty(context.new_dynamic_size()), rows.new_empty(num_columns)


def pack_lists(offsets: list[Tensor], values: list[Tensor], rows: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of C ragged columns whose rows lie in P parts, end to end.

    Args:
        offsets: for each part, int64 [C, its rows + 1]: each column's from 0 to the number of its values, never decreasing.
        values: P * C tensors of one dtype, part by part.
        rows: int64 [R, 2], on the CPU: begin and end of runs of rows, numbered through all parts, in any order; runs may overlap. Or int64 [R],
            rows one by one; on a GPU these may lie there, and are trusted to be among the parts' then.
        sizes: int64 [C], on the CPU: how many values each column gets, where the caller knows; None: found out. A GPU must else be waited for,
            and is trusted to be given the right ones; the CPU body looks.

    Returns:
        offsets: int64 [C, rows of all runs + 1], of each column from 0 on.
        values: [N], of the dtype of `values`: column after column.
        sizes: int64 [C], on the CPU: how many of the values each column has.

    Cost: a pass over the offsets and a copy of the values, columns shared among threads. On CUDA, with `sizes`: one small copy to the device and
    one launch for up to 32 runs, else two and a scan by torch; a value finds its row by binary search then.
    """
    return torch.ops.sparrow.pack_lists.default(offsets, values, rows, sizes)
