"""A run of rows of columns that lie in blocks -> the columns, one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.ops import library

library.define("cut_rows(Tensor offsets, Tensor(a)[] values, Tensor(b)[] dense, int begin, int end) -> Tensor(a)[]")


@library.shape_function("cut_rows")
def _shapes(offsets: Tensor, values: list[Tensor], dense: list[Tensor], begin: int, end: int) -> list[Tensor]:
    raise NotImplementedError("cut_rows makes batches in a reader, where nothing is traced")


def cut_rows(offsets: Tensor, values: Sequence[Tensor], dense: Sequence[Tensor], begin: int, end: int) -> list[Tensor]:
    """Return rows begin..end of K ragged and D dense columns, each by itself.

    Args:
        offsets: int64 [K, N + 1]: each column's from 0 on, never decreasing.
        values: K tensors of one dimension, of any dtype: the values of the ragged columns.
        dense: matrices [columns, N] of any dtype, D columns in all.
        begin, end: 0 <= begin <= end <= N.

    Returns D + 2 * K tensors: the dense columns, [end - begin]; the values of the ragged columns; their offsets from 0 on, int64 [end - begin + 1]. Dense
    columns and values share the memory of the arguments. Cost: a pass over the offsets of these rows, and some tenths of a microsecond a tensor.
    """
    return torch.ops.sparrow.cut_rows.default(offsets, values, dense, begin, end)
