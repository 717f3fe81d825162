"""`pool_update_rows_` on a GPU: the sums of `pool_backward`, each applied by `update_rows_`' kernel while it is in registers."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.pool_backward.triton import occurrences_of, sum_occurrences
from sparrow.ops.tiles import tile_of
from sparrow.ops.triton_rows import compute_type, exact, expect
from sparrow.ops.triton_segment_sum import add_chunks, find_run, long_run_of, num_windows, task_of
from sparrow.ops.update_rows.triton import META_LAST_CHANGED, META_WORDS, constants_of, update_of, update_tile


@triton.jit
def apply(
    b_unique, b_row, b_sum, table_offsets, num_tables, num_table_halvings, meta, step, clock, constants, weights, element_slots, row_slots,
    STAMPS: tl.constexpr, UPDATE: tl.constexpr, W: tl.constexpr, ELEMENT_SLOTS: tl.constexpr, ROW_SLOTS: tl.constexpr,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Update the rows of distinct rows `b_unique` that are not -1."""
    present = b_row >= 0
    b_table = find_run(table_offsets, b_unique, num_tables, num_table_halvings)
    update_tile(b_row, present, b_sum, b_table, constants, weights, element_slots, row_slots,
                UPDATE, W, ELEMENT_SLOTS, ROW_SLOTS, SHIFT, ALIGNMENT, DIM, COLUMNS)  # fmt: skip
    if STAMPS:
        if clock is not None:
            step = tl.load(clock).to(tl.int32)
        b_stamp = meta + tl.where(present, b_row, 0).to(tl.int64) * META_WORDS + META_LAST_CHANGED
        tl.store(b_stamp, step, mask=present)


@triton.jit
def sum_update_kernel(
    sums, grad, sources, factors, rows, first, num_unique, num_positions, num_halvings, num_slot_programs,
    table_offsets, num_tables, num_table_halvings, meta, step, clock, constants, weights, element_slots, row_slots,
    STAMPS: tl.constexpr, UPDATE: tl.constexpr, W: tl.constexpr, ELEMENT_SLOTS: tl.constexpr, ROW_SLOTS: tl.constexpr,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Update rows of up to 256 occurrences; of others, chunk sums into `sums` [slots, DIM]."""
    b_target, b_unique, b_begin, b_end, exists = task_of(first, num_unique, num_positions, num_halvings, num_slot_programs, ROWS)
    b_row = tl.load(rows + b_unique, mask=exists, other=-1)
    b_sum = sum_occurrences(grad, sources, factors, b_begin, tl.where(b_row < 0, b_begin, b_end), ROWS, DIM, COLUMNS)
    if tl.program_id(0) >= num_slot_programs:
        apply(b_unique, b_row, b_sum, table_offsets, num_tables, num_table_halvings, meta, step, clock, constants, weights, element_slots,
              row_slots, STAMPS, UPDATE, W, ELEMENT_SLOTS, ROW_SLOTS, SHIFT, ALIGNMENT, DIM, COLUMNS)  # fmt: skip
    else:
        b_columns = tl.arange(0, COLUMNS)
        tl.store(sums + (b_target * DIM)[:, None] + b_columns[None, :], b_sum, mask=exists[:, None] & (b_columns < DIM)[None, :])


@triton.jit
def combine_update_kernel(
    sums, rows, first, num_unique, num_positions, num_halvings,
    table_offsets, num_tables, num_table_halvings, meta, step, clock, constants, weights, element_slots, row_slots,
    STAMPS: tl.constexpr, UPDATE: tl.constexpr, W: tl.constexpr, ELEMENT_SLOTS: tl.constexpr, ROW_SLOTS: tl.constexpr,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Update rows of more than 256 occurrences, from chunk sums."""
    b_unique, b_first, b_last, exists = long_run_of(first, num_unique, num_positions, num_halvings, ROWS)
    b_row = tl.load(rows + b_unique, mask=exists, other=-1)
    b_sum = add_chunks(sums, b_first, tl.where(b_row < 0, b_first, b_last), ROWS, DIM, COLUMNS)
    apply(b_unique, b_row, b_sum, table_offsets, num_tables, num_table_halvings, meta, step, clock, constants, weights, element_slots,
          row_slots, STAMPS, UPDATE, W, ELEMENT_SLOTS, ROW_SLOTS, SHIFT, ALIGNMENT, DIM, COLUMNS)  # fmt: skip


def pool_update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, table_offsets: Tensor,
    grad: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor, hyper: Tensor, rule: int,
    step: int, stamps: bool, clock: Tensor | None = None,
) -> None:  # fmt: skip
    """CUDA body of the operator; see `op.py`. No host synchronisation.

    3 launches, 4 where there are more than 256 positions; with weights 4 and 6. Beside these what `occurrences_of` has torch do.
    """
    num_unique, dim, num_positions, num_tables = rows.numel(), grad.shape[2], inverse.numel(), hyper.shape[0]
    if num_unique == 0 or not weights:
        return
    update = update_of(weights, element_slots, row_slots, meta, rows, hyper, rule, step, clock)
    expect(grad, "grad", compute_type(weights[0].dtype), *grad.shape[:2], weights[0].shape[1])
    expect(table_offsets, "table_offsets", torch.int64, num_tables + 1)
    found = occurrences_of(grad, num_unique, inverse, offsets, position_weights, combiners)
    num_rows, columns, num_warps = tile_of(f"pool_update_rows, {update.kind}", dim, grad.dtype, grad.device)
    windows = num_windows(num_positions)
    sums = grad.new_empty(2 * windows, dim)
    runs = (rows, found.first, num_unique, num_positions, num_unique.bit_length())
    rest = (
        table_offsets,
        num_tables,
        num_tables.bit_length(),
        meta,
        update.step,
        clock,
        constants_of(hyper, rule, grad.dtype),
        *update.tables,
    )
    shape = {"STAMPS": stamps, "ROWS": num_rows, "DIM": dim, "COLUMNS": columns, **update.constants, **exact(num_warps)}
    programs = triton.cdiv(2 * windows, num_rows)
    sum_update_kernel[(programs + triton.cdiv(num_unique, num_rows),)](
        sums, grad, found.sources, found.factors, *runs, programs, *rest, **shape
    )
    if windows:
        combine_update_kernel[(triton.cdiv(windows, num_rows),)](sums, *runs, *rest, **shape)
