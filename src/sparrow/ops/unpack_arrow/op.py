"""Columns of an Arrow record batch -> offsets and values."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("unpack_arrow(Tensor(a!) array, Tensor columns, Tensor defaults) -> Tensor[]")

# Numbers by which `columns` names what a column is, and its types.
DENSE, DENSE_LIST, LIST, BYTES = range(4)
TYPES = (torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64, torch.uint8)


@library.shape_function("unpack_arrow")
def _shapes(array: Tensor, columns: Tensor, defaults: Tensor) -> list[Tensor]:
    raise NotImplementedError("unpack_arrow reads memory that no tensor describes: it cannot be traced")


def unpack_arrow(array: Tensor, columns: Tensor, defaults: Tensor) -> list[Tensor]:
    """Return the columns of a record batch as tensors, and which of them the caller must make another way.

    Args:
        array: int64 [10]: the memory of an `ArrowArray` of the C data interface, as exported. It is taken over, and released with the last
            tensor that shares its memory, or when this raises.
        columns: int64 [C, 6], a row a column: child of the record batch; kind (0: numbers, 1: lists of one number, both dense; 2: lists of
            numbers, 3: strings, both ragged); bytes of an offset (4 or 8); type of its numbers, and, where dense, the dtype wanted (places
            in `TYPES`; wanted: int32, int64, float32, float64); whether null and empty rows read a default.
        defaults: int64 [C]: in the low bytes, the default as the dtype wanted.

    Returns, for a batch of N rows:
        [0] int64 [C]: 1 where a column was made, 0 where it was not: a value does not fit, a null has no default, lists of another length, a
            null inside a list or with hidden elements, damaged offsets, another layout. Its values are then unspecified.
        [1] int64 [K, N + 1]: offsets from 0 on of the K ragged columns, in the order of `columns`.
        then a tensor [D, N] for each dtype wanted, in the order of `TYPES`: the dense columns of that dtype, in the order of `columns`.
        then K tensors: the values of the ragged columns, which share the batch's memory where torch is 2.11 or newer.

    The offsets are checked before anything is read by them; that buffers are as long as lengths say must have been checked before
    (`pyarrow.RecordBatch.validate`). Cost: one pass over offsets and dense values.
    """
    return torch.ops.sparrow.unpack_arrow.default(array, columns, defaults)
