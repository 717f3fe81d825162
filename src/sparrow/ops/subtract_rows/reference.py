"""What subtract_rows does, row by row."""

import torch
from torch import Tensor

from sparrow.ops import row_lists
from sparrow.ops.subtract_rows.op import ALIGNED, ONE_A, ONE_B, difference_dtype


def subtract_rows(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    out = []
    for x, layout in enumerate(columns.tolist()):
        assert layout != ALIGNED or a_offsets[x].tolist() == b_offsets[x].tolist(), f"result {x}: offsets differ"
        assert layout != ONE_A or not a_offsets[x].numel(), f"result {x}: a must have one value a row"
        assert layout != ONE_B or not b_offsets[x].numel(), f"result {x}: b must have one value a row"
        dtype = difference_dtype(a[x].dtype, b[x].dtype)
        rows = zip(row_lists.lists_of(a[x].to(dtype), a_offsets[x]), row_lists.lists_of(b[x].to(dtype), b_offsets[x]), strict=True)
        differences = []
        for row, (of_a, of_b) in enumerate(rows):
            differences.append(of_a - of_b)
            if dtype == torch.int64:
                exact = [i - j for i, j in zip(*(one.tolist() for one in torch.broadcast_tensors(of_a, of_b)), strict=True)]
                assert exact == differences[-1].tolist(), f"result {x}: a difference in row {row} is beyond int64"
        out.append(torch.cat([torch.empty(0, dtype=dtype), *differences]))
    return out
