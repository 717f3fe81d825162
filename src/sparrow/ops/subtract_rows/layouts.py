"""Which values subtract_rows takes together, and what they give."""

import torch

# Both columns have the same offsets; or one has one value a row, where the other has a list.
ALIGNED, ONE_B, ONE_A = 0, 1, 2


def difference_dtype(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """Return the dtype of a - b: int64 of two int64, the wider of two floats, float64 of an integer and a float."""
    return a if a == b else torch.float64
