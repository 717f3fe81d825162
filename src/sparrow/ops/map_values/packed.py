"""What `map_values` is told beside the columns: chains, their steps and tables, packed once for many calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

OUTPUT_DTYPES = (torch.int64, torch.float32, torch.float64)  # by output dtype code
VALUE_DTYPES = (
    torch.uint8, torch.bool, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
)  # fmt: skip
# What a vocabulary does with a key it does not hold.
TO_INDEX, TO_BUCKETS, TO_ERROR = range(3)


class Source(IntEnum):
    """What a chain makes an output of: each value; each string that offsets cut out of bytes; each row of at most one value."""

    VALUES = 0
    BYTES = 1
    ROWS = 2


@dataclass(frozen=True, slots=True)
class Packed:
    """Chains ready to run on columns of the dtypes they were packed for.

    chains: int64 [C, 6]; steps: int64 [S, 4]; both stay on the CPU. tables: what steps look up, on the device of the columns.
    dtypes: the dtype of each output. `op.map_values` tells what the tensors hold.
    """

    chains: Tensor
    steps: Tensor
    tables: tuple[Tensor, ...]
    dtypes: tuple[torch.dtype, ...]

    def to(self, device: torch.device | str) -> Packed:
        """Return the same for columns on `device`: its tables are copied there, once."""
        return replace(self, tables=tuple(table.to(device) for table in self.tables))
