"""`lookup_rows` on a GPU: a query a lane, which compares the keys of its row in order until one is equal; one launch for all results."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.lookup_rows import answers
from sparrow.ops.row_search import BLOCK, LANES, address_of, bound_of, copy_items, grid_of, num_rows_of, on_device, refuse_unless, row_of

ITEM = tl.constexpr(answers.ITEM)
MATCH = tl.constexpr(answers.MATCH)
# Words of a result in the table.
QUERIES, QUERY_OFFSETS, KEYS, KEY_OFFSETS, ITEMS, NUM_QUERIES, NUM_ROWS, ANSWER, DEFAULT, ITEM_BYTES, OUT = map(tl.constexpr, range(11))
WIDTH = tl.constexpr(11)
# Keys that are looked at before programs ask whether any is still looked for.
KEYS_A_STEP = tl.constexpr(4)


@triton.jit
def lookup_kernel(results, BLOCK_N: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    own = results + tl.program_id(1) * WIDTH
    num_queries = tl.load(own + NUM_QUERIES)
    m_n = o_n < num_queries
    b_query = tl.load(tl.load(own + QUERIES).to(tl.pointer_type(tl.int64)) + o_n, mask=m_n, other=0)
    b_row = row_of(tl.load(own + QUERY_OFFSETS), tl.load(own + NUM_ROWS), first, num_queries, BLOCK_N)
    key_offsets = tl.load(own + KEY_OFFSETS)
    # Memory may be longer than the lists: what lies behind them finds nothing.
    m_row = m_n & (b_row < tl.load(own + NUM_ROWS))
    b_begin = bound_of(key_offsets, b_row, m_row)
    b_end = bound_of(key_offsets, b_row + 1, m_row)
    p_keys = tl.load(own + KEYS).to(tl.pointer_type(tl.int64)) + b_begin
    # Lists are shorter than 2^31. A place at which a list is looked at is before `b_at`, until its key is found.
    b_length = tl.where(m_row, b_end - b_begin, 0).to(tl.int32)
    b_at = b_length
    place = 0
    longest = tl.max(b_length)
    while place < longest:
        for step in tl.static_range(KEYS_A_STEP):
            m_key = place + step < b_at
            b_seen = tl.load(p_keys + (place + step), mask=m_key, other=0)
            b_at = tl.where(m_key & (b_seen == b_query), place + step, b_at)
        place += KEYS_A_STEP
        longest = tl.max(tl.where(place < b_at, b_length, 0))
    m_found = b_at < b_length
    b_key = b_begin + b_at
    answer = tl.load(own + ANSWER)
    if answer == ITEM:
        b_default = tl.zeros_like(o_n) + tl.load(own + DEFAULT)
        copy_items(tl.load(own + ITEMS), b_key, m_found, b_default, tl.load(own + OUT), o_n, m_n, tl.load(own + ITEM_BYTES))
    else:
        b_place = tl.where(answer == MATCH, tl.full([BLOCK_N], 1, tl.int64), b_key - b_begin + 1)
        tl.store(tl.load(own + OUT).to(tl.pointer_type(tl.int64)) + o_n, tl.where(m_found, b_place, 0), mask=m_n)


def lookup_rows(
    queries: list[Tensor],
    query_offsets: list[Tensor],
    keys: list[Tensor],
    key_offsets: list[Tensor],
    items: list[Tensor],
    columns: Tensor,
) -> list[Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. One launch."""
    refuse_unless(columns.numel() == 2 * len(queries), f"columns must be [{len(queries)}, 2]")
    out: list[Tensor] = []
    table, rows = [], []
    for x, (answer, default) in enumerate(columns.view(-1, 2).tolist()):
        num_rows, of_keys = num_rows_of(queries[x], query_offsets[x]), num_rows_of(keys[x], key_offsets[x])
        refuse_unless(num_rows == of_keys, f"result {x}: queries have {num_rows} rows, keys {of_keys}")
        refuse_unless(
            answers.ITEM <= answer <= answers.MATCH,
            f"columns: result {x} asks for answer {answer}, must be from 0 to 2",
        )
        num_items = keys[x].numel() if answer == answers.ITEM else 0
        refuse_unless(items[x].numel() == num_items, f"items of result {x} are {items[x].numel()}, must be {num_items}")
        out.append(items[x].new_empty(queries[x].numel()))
        rows.append(num_rows)
        table.append(
            [
                address_of(queries[x], f"queries of result {x}", torch.int64),
                address_of(query_offsets[x], f"query_offsets of result {x}", torch.int64),
                address_of(keys[x], f"keys of result {x}", torch.int64),
                address_of(key_offsets[x], f"key_offsets of result {x}", torch.int64),
                address_of(items[x], f"items of result {x}", None if answer == answers.ITEM else torch.int64),
                queries[x].numel(),
                num_rows,
                answer,
                default,
                items[x].element_size(),
                out[-1].data_ptr(),
            ]
        )
    most = max((one.numel() for one in queries), default=0)
    if most:
        lookup_kernel[grid_of(len(table), most, BLOCK)](on_device(table, queries[0]), **LANES)
    return out
