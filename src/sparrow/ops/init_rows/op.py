"""First values of fresh rows."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "init_rows_(Tensor(a!)[] weights, Tensor(b!)[] element_slots, Tensor(c!)[] row_slots, Tensor(d!) row_ids, Tensor(e!) meta, Tensor rows, Tensor ids,"
    " Tensor table_offsets, Tensor positions, Tensor num_positions, Tensor seeds, int initializer, Tensor parameters, Tensor slot_values) -> ()"
)
library.triton_body("init_rows_", "sparrow.ops.init_rows.triton", sends=False)


@library.shape_function("init_rows_")
def _shapes(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], row_ids: Tensor, meta: Tensor, rows: Tensor, ids: Tensor,
    table_offsets: Tensor, positions: Tensor, num_positions: Tensor, seeds: Tensor, initializer: int, parameters: Tensor, slot_values: Tensor,
) -> None:  # fmt: skip
    return None


def init_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], row_ids: Tensor, meta: Tensor, rows: Tensor, ids: Tensor,
    table_offsets: Tensor, positions: Tensor, num_positions: Tensor, seeds: Tensor, initializer: int, parameters: Tensor, slot_values: Tensor,
) -> None:  # fmt: skip
    """Give fresh rows their first weights, slots, id and metadata.

    The first value of a weight is a pure function of (seed of its table, id, column): the same bits on every device, in any order
    of arrival, at any row number, for any number of workers.

    Args:
        weights: blocks [rows_per_block, D], float32, float64, bfloat16 or float16. Mutated.
        element_slots: blocks [rows_per_block, E * D], E element-wise slots side by side; row_slots: blocks [rows_per_block, R]. Of the
            weights' dtype, float32 beside 16-bit ones; empty lists where the rule has none. Mutated.
        row_ids: int64 [capacity]; meta: int32 [capacity, 4], becomes (0, 0, 0, table). Mutated.
        rows: int32 [N] (-1: none, skipped), ids: int64 [N]: the row of each id; table t owns `ids[table_offsets[t]:table_offsets[t + 1]]`.
        positions: int32 [N], of which the first `num_positions` (int64 [1]) are the positions of fresh rows, increasing.
        seeds: int64 [T]. parameters: float64 [T, 2] (a, b). slot_values: float64 [T, E + R].
        initializer: 0 constant a; 1 uniform from a to b; 2 normal of mean a and standard deviation b; 3 the same, within two of them.

    Words: Philox-4x32-10, key = the seed's two halves, counter = (id low, id high, column // 4, 0), word column % 4.
    Uniform: a + (b - a) * ((word + 0.5) / 2^32). Normal: a + b * z, z by piecewise cubics (`normal_table.py`; within 2e-7 of the exact
    inverse); 3 draws from the magnitudes within two. In float64, rounded to float32, then to the weights' dtype.
    Cost: D + slots written a row, ten rounds of Philox for four columns.
    """
    torch.ops.sparrow.init_rows_.default(
        weights,
        element_slots,
        row_slots,
        row_ids,
        meta,
        rows,
        ids,
        table_offsets,
        positions,
        num_positions,
        seeds,
        initializer,
        parameters,
        slot_values,
    )
