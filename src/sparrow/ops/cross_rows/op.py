"""Every combination of the ids of several columns, row by row -> one id each."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "cross_rows(Tensor[] values, Tensor[] weights, Tensor[] offsets, Tensor first_input)"
    " -> (Tensor[] values, Tensor[] weights, Tensor[] offsets)"
)
library.triton_body("cross_rows", "sparrow.ops.cross_rows.triton")


@library.shape_function("cross_rows")
def _shapes(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    context = torch.library.get_ctx()
    like = values[0] if values else first_input

    def empty(dtype: torch.dtype) -> list[Tensor]:
        return [like.new_empty(context.new_dynamic_size(), dtype=dtype) for _ in range(first_input.shape[0] - 1)]

    return empty(torch.int64), empty(torch.float32), empty(torch.int64)


def cross_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return, for each of X results, every combination of one id of each of its inputs, row by row; the last input's id varies fastest.

    A combination's id is MurmurHash64A (seed 0) of its ids' little-endian bytes in order, read as signed; equal combinations are kept. Its
    weight is the product of its ids' weights, in order. Source: feature crosses of RecIS, without their removal of duplicates.

    Args:
        values: for each of I inputs, int64 [N]: its rows' ids.
        weights: for each input, float32 [N]; an empty tensor where all are 1.
        offsets: for each input, int64 [R + 1]: row r has the ids from offsets[r] to offsets[r + 1]; an empty tensor where each row has one.
        first_input: int64 [X + 1], on the CPU: result x crosses the inputs from first_input[x] to first_input[x + 1], two or more, of as
            many rows.

    Returns:
        values: for each result, int64 [M].
        weights: for each result, float32 [M]; empty where none of its inputs has weights (one without values has none).
        offsets: for each result, int64 [R + 1].

    Errors: what is wrong, by input or result, and row. A call that makes more than 2^31 ids names the row that was too much.
    Cost: 8 bytes written a combination, 12 with weights, and two multiplications; three or four for each value, not each combination. On
    CUDA one launch for all results and one wait for their sizes; outputs lie in memory for up to twice as many combinations as rows of
    mean length have. A result that has more, or for which that is more than 2^24, takes a second launch and exact memory.
    In a step that a graph repeats nobody waits, outputs stay as large, and results of which several inputs have lists are refused.
    """
    return torch.ops.sparrow.cross_rows.default(values, weights, offsets, first_input)
