"""Lists of ragged columns cut to a length, or brought to it by empty lists."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "truncate_rows(Tensor[] values, Tensor[] weights, Tensor[] offsets, Tensor columns) -> (Tensor[] values, Tensor[] weights, Tensor[] offsets)"
)
library.triton_body("truncate_rows", "sparrow.ops.truncate_rows.triton")


@library.shape_function("truncate_rows")
def _shapes(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    context = torch.library.get_ctx()

    def cut(tensors: list[Tensor]) -> list[Tensor]:
        return [tensor.new_empty(context.new_dynamic_size()) for tensor in tensors]

    return cut(values), cut(weights), cut(offsets)


def truncate_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return C ragged columns in which every list of one level has at most some number of elements.

    Args:
        values: a tensor [N] a column, of any dtype of 1, 2, 4 or 8 bytes; uint8 for strings, whose innermost level is their bytes.
        weights: a float32 tensor [N] a column, empty where the column has none; or no tensors at all where no column has.
        offsets: int64, all levels of column 0, outermost first, then of column 1, ... (`sparrow.types.Ragged` says what they hold).
        columns: int64 [C, 5] on the CPU, a row a column, names in `row_options`: number of levels, 1 to 3; level that is cut, 0 the outermost; length, 0 or more;
            elements kept where there are more (0: `HEAD`, 1: `TAIL`); empty lists added where there are fewer, so that each list of the
            level has exactly `length` lists (0: `NOT_ADDED`, 1: `ADDED_AT_END`, 2: `ADDED_AT_BEGINNING`; not of the innermost level).

    Returns values, weights and offsets of the cut columns, as the arguments: an element of a level that is not innermost is a whole list;
        levels above the cut one stay as they are, deeper ones and weights follow.

    Raises RuntimeError naming argument and column. Nothing is mutated, and no output shares memory with an argument.
    Cost: three passes over the offsets, a copy of what is kept; columns and runs of rows are shared among threads. On CUDA one launch
    for all columns; the call waits for the device once, to learn how large its outputs are, which lie in memory of the most they could be.
    In a step that a graph repeats it does not wait, and outputs stay as large: offsets say which values count.
    """
    return torch.ops.sparrow.truncate_rows.default(values, weights, offsets, columns)
