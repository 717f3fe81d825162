"""Erases ids from the map; their rows become free. `ops/id_map.py` describes the tensors."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("erase_(Tensor(a!) lines, Tensor(b!) headers, Tensor(c!) ranges, Tensor ids, Tensor table_offsets) -> Tensor")
library.triton_body("erase_", "sparrow.ops.erase.triton", sends=False)


@library.shape_function("erase_")
def _shapes(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> Tensor:
    return torch.empty_like(ids, dtype=torch.int32)


def erase_(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> Tensor:
    """Erase `ids` and return the rows they had, int32 [N]; -1 for one the map does not hold, or that came before in `ids`.

    A key stays with row -1 until its range is rehashed; inserted again, the id gets another row and its first values.

    Args:
        lines: int64 [L, 8]. Mutated: rows of the erased.
        headers: int64 [T, 8]. Mutated: side row.
        ranges: int64 [R, 4]. Mutated: number of dead keys.
        ids, table_offsets: as `find_or_insert_`.

    Cost: one random 64-byte line an id. The caller decides when the rows may be handed out again.
    """
    return torch.ops.sparrow.erase_.default(lines, headers, ranges, ids, table_offsets)
