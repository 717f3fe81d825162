"""Lengths of the lists of ragged columns."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("length_rows(Tensor[] offsets, Tensor columns) -> Tensor[]")
library.triton_body("length_rows", "sparrow.ops.length_rows.triton")


@library.shape_function("length_rows")
def _shapes(offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    context = torch.library.get_ctx()
    return [offsets[0].new_empty(context.new_dynamic_size()) for _ in range(columns.shape[0])]


def length_rows(offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    """Return how many elements each list of one level has, for C ragged columns.

    Args:
        offsets: int64, all levels of column 0, outermost first, then of column 1, ...
        columns: int64 [C, 2] on the CPU, a row a column: number of levels, 1 to 3; level that is measured, 0 the outermost.

    Returns an int64 tensor [lists of that level] a column: the differences of its offsets. Other levels are not looked at.

    Raises RuntimeError naming argument and column. Cost: 16 bytes a list moved; columns and runs of lists are shared among threads. On CUDA
    offsets are trusted, and nobody waits for the device.
    """
    return torch.ops.sparrow.length_rows.default(offsets, columns)
