"""`pool_update_rows_`, plainly."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops.pool_backward.reference import pool_backward
from sparrow.ops.update_rows.reference import update_rows_


def pool_update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, table_offsets: Tensor,
    grad: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor, hyper: Tensor, rule: int,
    step: int, stamps: bool, clock: Tensor | None = None,
) -> None:  # fmt: skip
    summed = pool_backward(grad, rows, inverse, offsets, position_weights, combiners)
    stamped = meta.clone()
    tables = torch.arange(hyper.shape[0], dtype=torch.int32).repeat_interleave(table_offsets.diff())
    present = rows >= 0
    stamped[rows[present].long(), 3] = tables[present]
    update_rows_(weights, element_slots, row_slots, stamped, rows, summed, hyper, rule, step, clock)
    if stamps:
        meta[:, 1] = stamped[:, 1]
