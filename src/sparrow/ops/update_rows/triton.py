"""`update_rows_` on a GPU: one kernel for every rule, which is an argument of its compilation.

Constants of a rule are computed in float64 and rounded once, for each table, by a kernel of their own: float64 is slow on many GPUs.
"""

import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.id_map_triton import checked_step
from sparrow.ops.tiles import tile_of
from sparrow.ops.triton_rows import TRITON_TYPES, BlockAddresses, compute_type, exact, expect, load_wide, row_pointers, store_narrow
from sparrow.ops.update_rows.rules import HYPER_WORDS
from sparrow.ops.update_rows.triton_rules import CONSTANTS_A_TABLE, TritonRule, rule_of

HYPER = tl.constexpr(HYPER_WORDS)
META_WORDS, META_LAST_CHANGED, META_TABLE = tl.constexpr(4), tl.constexpr(1), tl.constexpr(3)
BLOCK_TABLES = 32


@triton.jit
def constants_kernel(out, hyper, num_tables, CONSTANTS: tl.constexpr, NUM_CONSTANTS: tl.constexpr, BLOCK_T: tl.constexpr):
    """The constants of each table into `out` [tables, 16]."""
    b_table = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    mask = b_table < num_tables
    values = CONSTANTS(hyper + b_table * HYPER, mask)
    for index in tl.static_range(NUM_CONSTANTS):
        tl.store(out + b_table * CONSTANTS_A_TABLE + index, values[index].to(out.dtype.element_ty), mask=mask)


