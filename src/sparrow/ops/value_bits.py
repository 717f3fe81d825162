"""A number as the parameters of an operator hold it: by its bits, beside integers."""

import torch


def value_bits(value: float, dtype: torch.dtype) -> int:
    """Return the bits of `value` as `dtype` (of 8 bytes at most), in the low bytes of an int64. It must fit the dtype."""
    held = torch.tensor([value], dtype=dtype).view(torch.uint8).numpy().tobytes()
    return int.from_bytes(held.ljust(8, b"\0"), "little", signed=True)
