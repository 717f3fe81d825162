"""`gather_pool`, plainly; and the one order in which rows are added."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

CHUNK_ROWS = 256
SUM, MEAN, SQRT_N = range(3)


def chunked_sum(values: Tensor) -> Tensor:
    """Return the sum of values [n, D] over n: 256 rows at a time in order, chunk sums in order."""
    total = values.new_zeros(values.shape[1])
    for first in range(0, values.shape[0], CHUNK_ROWS):
        chunk = values.new_zeros(values.shape[1])
        for row in values[first : first + CHUNK_ROWS]:
            chunk = chunk + row
        total = total + chunk
    return total


def divisor(combiner: int, position_weights: Tensor | None, begin: int, end: int, dtype: torch.dtype) -> Tensor:
    """Return what a combiner divides by: mean the sum of the weights, sqrtn the root of the sum of their squares; none given, each is 1."""
    if combiner == SUM:
        return torch.ones((), dtype=dtype)
    if position_weights is None:
        total = torch.tensor(end - begin, dtype=dtype)
    else:
        own = position_weights[begin:end].to(dtype).unsqueeze(1)
        total = chunked_sum(own * own if combiner == SQRT_N else own)[0]
    return torch.tensor(numpy.sqrt(total.numpy()), dtype=dtype) if combiner == SQRT_N else total


def gather_pool(
    sink: Tensor, weights: list[Tensor], default_row: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor,
    position_weights: Tensor | None, combiners: Tensor, num_samples: int,
) -> Tensor:  # fmt: skip
    dtype = torch.float64 if default_row.dtype == torch.float64 else torch.float32
    out = default_row.new_empty(num_samples, combiners.numel(), default_row.numel(), dtype=dtype)
    for feature in range(combiners.numel()):
        for sample in range(num_samples):
            begin, end = offsets[feature * num_samples + sample : feature * num_samples + sample + 2].tolist()
            values = []
            for position in range(begin, end):
                row = int(rows[inverse[position]])
                value = default_row if row < 0 else weights[row // weights[0].shape[0]][row % weights[0].shape[0]]
                factor = torch.tensor(1.0) if position_weights is None else position_weights[position]
                values.append(factor.to(dtype) * value.to(dtype))
            pooled = chunked_sum(torch.stack(values)) if values else out.new_zeros(default_row.numel())
            if int(combiners[feature]) != SUM and begin < end:
                by = divisor(int(combiners[feature]), position_weights, begin, end, dtype)
                pooled = pooled / by if by != 0 else torch.zeros_like(pooled)
            out[sample, feature] = pooled
    return out
