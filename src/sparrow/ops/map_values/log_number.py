"""Natural logarithms as `csrc/core/log.h` computes them, in torch's float64 operations: the same bits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SQRT_HALF, _ONE = 0x3FE6A09E667F3BCD, 1023 << 52
_LOG2_HIGH, _LOG2_LOW = float.fromhex("0x1.62e42fefa2p-1"), float.fromhex("0x1.9ef35793c7673p-41")


def _log_of(x: Tensor, rest: Tensor, extra: Tensor) -> Tensor:
    bits = x.view(torch.int64)
    biased = (bits - _SQRT_HALF + _ONE) >> 52
    k = (biased - 1023).double() - extra
    f = (bits - (biased << 52) + _ONE).view(torch.float64) - 1.0
    s = f / (2.0 + f)
    z, half_square = s * s, 0.5 * f * f
    series = torch.full_like(x, 2.0 / 21.0)
    for denominator in (19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0):
        series = series * z + 2.0 / denominator
    series = series * z
    scaled = rest * ((2046 - biased).clamp(min=0) << 52).view(torch.float64)
    beside = scaled * (1.0 - 2.0 * s * (1.0 - s * (1.0 - s)))
    whole = k * _LOG2_HIGH
    high = whole + f
    lost = (whole - high) + f
    return high + (lost + ((s * (half_square + series) + (k * _LOG2_LOW + beside)) - half_square))


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
    rest = torch.where(least < 1.0, (1.0 - total) + least, (least - total) + 1.0)
    value = _log_of(total, rest, torch.zeros_like(x))
    return torch.where(total < math.inf, value, least)
