"""`bucketize`, plainly."""

import math

import torch
from torch import Tensor


def bucketize(values: Tensor, boundaries: Tensor) -> Tensor:
    known = boundaries.tolist()
    return torch.tensor(
        [len(known) if math.isnan(value) else sum(boundary <= value for boundary in known) for value in values.tolist()], dtype=torch.int64
    )
