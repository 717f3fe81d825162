"""Rows of ids a map holds, and -1 for the others. `ops/id_map.py` describes the tensors."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("find(Tensor lines, Tensor headers, Tensor ranges, Tensor ids, Tensor table_offsets) -> (Tensor rows, Tensor num_missing)")
library.triton_body("find", "sparrow.ops.find.triton", sends=False)


@library.shape_function("find")
def _shapes(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(ids, dtype=torch.int32), ids.new_empty(1)


def find(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return (rows int32 [N], num_missing int64 [1]); row -1 for an id the map does not hold, or that was erased. Writes nothing.

    Args and cost as `find_or_insert_`.
    """
    return torch.ops.sparrow.find.default(lines, headers, ranges, ids, table_offsets)
