"""`length_rows` on a GPU: one launch for all columns."""

import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import row_kernels as rows

OFFSETS, OUT, NUM_LISTS = (tl.constexpr(i) for i in range(3))
COLUMN_WORDS = tl.constexpr(3)


@triton.jit
def length_kernel(columns, BLOCK_N: tl.constexpr):
    p_column = columns + tl.program_id(1) * COLUMN_WORDS
    num_lists = tl.load(p_column + NUM_LISTS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < num_lists:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < num_lists
        offsets = rows.pointer_at(p_column + OFFSETS, tl.int64)
        b_length = tl.load(offsets + o_n + 1, mask=m_n, other=0) - tl.load(offsets + o_n, mask=m_n, other=0)
        tl.store(rows.pointer_at(p_column + OUT, tl.int64) + o_n, b_length, mask=m_n)


def length_rows(offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. That offsets never decrease is trusted."""
    parameters = rows.parameters_of(columns, columns.shape[0], 2)
    levels = rows.levels_of(offsets, [num_levels for num_levels, _ in parameters])
    lengths, table = [], []
    for column, (num_levels, level) in enumerate(parameters):
        rows.check(0 <= level < num_levels, f"columns: column {column} has no level {level}, but {num_levels} levels")
        bounds = levels[column][level]
        lengths.append(bounds.new_empty(bounds.numel() - 1))
        table.append([bounds.data_ptr(), lengths[-1].data_ptr(), bounds.numel() - 1])
    if any(one.numel() > 0 for one in lengths):
        grid = rows.grid_of([one.numel() for one in lengths])
        length_kernel[grid](rows.device_table(table, offsets[0].device), **rows.LANES)
    return lengths
