"""Bytes of an open file as tensors."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack


def read_range(source: Any, begin: int, end: int) -> Tensor:
    """Return bytes begin..end of pyarrow's open file, uint8, fewer where it ends before. Nobody may write to them. Raises `OSError`."""
    source.seek(begin)
    data = source.read_buffer(end - begin)
    if data.size == 0:
        return torch.empty(0, dtype=torch.uint8)
    # DLPack, because from_numpy warns that the memory is read-only.
    found: Tensor = from_dlpack(pa.Array.from_buffers(pa.uint8(), data.size, [None, data]))
    return found
