"""`init_rows_` on a GPU: rows four columns a Philox block, values in float64 as on the CPU.

How many rows are fresh is known on the device alone, and is small but at the start: a fixed number of programs share them.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.init_rows.normal_table import PIECES, TABLE
from sparrow.ops.recorded import keep
from sparrow.ops.tiles import tile_of
from sparrow.ops.triton_rows import (
    TRITON_TYPES,
    BlockAddresses,
    compute_type,
    exact,
    expect,
    on_device,
    row_pointers,
    store_narrow,
)
from sparrow.ops.triton_segment_sum import find_run

CONSTANT, UNIFORM, TRUNCATED_NORMAL = tl.constexpr(0), tl.constexpr(1), tl.constexpr(3)
TAIL = tl.constexpr(97711072)  # floor(2^32 P(z < -2)), as initializer.h has it
KEPT = tl.constexpr(2**31 - 97711072)
# The bits of 1.0, the mask of a float64's mantissa, and how its bits divide into the number of a piece and the place in it.
ONE_BITS, MANTISSA = tl.constexpr(0x3FF0000000000000), tl.constexpr((1 << 52) - 1)
PIECE_BITS, PLACE_BITS, HALF_THE_PIECES = tl.constexpr(3), tl.constexpr(49), tl.constexpr(4)
assert 2 * HALF_THE_PIECES.value == PIECES
META_WORDS = tl.constexpr(4)
PROGRAMS = 1024  # at most


@triton.jit
def philox(c0, c1, c2, c3, k0, k1):
    """Four words of Philox-4x32-10, in the low halves of int64 values as all arguments are."""
    for _ in tl.static_range(10):
        b_product0 = (c0.to(tl.uint64)) * 0xD2511F53
        b_product1 = (c2.to(tl.uint64)) * 0xCD9E8D57
        c0 = (b_product1 >> 32).to(tl.int64) ^ c1 ^ k0
        c1 = (b_product1 & 0xFFFFFFFF).to(tl.int64)
        c2 = (b_product0 >> 32).to(tl.int64) ^ c3 ^ k1
        c3 = (b_product0 & 0xFFFFFFFF).to(tl.int64)
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


@triton.jit
def normal_value(b_word, normal_table):
    """Standard normal values of random words; as `normal_value` in csrc/core/initializer.h."""
    b_m = b_word & 0x7FFFFFFF
    bits = b_m.to(tl.float64).to(tl.int64, bitcast=True)
    b_piece = tl.where(b_m < 2, b_m * HALF_THE_PIECES, (bits - ONE_BITS) >> PLACE_BITS)
    b_t = (((bits << PIECE_BITS) & MANTISSA) | ONE_BITS).to(tl.float64, bitcast=True) - 1.0
    b_terms = normal_table + b_piece * 4
    b_z = ((tl.load(b_terms + 3) * b_t + tl.load(b_terms + 2)) * b_t + tl.load(b_terms + 1)) * b_t + tl.load(b_terms)
    return tl.where(b_word >> 31 == 1, -b_z, b_z)


@triton.jit
def initial_values(b_id, b_seed, a, b, normal_table, INITIALIZER: tl.constexpr, COLUMNS: tl.constexpr):
    """First values of ids [rows], float64 [rows, COLUMNS]; a, b: [rows, 1]. COLUMNS is at least 4."""
    b_block = tl.arange(0, COLUMNS // 4)[None, :].to(tl.int64) + (b_id * 0)[:, None]  # [rows, COLUMNS / 4]
    b_zero = b_block * 0
    w0, w1, w2, w3 = philox(
        b_zero + (b_id & 0xFFFFFFFF)[:, None], b_zero + ((b_id >> 32) & 0xFFFFFFFF)[:, None], b_block, b_zero,
        b_zero + (b_seed & 0xFFFFFFFF)[:, None], b_zero + ((b_seed >> 32) & 0xFFFFFFFF)[:, None],
    )  # fmt: skip
    # Word c % 4 of block c // 4 is column c.
    b_word = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
    if INITIALIZER == UNIFORM:
        b_values = a + (b - a) * ((b_word.to(tl.float64) + 0.5) * 2.3283064365386963e-10)  # 2^-32
    else:
        if INITIALIZER == TRUNCATED_NORMAL:
            b_word = (b_word & 0x80000000) | ((((b_word & 0x7FFFFFFF) * KEPT) >> 31) + TAIL)
        b_values = a + b * normal_value(b_word, normal_table)
    return b_values


@triton.jit
def init_kernel(
    weights, element_slots, row_slots, row_ids, meta, rows, ids, table_offsets, positions, num_positions, seeds, parameters, slot_values,
    normal_table, num_tables, num_halvings,
    INITIALIZER: tl.constexpr, W: tl.constexpr, T: tl.constexpr, ELEMENT_SLOTS: tl.constexpr, ROW_SLOTS: tl.constexpr,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, ELEMENT_ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    count = tl.load(num_positions)
    b_columns = tl.arange(0, COLUMNS)
    for start in range(tl.program_id(0).to(tl.int64) * ROWS, count, tl.num_programs(0) * ROWS):
        o_n = start + tl.arange(0, ROWS)
        b_position = tl.load(positions + o_n, mask=o_n < count, other=0).to(tl.int64)
        b_row = tl.load(rows + b_position, mask=o_n < count, other=-1)
        present = b_row >= 0
        b_id = tl.load(ids + b_position, mask=present, other=0)
        b_table = find_run(table_offsets, b_position, num_tables, num_halvings)
        b_parameters = parameters + b_table * 2
        a = tl.load(b_parameters, mask=present, other=0)[:, None]
        b = tl.load(b_parameters + 1, mask=present, other=0)[:, None]
        if INITIALIZER == CONSTANT:
            b_values = tl.broadcast_to(a, [ROWS, COLUMNS])
        else:
            b_seed = tl.load(seeds + b_table, mask=present, other=0)
            b_values = initial_values(b_id, b_seed, a, b, normal_table, INITIALIZER, COLUMNS)
        mask = present[:, None] & (b_columns < DIM)[None, :]
        store_narrow(row_pointers(weights, b_row, present, b_columns, SHIFT, DIM, ALIGNMENT, W), b_values.to(T), mask)
        b_slots = slot_values + b_table * (ELEMENT_SLOTS + ROW_SLOTS)
        if ELEMENT_SLOTS > 0:
            p_slots = row_pointers(element_slots, b_row, present, b_columns, SHIFT, ELEMENT_SLOTS * DIM, ELEMENT_ALIGNMENT, T)
            for slot in tl.static_range(ELEMENT_SLOTS):
                b_slot = tl.load(b_slots + slot, mask=present, other=0).to(T)
                tl.store(p_slots + slot * DIM, tl.broadcast_to(b_slot[:, None], [ROWS, COLUMNS]), mask=mask)
        if ROW_SLOTS > 0:
            p_slots = row_pointers(row_slots, b_row, present, tl.arange(0, 1), SHIFT, ROW_SLOTS, 1, T)
            for slot in tl.static_range(ROW_SLOTS):
                b_slot = tl.load(b_slots + ELEMENT_SLOTS + slot, mask=present, other=0).to(T)
                tl.store(p_slots + slot, b_slot[:, None], mask=present[:, None])
        b_row = tl.where(present, b_row, 0).to(tl.int64)
        tl.store(row_ids + b_row, b_id, mask=present)
        b_words = tl.arange(0, META_WORDS)[None, :]
        b_meta = tl.where(b_words == META_WORDS - 1, b_table[:, None], 0).to(tl.int32)
        tl.store(meta + (b_row * META_WORDS)[:, None] + b_words, b_meta, mask=present[:, None])


@functools.lru_cache(maxsize=64)
def _normal_table(device: torch.device, stream: int) -> Tensor:
    return on_device(torch.tensor(TABLE, dtype=torch.float64), device)


def init_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], row_ids: Tensor, meta: Tensor, rows: Tensor, ids: Tensor,
    table_offsets: Tensor, positions: Tensor, num_positions: Tensor, seeds: Tensor, initializer: int, parameters: Tensor,
    slot_values: Tensor,
) -> None:  # fmt: skip
    """CUDA body of the operator; see `op.py`. No host synchronisation. 1 launch."""
    if not weights or not 0 <= initializer <= 3:
        raise RuntimeError(f"weights must have at least one block and initializer be from 0 to 3, got {len(weights)} and {initializer}")
    dtype, num_tables = weights[0].dtype, seeds.numel()
    compute = compute_type(dtype)
    weight = BlockAddresses(weights, "weights", dtype, rows)
    element = BlockAddresses(element_slots, "element_slots", compute, rows)
    per_row = BlockAddresses(row_slots, "row_slots", compute, rows)
    dim, num_row_slots = weight.width, per_row.width
    num_element_slots = slot_values.shape[-1] - num_row_slots
    element.check_beside(weight, "element_slots", num_element_slots * dim)
    per_row.check_beside(weight, "row_slots", num_row_slots)
    expect(row_ids, "row_ids", torch.int64, max(row_ids.numel(), weight.num_rows))
    expect(meta, "meta", torch.int32, max(meta.shape[0], weight.num_rows), META_WORDS.value)
    expect(rows, "rows", torch.int32, ids.numel())
    for tensor, name, kind, shape in (
        (ids, "ids", torch.int64, ids.shape[:1]), (table_offsets, "table_offsets", torch.int64, (num_tables + 1,)),
        (positions, "positions", torch.int32, positions.shape[:1]), (num_positions, "num_positions", torch.int64, (1,)),
        (seeds, "seeds", torch.int64, (num_tables,)), (parameters, "parameters", torch.float64, (num_tables, 2)),
        (slot_values, "slot_values", torch.float64, (num_tables, num_element_slots + num_row_slots)),
    ):  # fmt: skip
        expect(tensor, name, kind, *shape)
    if positions.numel() == 0 or dim == 0:
        return
    num_rows, columns, num_warps = tile_of(f"init_rows, {num_element_slots}+{num_row_slots} slots", max(dim, 4), dtype, ids.device)
    stream = torch.cuda.current_stream(ids.device).cuda_stream if ids.is_cuda else 0
    normal_table = _normal_table(ids.device, stream)
    keep(normal_table)
    init_kernel[(min(PROGRAMS, triton.cdiv(positions.numel(), num_rows)),)](
        weight.table, element.table, per_row.table, row_ids, meta, rows, ids, table_offsets, positions, num_positions, seeds, parameters,
        slot_values, normal_table, num_tables, num_tables.bit_length(),
        INITIALIZER=initializer, W=TRITON_TYPES[dtype], T=TRITON_TYPES[compute],
        ELEMENT_SLOTS=num_element_slots, ROW_SLOTS=num_row_slots, SHIFT=weight.shift, ALIGNMENT=weight.alignment,
        ELEMENT_ALIGNMENT=element.alignment, ROWS=num_rows, DIM=dim, COLUMNS=columns, **exact(num_warps),
    )  # fmt: skip
