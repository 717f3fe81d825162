"""The footer of a Parquet file -> where its column chunks lie."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("find_chunks(Tensor footer, int num_leaves) -> Tensor")


@library.shape_function("find_chunks")
def _shapes(footer: Tensor, num_leaves: int) -> Tensor:
    raise NotImplementedError("the size of find_chunks' result is in the bytes of a file: it cannot be traced")


def find_chunks(footer: Tensor, num_leaves: int) -> Tensor:
    """Find the column chunks of a Parquet file.

    Args:
        footer: uint8: the file's metadata, a struct of Thrift's compact protocol.
        num_leaves: chunks of a row group, > 0.

    Returns int64 [row groups, num_leaves, 4]: a chunk's compression by its number in the format (0: none, 1: Snappy), its entries, and the bytes of the file
    it lies in, from begin to end. All four are -1 where it is encrypted, lies in another file, or has a number that makes no sense. No row groups are
    returned where the footer is damaged, or a group has another number of chunks.

    Cost: a pass over the bytes, single-threaded. Why not pyarrow's `ColumnChunkMetaData`: on some damaged footers it ends the process.
    """
    result: Tensor = torch.ops.sparrow.find_chunks.default(footer, num_leaves)
    return result
