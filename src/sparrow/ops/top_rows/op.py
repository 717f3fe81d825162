"""The items of greatest weight of every list of ragged columns."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "top_rows(Tensor[] values, Tensor[] weights, Tensor[] offsets, Tensor columns) -> (Tensor[] values, Tensor[] weights, Tensor[] offsets)"
)
library.triton_body("top_rows", "sparrow.ops.top_rows.triton")


@library.shape_function("top_rows")
def _shapes(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    context = torch.library.get_ctx()
    sizes = [context.new_dynamic_size() for _ in values]

    def cut(tensors: list[Tensor]) -> list[Tensor]:
        return [tensor.new_empty(size) for tensor, size in zip(tensors, sizes, strict=True)]

    return cut(values), cut(weights), [torch.empty_like(bounds) for bounds in offsets]


def top_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return C ragged columns in which each innermost list has at most its k items of greatest weight, in their order of position.

    Of equal weights (0 and -0 are equal) the earlier position comes first; NaN comes after every number.

    Args:
        values: a tensor [N] a column, of any dtype of 1, 2, 4 or 8 bytes; N below 2^32 - 1.
        weights: a float32 tensor [N] a column.
        offsets: int64 [lists + 1], the innermost level of each column. Levels above stay true of what is returned.
        columns: int64 [C, 1] on the CPU: k of each column, 0 or more.

    Returns values, weights and offsets of what is kept, as the arguments.

    Raises RuntimeError naming argument and column. Nothing is mutated.
    Cost: for a list longer than k, linear in its length (quadratic up to 48 items, where comparing all pairs is faster), and a copy of what is
    kept; columns and runs of lists are shared among threads. On CUDA one launch for all columns compares each item with every other of its
    list; the call waits for the device once, to learn how large its outputs are, which lie in memory of the most they could be.
    In a step that a graph repeats it does not wait, and outputs stay as large: offsets say which values count.
    """
    return torch.ops.sparrow.top_rows.default(values, weights, offsets, columns)
