"""`touch_rows_` on a GPU: one kernel; a row's 16 bytes are one load and one store."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.id_map_triton import check, checked_step, lanes

LAST_USED, LAST_CHANGED, COUNT = (tl.constexpr(column) for column in range(3))
META_WORDS = tl.constexpr(4)
MOST_COUNT = tl.constexpr(2**31 - 1)
BLOCK = 256


@triton.jit(do_not_specialize=["step", "num_given"])
def touch_kernel(meta, rows, counts, num_rows, step, clock, num_given, CHANGED: tl.constexpr, BLOCK_N: tl.constexpr):
    o_n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < tl.minimum(tl.load(num_rows), num_given)
    b_row = tl.load(rows + o_n, mask=m_n, other=-1)
    m_n = b_row >= 0
    o_m = tl.arange(0, META_WORDS)[None, :]
    p_meta = meta + b_row.to(tl.int64)[:, None] * META_WORDS + o_m
    b_meta = tl.load(p_meta, mask=m_n[:, None], other=0)  # [BLOCK_N, META_WORDS]
    b_count = b_meta.to(tl.int64) + tl.load(counts + o_n, mask=m_n, other=0).to(tl.int64)[:, None]
    b_meta = tl.where(o_m == COUNT, tl.minimum(b_count, MOST_COUNT).to(tl.int32), b_meta)
    if clock is not None:
        step = tl.load(clock).to(tl.int32)
    stamped = (o_m == LAST_USED) | (o_m == LAST_CHANGED) if CHANGED else o_m == LAST_USED
    tl.store(p_meta, tl.where(stamped, step, b_meta), mask=m_n[:, None])


def touch_rows_(
    meta: Tensor, rows: Tensor, counts: Tensor, num_rows: Tensor, step: int, changed: bool, clock: Tensor | None = None
) -> None:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 1 launch of ours."""
    check(meta, "meta", torch.int32, META_WORDS.value, meta)
    check(rows, "rows", torch.int32, 0, meta)
    check(counts, "counts", torch.int32, 0, meta)
    check(num_rows, "num_rows", torch.int64, 0, meta)
    if num_rows.numel() != 1:
        raise RuntimeError(f"num_rows must hold one value, holds {num_rows.numel()}")
    step = checked_step(step, clock, meta)
    num_given = min(rows.numel(), counts.numel())
    if num_given > 0:
        touch_kernel[(triton.cdiv(num_given, BLOCK),)](
            meta, rows, counts, num_rows, step, clock, num_given, CHANGED=changed, **lanes(BLOCK)
        )
