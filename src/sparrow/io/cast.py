"""From one dtype to another without losing anything in silence."""

from __future__ import annotations

import torch
from torch import Tensor

# Integers up to these magnitudes are all exact in the floating type (2 ** bits of the significand).
_EXACT_UP_TO = {torch.float64: 2**53, torch.float32: 2**24, torch.float16: 2**11, torch.bfloat16: 2**8}
_RANGES = {
    dtype: (torch.iinfo(dtype).min, torch.iinfo(dtype).max) for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
}
_RANGES[torch.bool] = (0, 1)


class BadValueError(Exception):
    """The value at flat position `index` does not fit; `why` says so, beginning with the value."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why


def cast(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `values` as `dtype`, the same tensor where it has that dtype already.

    Integers and booleans must be exact in `dtype`: in its range, and for a floating `dtype` of a magnitude up to 2 ** (bits of its
    significand). Floats may become floats of lower precision, rounding to nearest, but no finite value infinite. Floats become integers
    only where they are whole and in range; NaN and infinities never. Raises `BadValueError` for the first value that does not fit.
    """
    source = values.dtype
    if source == dtype:
        return values
    if source.is_floating_point and dtype.is_floating_point:
        out = values.to(dtype)
        if bool(out.isinf().any()):
            require(~(out.isinf() & ~values.isinf()), values, f"is too large for {dtype}")
        return out
    if source == torch.bool:
        return values.to(dtype)
    if source.is_floating_point:
        low, high = _RANGES[dtype]
        # -low is a power of two and exact where high is not, so the upper bound is written by it; NaN fails every comparison.
        inside = (values >= low) & ((values < -low) if low < 0 else (values <= high))
        require(inside & (values == values.floor()), values, f"is not a whole number within {dtype}")
        return values.to(dtype)
    if dtype.is_floating_point:
        low, high, why = -_EXACT_UP_TO[dtype], _EXACT_UP_TO[dtype], f"is not exact in {dtype}"
    else:
        low, high = _RANGES[dtype]
        why = f"is out of the range of {dtype} [{low}, {high}]"
    source_low, source_high = _RANGES[source]
    if low > source_low or high < source_high:
        # A bound outside the source's range would wrap around in the comparison.
        require((values >= max(low, source_low)) & (values <= min(high, source_high)), values, why)
    return values.to(dtype)


def require(fits: Tensor, values: Tensor, why: str) -> None:
    """Raise `BadValueError` for the first of `values` where `fits` is false."""
    if not bool(fits.all()):
        index = int((~fits).flatten().to(torch.uint8).argmax())
        raise BadValueError(index, f"{values.flatten()[index].item()} {why}")
