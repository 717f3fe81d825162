"""`find` on a GPU: one kernel, an id a thread; whole home lines first, further ones for the few that overflowed."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map_triton
from sparrow.ops.id_map_triton import EMPTY, HEADER_WORDS, NO_ROW, SIDE_ROW, any_of, find_places, homes_of, tables_of_block


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def find_kernel(
    lines, headers, ranges, ids, table_offsets, rows, num_missing, num_ids, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    begin = tl.program_id(0) * BLOCK_N
    o_n = tl.max_contiguous(begin + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N], a lane's are 32 apart
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    m_n = o_n < end
    b_ids = tl.load(ids + o_n, mask=m_n, other=EMPTY)
    first_table, last_table = tables_of_block(table_offsets, begin, end, num_tables, TABLE_BITS, BLOCK_N)
    b_table, _, b_first, b_num_lines, b_line, b_jump = homes_of(
        headers, ranges, table_offsets, b_ids, o_n, first_table, last_table, num_tables, TABLE_BITS
    )
    _, b_row = find_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, m_n & (b_ids != EMPTY))
    side = m_n & (b_ids == EMPTY)
    if any_of(side):
        b_side = tl.load(headers + b_table.to(tl.int64) * HEADER_WORDS + SIDE_ROW, mask=side, other=NO_ROW)
        b_row = tl.where(side, b_side.to(tl.int32), b_row)
    tl.store(rows + o_n, b_row, mask=o_n < num_ids)
    missing = tl.sum((m_n & (b_row == NO_ROW)).to(tl.int32), axis=0)
    if missing > 0:
        tl.atomic_add(num_missing, missing.to(tl.int64), sem="relaxed", scope="gpu")


def find(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 1 launch of ours, 1 fill of 8 bytes by torch."""
    id_map_triton.check_map(lines, headers, ranges)
    id_map_triton.check_ids(ids, table_offsets, headers)
    num_ids, num_tables = ids.numel(), headers.shape[0]
    rows = torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    num_missing = torch.zeros(1, dtype=torch.int64, device=ids.device)
    if num_ids > 0:
        find_kernel[(triton.cdiv(num_ids, id_map_triton.BLOCK),)](
            lines, headers, ranges, ids, table_offsets, rows, num_missing, num_ids, num_tables,
            TABLE_BITS=id_map_triton.table_bits(num_tables), **id_map_triton.warp(id_map_triton.BLOCK),
        )  # fmt: skip
    return rows, num_missing
