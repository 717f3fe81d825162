"""Columns of an ORC stripe -> an Arrow record batch."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("decode_orc(Tensor(a!) array, Tensor bytes, Tensor stripe, Tensor columns) -> bool")

# Compressions, and types of numbers, by the numbers `stripe` and `columns` have for them.
CODECS = ("UNCOMPRESSED", "SNAPPY")
NUMBERS = (torch.int32, torch.int64, torch.float32, torch.float64)


@library.shape_function("decode_orc")
def _shapes(array: Tensor, bytes: Tensor, stripe: Tensor, columns: Tensor) -> bool:
    raise NotImplementedError("decode_orc makes memory that no tensor describes: it cannot be traced")


def decode_orc(array: Tensor, bytes: Tensor, stripe: Tensor, columns: Tensor) -> bool:
    """Decode columns of numbers and of lists of numbers, as most writers write them.

    Args:
        array: int64 [10]: room for an `ArrowArray` of the C data interface. Written: a record batch of C columns, for whoever imports it.
        bytes: uint8: the stripe, from its first stream of data to the end of its footer.
        stripe: int64 [6]: its rows, types of the file, bytes of its indexes (which stand before `bytes`) and of its footer, its compression (place
            in `CODECS`), and the bytes of a compression block.
        columns: int64 [C, 3], a row a column: the number of its type, its numbers (place in `NUMBERS`), whether it is a list of them.

    Returns whether all were decoded; else `array` is left alone. Not decoded are integers of the first run length encoding, lists with nulls in
    them, and anything that is damaged or odd. pyarrow reads the first and names the last.

    Cost: a pass over the bytes, single-threaded: about an eighth of pyarrow's time.
    """
    result: bool = torch.ops.sparrow.decode_orc.default(array, bytes, stripe, columns)
    return result
