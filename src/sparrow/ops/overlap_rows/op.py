"""What two lists of ids of a row have in common, as one number a row."""

import torch
from torch import Tensor

from sparrow.ops import library

# What a result counts, by its number in `columns`.
KINDS = ("count", "ratio", "jaccard", "contains", "equal", "any")

library.define("overlap_rows(Tensor[] a, Tensor[] a_offsets, Tensor[] b, Tensor[] b_offsets, Tensor columns) -> Tensor[]")


@library.shape_function("overlap_rows")
def _shapes(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    return [
        ids.new_empty(offsets.numel() - 1 if offsets.numel() else ids.numel(), dtype=torch.float32)
        for ids, offsets in zip(a, a_offsets, strict=True)
    ]


def overlap_rows(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    """Return, for each of X results, one number a row of what its lists `a` and `b` have in common; repeats count once.

    Args:
        a: for each result, int64 [A].
        a_offsets: for each result, int64 [R + 1]: row r has the ids from offsets[r] to offsets[r + 1]; an empty tensor where each row has one.
        b: for each result, int64 [B].
        b_offsets: for each result, of as many rows, in the same way.
        columns: int64 [X], on the CPU: places in KINDS.
            count: ids in both. ratio: count / ids of a; 0 where a is empty. jaccard: count / ids in either; 0 where both are empty.
            contains: 1 if every id of b is in a, else 0. equal: 1 if the ids are the same, else 0. any: 1 if they share an id, else 0.

    Returns:
        For each result float32 [R]. A ratio is one division of two float32 numbers.

    Errors: what is wrong, by result and argument, and row.
    Cost: a pass over ids and offsets. A short row compares every pair, eight at a time; a long one takes a few nanoseconds an id. On CUDA
    one launch for all results, which compares every pair of a row.
    """
    return torch.ops.sparrow.overlap_rows.default(a, a_offsets, b, b_offsets, columns)
