"""`unsigned_mod`, plainly, on Python's integers."""

import torch
from torch import Tensor


def unsigned_mod(ids: Tensor, divisor: int) -> Tensor:
    return torch.tensor([id % 2**64 % divisor for id in ids.tolist()], dtype=torch.int64)
