"""The distinct items of every list of ragged columns."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "unique_rows(Tensor[] values, Tensor[] weights, Tensor[] offsets, Tensor columns) -> (Tensor[] values, Tensor[] weights, Tensor[] offsets)"
)
library.triton_body("unique_rows", "sparrow.ops.unique_rows.triton")


@library.shape_function("unique_rows")
def _shapes(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    context = torch.library.get_ctx()

    def cut(tensors: list[Tensor]) -> list[Tensor]:
        return [tensor.new_empty(context.new_dynamic_size()) for tensor in tensors]

    return cut(values), cut(weights), [torch.empty_like(bounds) for bounds in offsets]


def unique_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return C ragged columns in which each innermost list has each of its items once: the first occurrence, in order of position.

    Args:
        values: a tensor [N] a column, of an integer dtype; N below 2^32 - 1.
        weights: a float32 tensor [N] a column, empty where the column has none; or no tensors at all where no column has.
        offsets: int64 [lists + 1], the innermost level of each column. Levels above stay true of what is returned.
        columns: int64 [C, 1] on the CPU, names in `row_options`: the weight of an item that occurs several times is that of its first occurrence (0: `FIRST`) or the
            sum of all, added in order of position in float32 (1: `SUM`).

    Returns values, weights and offsets of what is kept, as the arguments.

    Raises RuntimeError naming argument and column. Nothing is mutated.
    Cost: a probe of a table of 64 to 128 bytes an item of the list (16 to 32 beyond 4,096 items), and two copies of what is kept; columns and
    runs of lists are shared among threads. On CUDA one launch for all columns compares each item with those before it in its list; the call
    waits for the device once, to learn how large its outputs are, which lie in memory of the most they could be.
    In a step that a graph repeats it does not wait, and outputs stay as large: offsets say which values count.
    """
    return torch.ops.sparrow.unique_rows.default(values, weights, offsets, columns)
