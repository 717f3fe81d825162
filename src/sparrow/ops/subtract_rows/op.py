"""Differences of two columns, value by value, or with one value of each row."""

import torch
from torch import Tensor

from sparrow.ops import library

# Which of the two columns has one value a row, where the other has a list.
ALIGNED, ONE_B, ONE_A = 0, 1, 2

library.define("subtract_rows(Tensor[] a, Tensor[] a_offsets, Tensor[] b, Tensor[] b_offsets, Tensor columns) -> Tensor[]")


def difference_dtype(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """Return the dtype of a - b: int64 of two int64, the wider of two floats, float64 of an integer and a float."""
    return a if a == b else torch.float64


@library.shape_function("subtract_rows")
def _shapes(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    out = []
    for from_, from_offsets, less in zip(a, a_offsets, b, strict=True):
        # Without offsets `a` has one value a row, and `b`, one or a list, as many values as the result.
        size = from_.numel() if from_offsets.numel() else less.numel()
        out.append(from_.new_empty(size, dtype=difference_dtype(from_.dtype, less.dtype)))
    return out


def subtract_rows(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    """Return a - b for each of X results.

    Args:
        a: for each result, int64, float32 or float64 [A].
        a_offsets: for each result, int64 [R + 1]: row r has the values from offsets[r] to offsets[r + 1]; an empty tensor where each row has
            one.
        b: for each result, int64, float32 or float64 [B].
        b_offsets: for each result, of as many rows, in the same way.
        columns: int64 [X], on the CPU: ALIGNED, a and b have the same offsets; ONE_B, b has one value a row, subtracted from all of a's row;
            ONE_A, a has one value a row, of which all of b's row are subtracted.

    Returns:
        For each result, aligned with the column that has lists: int64 of two int64, the wider of two floats; an integer and a float are
        subtracted as float64. Each is one IEEE subtraction.

    Errors: what is wrong, by result and argument, and row; offsets that differ; a difference of integers beyond int64.
    Cost: a pass over values and offsets. On CUDA one launch for all results, and one wait to learn whether a difference was beyond int64.
    """
    return torch.ops.sparrow.subtract_rows.default(a, a_offsets, b, b_offsets, columns)
