"""Element-wise chains over many columns, in one call and one pass a chain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.ops import library
from sparrow.ops.map_values.packed import Packed

library.define(
    "map_values(Tensor[] values, Tensor[] offsets, Tensor chains, Tensor steps, Tensor[] tables) -> (Tensor[] outputs, Tensor counts)"
)
library.triton_body("map_values", "sparrow.ops.map_values.triton")

# Columns of `counts`.
NOT_FINITE, REFUSED, FIRST_REFUSED, REFUSED_BY = range(4)


@library.shape_function("map_values")
def _shapes(
    values: list[Tensor], offsets: list[Tensor], chains: Tensor, steps: Tensor, tables: list[Tensor]
) -> tuple[list[Tensor], Tensor]:
    raise NotImplementedError("map_values reads from `chains` which outputs it has, and a trace knows no values: call it outside")


def map_values(values: Sequence[Tensor], offsets: Sequence[Tensor], packed: Packed) -> tuple[list[Tensor], Tensor]:
    """Run each chain of steps over its column, and return the outputs and what was counted.

    Args:
        values: contiguous 1-D tensors, of the dtypes `packed` was made for: uint8 (also the bytes of strings), bool, int8 to int64, float16,
            bfloat16, float32, float64. Never mutated.
        offsets: int64 tensors [rows + 1] that begin with 0, never decrease, and end with the size of the values they cut.
        packed: what `steps.pack` made; `packed.to(device)` for columns elsewhere than on the CPU. As the operator sees it:
            chains int64 [C, 6]: number of its values, number of its offsets or -1, `Source`, first step, number of steps, place of the
                output's dtype in `OUTPUT_DTYPES`.
            steps int64 [S, 4]: code and three parameters (`steps.py`). tables: int64 tensors that steps name by their number.

    Returns:
        outputs: a tensor a chain, int64, float32 or float64: [values], or [rows] where offsets cut strings or rows.
        counts: int64 [C, 4]: values not finite that `Finite` steps met; values refused; position of the first refused in the output, or
            -1; number of the step, within the chain, that refused it. What a refused value becomes is fixed, and of no use.

    Numbers are computed in float64 and rounded to the column's dtype after every step; ids are int64. Nothing depends on the number of
    threads, the device or the instruction set. Cost: each column is read once and each output written once.
    """
    return torch.ops.sparrow.map_values.default(list(values), list(offsets), packed.chains, packed.steps, list(packed.tables))
