"""`gather_pool`, plainly; and the one order in which rows are added."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_ROWS = 256
MEAN = 1


def chunked_sum(values: Tensor) -> Tensor:
    """Return the sum of values [n, D] over n: 256 rows at a time in order, chunk sums in order."""
    total = values.new_zeros(values.shape[1])
    for first in range(0, values.shape[0], CHUNK_ROWS):
        chunk = values.new_zeros(values.shape[1])
        for row in values[first : first + CHUNK_ROWS]:
            chunk = chunk + row
        total = total + chunk
    return total


def divisor(position_weights: Tensor | None, begin: int, end: int, dtype: torch.dtype) -> Tensor:
    """Return what a mean divides by: the number of ids, or the sum of their weights."""
    if position_weights is None:
        return torch.tensor(end - begin, dtype=dtype)
    return chunked_sum(position_weights[begin:end].to(dtype).unsqueeze(1))[0]


def gather_pool(
    sink: Tensor, weights: list[Tensor], default_row: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor,
    position_weights: Tensor | None, combiners: Tensor, num_samples: int,
) -> Tensor:  # fmt: skip
    dtype = default_row.dtype
    out = default_row.new_empty(num_samples, combiners.numel(), default_row.numel())
    for feature in range(combiners.numel()):
        for sample in range(num_samples):
            begin, end = offsets[feature * num_samples + sample : feature * num_samples + sample + 2].tolist()
            values = []
            for position in range(begin, end):
                row = int(rows[inverse[position]])
                value = default_row if row < 0 else weights[row // weights[0].shape[0]][row % weights[0].shape[0]]
                factor = torch.tensor(1.0) if position_weights is None else position_weights[position]
                values.append(factor.to(dtype) * value)
            pooled = chunked_sum(torch.stack(values)) if values else torch.zeros_like(default_row)
            if int(combiners[feature]) == MEAN and begin < end:
                by = divisor(position_weights, begin, end, dtype)
                pooled = pooled / by if by != 0 else torch.zeros_like(pooled)
            out[sample, feature] = pooled
    return out
