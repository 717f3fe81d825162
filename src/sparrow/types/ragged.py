"""A column whose rows have different lengths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparrow.errors import DataError


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Ragged:
    """Rows of different lengths, stored end to end. Never mutated: transforms return a new one.

    values:  [N], any dtype. Bytes of strings are uint8, their byte offsets being the innermost level.
    offsets: one int64 tensor a level, outermost first. Level k has one more entry than the level above has elements
             (the outermost: rows + 1), starts at 0, never decreases; the innermost ends at N.
    weights: float [N], one a value, or None.

    Example: rows [[1, 2], [], [3]] are `values = [1, 2, 3]`, `offsets = ([0, 2, 2, 3],)`.
    """

    values: Tensor
    offsets: tuple[Tensor, ...]
    weights: Tensor | None = None

    def __init__(self, values: Tensor, offsets: tuple[Tensor, ...], weights: Tensor | None = None) -> None:
        # Readers make one for each column of each batch; what `dataclass` writes takes twice as long.
        _set_values(self, values)
        _set_offsets(self, offsets)
        _set_weights(self, weights)

    @property
    def num_rows(self) -> int:
        return self.offsets[0].numel() - 1

    @property
    def is_bytes(self) -> bool:
        """Whether the innermost level is the bytes of strings."""
        return self.values.dtype == torch.uint8

    def lengths(self) -> Tensor:
        """Number of elements of each row at the outermost level, int64 [rows]."""
        return self.offsets[0].diff()

    def with_values(self, values: Tensor) -> Ragged:
        """Return the same rows holding other values, one for one; offsets and weights are shared, not copied."""
        return Ragged(values, self.offsets, self.weights)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Ragged:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        weights = None if self.weights is None else move(self.weights)
        return Ragged(move(self.values), tuple(move(level) for level in self.offsets), weights)

    def check(self, name: str) -> Ragged:
        """Return self if the levels fit together, else raise `DataError` naming column `name`. Cost: one pass over the offsets."""
        num_elements: int | None = None
        for level, offsets in enumerate(self.offsets):
            if offsets.dtype != torch.int64 or offsets.dim() != 1 or offsets.numel() == 0:
                raise DataError(
                    f"column {name!r}: offsets of level {level} must be int64 [rows + 1], got {offsets.dtype} {list(offsets.shape)}"
                )
            if num_elements is not None and offsets.numel() != num_elements + 1:
                raise DataError(
                    f"column {name!r}: offsets of level {level} describe {offsets.numel() - 1} rows, the level above holds {num_elements}"
                )
            if int(offsets[0]) != 0 or bool((offsets.diff() < 0).any()):
                raise DataError(f"column {name!r}: offsets of level {level} must start at 0 and never decrease")
            num_elements = int(offsets[-1])
        if num_elements != self.values.numel():
            raise DataError(f"column {name!r}: offsets end at {num_elements}, but there are {self.values.numel()} values")
        if self.weights is not None and self.weights.numel() != self.values.numel():
            raise DataError(f"column {name!r}: {self.weights.numel()} weights for {self.values.numel()} values")
        return self


_set_values, _set_offsets, _set_weights = (Ragged.__dict__[name].__set__ for name in ("values", "offsets", "weights"))

# A dense column is a tensor [rows] or [rows, width]; every other column is Ragged.
Column = Tensor | Ragged
