"""The lists of several columns, one after the other, row by row."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "concat_rows(Tensor[] values, Tensor[] weights, Tensor[] offsets, Tensor first_input)"
    " -> (Tensor[] values, Tensor[] weights, Tensor[] offsets)"
)
library.triton_body("concat_rows", "sparrow.ops.concat_rows.triton")


@library.shape_function("concat_rows")
def _shapes(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    context = torch.library.get_ctx()
    like = values[0] if values else first_input
    if len({one.dtype for one in values}) > 1:
        raise NotImplementedError(
            "concat_rows: which dtype a result has stands in first_input, which tracing does not see; trace one dtype"
        )

    def empty(dtype: torch.dtype) -> list[Tensor]:
        return [like.new_empty(context.new_dynamic_size(), dtype=dtype) for _ in range(first_input.shape[0] - 1)]

    return empty(like.dtype), empty(torch.float32), empty(torch.int64)


def concat_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return, for each of X results, the lists of its inputs one after the other, row by row.

    Args:
        values: for each of I inputs, [N] of any dtype of 1, 2, 4 or 8 bytes, equal within a result.
        weights: for each input, float32 [N]; an empty tensor where all are 1.
        offsets: for each input, int64 [R + 1]: row r has the values from offsets[r] to offsets[r + 1]; an empty tensor where each row has one.
        first_input: int64 [X + 1], on the CPU: result x is made of the inputs from first_input[x] to first_input[x + 1], one or more, of as
            many rows.

    Returns:
        values: for each result, [M] of its inputs' dtype.
        weights: for each result, float32 [M]; empty where none of its inputs has weights (one without values has none), else 1 for inputs without.
        offsets: for each result, int64 [R + 1].

    Errors: what is wrong, by input or result, and row. Traced by torch.compile, all values must be of one dtype.
    Cost: a copy of the values, weights and offsets. On CUDA one launch for all results, and no wait.
    """
    return torch.ops.sparrow.concat_rows.default(values, weights, offsets, first_input)
