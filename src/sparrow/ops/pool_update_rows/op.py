"""The gradient of pooled rows, summed per distinct row, and the update of those rows, in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "pool_update_rows_(Tensor(a!)[] weights, Tensor(b!)[] element_slots, Tensor(c!)[] row_slots, Tensor(d!) meta, Tensor rows, Tensor table_offsets,"
    " Tensor grad, Tensor inverse, Tensor offsets, Tensor? position_weights, Tensor combiners, Tensor hyper, int rule, int step, bool stamps,"
    " Tensor? clock=None) -> ()"
)
library.triton_body("pool_update_rows_", "sparrow.ops.pool_update_rows.triton", sends=False)


@library.shape_function("pool_update_rows_")
def _shapes(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, table_offsets: Tensor,
    grad: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor, hyper: Tensor, rule: int,
    step: int, stamps: bool, clock: Tensor | None = None,
) -> None:  # fmt: skip
    return None


def pool_update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, table_offsets: Tensor,
    grad: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor, hyper: Tensor, rule: int,
    step: int, stamps: bool, clock: Tensor | None = None,
) -> None:  # fmt: skip
    """Update `rows` by a rule with the gradient of their pooled output: `pool_backward`, then `update_rows_`, to the bit.

    Args:
        weights, element_slots, row_slots, meta, rows, hyper, rule, step, clock: as `update_rows_` takes them. Mutated alike.
        table_offsets: int64 [T + 1]: table t has `rows[table_offsets[t]:table_offsets[t + 1]]`.
        grad: [B, F, D], inverse, offsets, position_weights, combiners: as `pool_backward` takes them.
        stamps: whether last_changed of the rows becomes `step`; else `meta` is neither read nor written.

    Cost: what the two cost, less writing and reading [U, D], and less a random line a row where it does not stamp.
    """
    torch.ops.sparrow.pool_update_rows_.default(
        weights, element_slots, row_slots, meta, rows, table_offsets, grad.contiguous(), inverse, offsets, position_weights, combiners,
        hyper, rule, step, stamps, clock,
    )  # fmt: skip
