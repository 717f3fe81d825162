"""Rows of ids, giving a fresh row to each id not seen before. `ops/id_map.py` describes the tensors."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "find_or_insert_(Tensor(a!) lines, Tensor(b!) headers, Tensor(c!) ranges, Tensor(d!) counters, Tensor free_rows, Tensor ids, Tensor table_offsets)"
    " -> (Tensor rows, Tensor new_positions, Tensor num_new)"
)
library.triton_body("find_or_insert_", "sparrow.ops.find_or_insert.triton", sends=False)


@library.shape_function("find_or_insert_")
def _shapes(
    lines: Tensor, headers: Tensor, ranges: Tensor, counters: Tensor, free_rows: Tensor, ids: Tensor, table_offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    positions = torch.empty_like(ids, dtype=torch.int32)
    return positions, torch.empty_like(positions), ids.new_empty(1)


def find_or_insert_(
    lines: Tensor, headers: Tensor, ranges: Tensor, counters: Tensor, free_rows: Tensor, ids: Tensor, table_offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row of every id, inserting the ids not seen before; fresh rows are handed out in input order.

    Args:
        lines: int64 [L, 8], the id map. Mutated. Never grows here: the caller makes room first.
        headers: int64 [T, 8], one row a table. Mutated: side row.
        ranges: int64 [R, 4]. Mutated: number of keys, of dead keys.
        counters: int64 [4]: rows handed out, ids that found no room, free rows. Mutated.
        free_rows: int32 [C]; the first `counters[2]` are handed out before rows never used, from the end.
        ids: int64 [N], any values, duplicates allowed; the ids of table 0 first, then of table 1, ...
        table_offsets: int64 [T + 1]; table t owns `ids[table_offsets[t]:table_offsets[t + 1]]`. The CPU wants N as its last entry; on a GPU
            ids beyond the last entry are none, and get row -1: what `dedup_ids` returns can be passed on whole.

    Returns:
        rows: int32 [N]. -1 where the id's range was full; `counters[1]` then counts it, and the caller must raise.
        new_positions: int32 [N]; the first `num_new` are the positions, increasing, whose row is fresh, the rest -1.
        num_new: int64 [1].

    Numbering: by first position, in every body, whatever the number of threads. On a GPU the place of an id on its path depends on the schedule; its row does not.
    Cost: one random 64-byte line an id at load 0.75 (a tenth of the ids read a second); 8 N bytes in, 4 N out.
    Source: open addressing with bucketed lines (Knuth, TAOCP vol. 3, section 6.4); the hashed jump spreads a full line's overflow.
    """
    return torch.ops.sparrow.find_or_insert_.default(lines, headers, ranges, counters, free_rows, ids, table_offsets)
