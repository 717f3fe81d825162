"""One update of the rows that received a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "update_rows_(Tensor(a!)[] weights, Tensor(b!)[] element_slots, Tensor(c!)[] row_slots, Tensor(d!) meta, Tensor rows, Tensor grads, Tensor hyper,"
    " int rule, int step, Tensor? clock=None) -> ()"
)
library.triton_body("update_rows_", "sparrow.ops.update_rows.triton", sends=False)


@library.shape_function("update_rows_")
def _shapes(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, grads: Tensor,
    hyper: Tensor, rule: int, step: int, clock: Tensor | None = None,
) -> None:  # fmt: skip
    return None


def update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, grads: Tensor,
    hyper: Tensor, rule: int, step: int, clock: Tensor | None = None,
) -> None:  # fmt: skip
    """Update weights and slots of `rows` by a rule; all other rows stay as they are.

    Args:
        weights: blocks [rows_per_block, D], float32, float64, bfloat16 or float16. Mutated.
        element_slots, row_slots: as `rules.py` says for the rule; blocks as in `init_rows_`. Mutated.
        meta: int32 [capacity, 4]: column 3 tells a row's table, column 1 (last_changed) becomes `step`.
        rows: int32 [U], distinct; -1 is skipped.
        grads: [U, D] of the weights' dtype, float32 for 16-bit ones; summed per row.
        hyper: float64 [T, 16], `Rule.hyper_row` of each table.
        rule: `Rule.code`.
        clock: int64 [1], or None: read in place of `step` when kernels run (see `touch_rows_`).

    Arithmetic in the gradient's dtype, 16-bit weights rounded to nearest even once; IEEE + - * / sqrt in the order `reference.py` writes.
    On CUDA values are not checked, which would wait for them: a row of a table that `hyper` has not is left alone.
    Cost: a row of weights, slots and gradient read, weights and slots written.
    """
    torch.ops.sparrow.update_rows_.default(weights, element_slots, row_slots, meta, rows, grads, hyper, rule, step, clock)
