"""Column chunks of a Parquet row group -> an Arrow record batch."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("decode_parquet(Tensor(a!) array, Tensor[] runs, Tensor chunks, int num_rows) -> int")

# Compressions by the numbers `chunks` has for them.
CODECS = ("UNCOMPRESSED", "SNAPPY")


@library.shape_function("decode_parquet")
def _shapes(array: Tensor, runs: list[Tensor], chunks: Tensor, num_rows: int) -> int:
    raise NotImplementedError("decode_parquet makes memory that no tensor describes: it cannot be traced")


def decode_parquet(array: Tensor, runs: list[Tensor], chunks: Tensor, num_rows: int) -> int:
    """Decode columns of numbers and of lists of numbers, as most writers write them.

    Args:
        array: int64 [10]: room for an `ArrowArray` of the C data interface. Written: a record batch of C columns, for whoever imports it.
        runs: uint8 vectors: bytes of the file.
        chunks: int64 [C, 9], a row a column: the run its chunk lies in, and the bytes of it from begin to end; its compression (place in `CODECS`);
            bytes of a number (4 or 8); entries, those of nulls and empty lists counted; whether it is a list, whether rows may be null, whether
            numbers in lists may be.
        num_rows: of the row group.

    Returns -1 where all were decoded; else the first column that was not, and `array` is left alone: encodings other than plain and dictionary,
    checksums, a null in a list, levels written bit by bit, and anything that is damaged or odd. pyarrow reads the first and names the last.

    Cost: a pass over the bytes, single-threaded: about half of pyarrow's time.
    """
    result: int = torch.ops.sparrow.decode_parquet.default(array, runs, chunks, num_rows)
    return result
