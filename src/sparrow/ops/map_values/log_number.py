"""Natural logarithms as `csrc/core/log.h` computes them, in torch's float64 operations: the same bits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SQRT_HALF, ONE = 0x3FE6A09E667F3BCD, 1023 << 52
LOG2_HIGH, LOG2_LOW = float.fromhex("0x1.62e42fefa2p-1"), float.fromhex("0x1.9ef35793c7673p-41")

# From the highest power down.
SERIES = (
    float.fromhex("0x1.2b584aae84960p-3"),
    float.fromhex("0x1.39fe606541e69p-3"),
    float.fromhex("0x1.7462b4ab2efe2p-3"),
    float.fromhex("0x1.c71c62e58009fp-3"),
    float.fromhex("0x1.2492492df148dp-2"),
    float.fromhex("0x1.99999999952e2p-2"),
    float.fromhex("0x1.5555555555558p-1"),
)


def _log_of(x: Tensor, rest: Tensor, extra: Tensor) -> Tensor:
    bits = x.view(torch.int64)
    biased = (bits - SQRT_HALF + ONE) >> 52
    k = (biased - 1023).double() - extra
    f = (bits - (biased << 52) + ONE).view(torch.float64) - 1.0
    s = f / (2.0 + f)
    z, half_square = s * s, 0.5 * f * f
    series = torch.full_like(x, SERIES[0])
    for coefficient in SERIES[1:]:
        series = series * z + coefficient
    series = series * z
    beside = rest * ((2046 - biased).clamp(min=0) << 52).view(torch.float64) * (1.0 - 2.0 * s)
    whole = k * LOG2_HIGH
    high = whole + f
    lost = (whole - high) + f
    return high + (lost + ((s * (half_square + series) + (k * LOG2_LOW + beside)) - half_square))


def log_number(x: Tensor) -> Tensor:
    """Return log(x) of float64 numbers: -inf of 0, NaN of negative ones and NaN."""
    is_small = x < 2.0**-1022
    value = _log_of(torch.where(is_small, x * 2.0**54, x), torch.zeros_like(x), torch.where(is_small, 54.0, 0.0).double())
    positive = torch.where(x < math.inf, value, x)
    return torch.where(x <= 0.0, torch.where(x == 0.0, -math.inf, math.nan).double(), positive)


def log1p_number(x: Tensor) -> Tensor:
    """Return log(1 + max(x, 0)) of float64 numbers; NaN stays."""
    least = torch.where(x < 0.0, 0.0, x)
    total = 1.0 + least
    part = total - 1.0
    rest = (1.0 - (total - part)) + (least - part)
    value = _log_of(total, rest, torch.zeros_like(x))
    return torch.where(total < math.inf, value, least)