@triton.jit
def update_tile(
    b_row, present, b_grad, b_table, constants, weights, element_slots, row_slots,
    UPDATE: tl.constexpr, W: tl.constexpr, ELEMENT_SLOTS: tl.constexpr, ROW_SLOTS: tl.constexpr,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Update rows [rows] of tables `b_table` with gradients [rows, COLUMNS]; rows not present stay."""
    T: tl.constexpr = b_grad.dtype
    b_columns = tl.arange(0, COLUMNS)
    mask = present[:, None] & (b_columns < DIM)[None, :]
    p_weight = row_pointers(weights, b_row, present, b_columns, SHIFT, DIM, ALIGNMENT, W)
    b_weight = load_wide(p_weight, mask)
    b_slot0 = b_grad
    b_slot1 = b_grad
    b_row_slot = tl.sum(b_grad, 1)
    if ELEMENT_SLOTS > 0:
        p_slots = row_pointers(element_slots, b_row, present, b_columns, SHIFT, ELEMENT_SLOTS * DIM, ALIGNMENT, T)
        b_slot0 = tl.load(p_slots, mask=mask, other=0)
    if ELEMENT_SLOTS > 1:
        p_slots1 = tl.multiple_of(p_slots + DIM, (1, ALIGNMENT))
        b_slot1 = tl.load(p_slots1, mask=mask, other=0)
    if ROW_SLOTS > 0:
        b_grad = tl.where(mask, b_grad, 0.0)
        p_row_slot = tl.reshape(row_pointers(row_slots, b_row, present, tl.arange(0, 1), SHIFT, 1, 1, T), [b_row.shape[0]])
        b_row_slot = tl.load(p_row_slot, mask=present, other=0)
    c = constants + tl.where(present, b_table, 0) * CONSTANTS_A_TABLE
    b_weight, b_slot0, b_slot1, b_row_slot = UPDATE(b_weight, b_slot0, b_slot1, b_row_slot, b_grad, c, DIM)
    store_narrow(p_weight, b_weight, mask)
    if ELEMENT_SLOTS > 0:
        tl.store(p_slots, b_slot0, mask=mask)
    if ELEMENT_SLOTS > 1:
        tl.store(p_slots1, b_slot1, mask=mask)
    if ROW_SLOTS > 0:
        tl.debug_barrier()  # all warps of a row read its slot, one writes it
        tl.store(p_row_slot, b_row_slot, mask=present)


@triton.jit
def update_kernel(
    rows, grads, meta, constants, weights, element_slots, row_slots, num_rows, num_tables, step, clock,
    UPDATE: tl.constexpr, W: tl.constexpr, ELEMENT_SLOTS: tl.constexpr, ROW_SLOTS: tl.constexpr,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    o_n = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    b_row = tl.load(rows + o_n, mask=o_n < num_rows, other=-1)
    b_meta = meta + tl.where(b_row >= 0, b_row, 0).to(tl.int64) * META_WORDS
    b_table = tl.load(b_meta + META_TABLE, mask=b_row >= 0, other=0)
    # A table beyond `hyper` has no constants: its rows stay as they are.
    present = (b_row >= 0) & (b_table >= 0) & (b_table < num_tables)
    b_columns = tl.arange(0, COLUMNS)
    mask = present[:, None] & (b_columns < DIM)[None, :]
    b_grad = tl.load(grads + (o_n * DIM)[:, None] + b_columns[None, :], mask=mask, other=0)
    update_tile(b_row, present, b_grad, b_table, constants, weights, element_slots, row_slots,
                UPDATE, W, ELEMENT_SLOTS, ROW_SLOTS, SHIFT, ALIGNMENT, DIM, COLUMNS)  # fmt: skip
    if clock is not None:
        step = tl.load(clock).to(tl.int32)
    tl.store(b_meta + META_LAST_CHANGED, step, mask=present)


class Update(NamedTuple):
    """What kernels that update rows take: addresses of weights, element and row slots, and constants of their compilation.

    step: as kernels take it. kind: what updates have in common that cost the same: numbers of slots, dtype of weights.
    """

    tables: tuple[Tensor, Tensor, Tensor]
    constants: dict[str, Any]
    step: int
    kind: str


def update_of(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, hyper: Tensor, code: int,
    step: int, clock: Tensor | None,
) -> Update:  # fmt: skip
    """Return blocks and rule as `update_tile` takes them. Raises `RuntimeError` where the arguments are not what `op.py` says."""
    functions, rule = rule_of(code)
    dtype, num_element_slots, num_row_slots = weights[0].dtype, len(rule.element_slots), len(rule.row_slots)
    compute = compute_type(dtype)
    held = BlockAddresses(weights, "weights", dtype, rows)
    of_elements = BlockAddresses(element_slots, "element_slots", compute, rows)
    of_rows = BlockAddresses(row_slots, "row_slots", compute, rows)
    of_elements.check_beside(held, "element_slots", num_element_slots * held.width)
    of_rows.check_beside(held, "row_slots", num_row_slots)
    expect(rows, "rows", torch.int32, rows.numel())
    expect(meta, "meta", torch.int32, max(meta.shape[0], held.num_rows), META_WORDS.value)
    expect(hyper, "hyper", torch.float64, hyper.shape[0], HYPER_WORDS)
    return Update(
        (held.table, of_elements.table, of_rows.table),
        {
            "UPDATE": functions.update, "W": TRITON_TYPES[dtype], "ELEMENT_SLOTS": num_element_slots, "ROW_SLOTS": num_row_slots,
            "SHIFT": held.shift, "ALIGNMENT": math.gcd(held.alignment, of_elements.alignment),
        },
        checked_step(step, clock, rows),
        f"{num_element_slots}+{num_row_slots} slots by {str(dtype).removeprefix('torch.')}",
    )  # fmt: skip


def constants_of(hyper: Tensor, code: int, dtype: torch.dtype) -> Tensor:
    """Return the rule's constants of each table, [tables, 16]. 1 launch."""
    rule: TritonRule = rule_of(code)[0]
    constants = hyper.new_empty(hyper.shape[0], CONSTANTS_A_TABLE.value, dtype=dtype)
    constants_kernel[(triton.cdiv(hyper.shape[0], BLOCK_TABLES),)](
        constants, hyper, hyper.shape[0], CONSTANTS=rule.constants, NUM_CONSTANTS=rule.num_constants, BLOCK_T=BLOCK_TABLES, **exact(1)
    )
    return constants


def update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, grads: Tensor,
    hyper: Tensor, rule: int, step: int, clock: Tensor | None = None,
) -> None:  # fmt: skip
    """CUDA body of the operator; see `op.py`. No host synchronisation, so a row of a table beyond `hyper` is left alone. 2 launches."""
    num_rows, dim, num_tables = rows.numel(), grads.shape[-1], hyper.shape[0]
    if num_rows == 0 or not weights:
        return
    update = update_of(weights, element_slots, row_slots, meta, rows, hyper, rule, step, clock)
    expect(grads, "grads", compute_type(weights[0].dtype), num_rows, weights[0].shape[1])
    rows_a_program, columns, num_warps = tile_of(f"update_rows, {update.kind}", dim, weights[0].dtype, rows.device)
    update_kernel[(triton.cdiv(num_rows, rows_a_program),)](
        rows, grads, meta, constants_of(hyper, rule, grads.dtype), *update.tables, num_rows, num_tables, update.step, clock,
        ROWS=rows_a_program, DIM=dim, COLUMNS=columns, **update.constants, **exact(num_warps),
    )  # fmt: skip
