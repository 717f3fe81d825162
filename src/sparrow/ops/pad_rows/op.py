"""Ragged columns as dense rows of fixed lengths."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("pad_rows(Tensor[] values, Tensor[] offsets, Tensor columns, bool mask=False) -> Tensor[]")
library.triton_body("pad_rows", "sparrow.ops.pad_rows.triton")


@library.shape_function("pad_rows")
def _shapes(values: list[Tensor], offsets: list[Tensor], columns: Tensor, mask: bool = False) -> list[Tensor]:
    context = torch.library.get_ctx()
    if mask:
        return [offsets[0].new_empty(context.new_dynamic_size(), dtype=torch.float32) for _ in range(columns.shape[0])]
    return [column.new_empty(context.new_dynamic_size()) for column in values]


def pad_rows(values: list[Tensor], offsets: list[Tensor], columns: Tensor, mask: bool = False) -> list[Tensor]:
    """Return C ragged columns as dense ones: every list of every level is brought to its level's length.

    Args:
        values: a tensor [N] a column, of any dtype of 1, 2, 4 or 8 bytes. For a mask, these or no tensors at all.
        offsets: int64, all levels of column 0, outermost first, then of column 1, ...
        columns: int64 [C, 7] on the CPU, a row a column, names in `row_options`: number of levels, 1 to 3; length of the lists of level 0, 1 and 2 (those of levels
            it does not have are not looked at); elements kept of longer lists (0: `HEAD`, 1: `TAIL`); side on which shorter ones are filled
            (0: `RIGHT`, 1: `LEFT`); padding, by its bits (`ops.value_bits`).
        mask: instead of the items, say where they are: float32 1 where an item is, 0 where padding is.

    Returns a tensor [rows * product of the lengths of its levels] a column, of its dtype, or float32 for a mask; the caller reshapes it to
        [rows, length, ...]. A missing list is padding throughout.

    Raises RuntimeError naming argument and column. Nothing is mutated. Cost: a pass over the offsets, a read of the items kept and a write of
    the output; columns and runs of rows are shared among threads. On CUDA offsets are trusted, and nobody waits for the device.
    """
    return torch.ops.sparrow.pad_rows.default(values, offsets, columns, mask)
