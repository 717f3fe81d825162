"""Stamps the rows a lookup used."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "touch_rows_(Tensor(a!) meta, Tensor rows, Tensor counts, Tensor num_rows, int step, bool changed, Tensor? clock=None) -> ()"
)
library.triton_body("touch_rows_", "sparrow.ops.touch_rows.triton", sends=False)


@library.shape_function("touch_rows_")
def _shapes(meta: Tensor, rows: Tensor, counts: Tensor, num_rows: Tensor, step: int, changed: bool, clock: Tensor | None = None) -> None:
    return None


def touch_rows_(
    meta: Tensor, rows: Tensor, counts: Tensor, num_rows: Tensor, step: int, changed: bool, clock: Tensor | None = None
) -> None:
    """Set last_used of each row to `step` and add its occurrences to its count, which saturates at 2^31 - 1.

    Args:
        meta: int32 [capacity, 4]: last_used, last_changed, count, table. Columns 0 and 2 are mutated, 1 where `changed`.
        rows: int32 [N], distinct; -1 is skipped. counts: int32 [N]. A GPU trusts that rows are below capacity.
        num_rows: int64 [1]: how many of `rows` are valid.
        changed: whether last_changed becomes `step` too, so that the update that follows need not reach the row's stamps again.
        clock: int64 [1], or None: the step to stamp with, read when kernels run, as a CUDA graph needs it; `step` is not looked at then.

    Cost: one random 16-byte touch a row.
    """
    torch.ops.sparrow.touch_rows_.default(meta, rows, counts, num_rows, step, changed, clock)
