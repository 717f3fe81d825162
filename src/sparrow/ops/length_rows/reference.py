"""What length_rows does, column by column."""

from torch import Tensor


def length_rows(offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    lengths, first = [], 0
    for num_levels, level in columns.tolist():
        lengths.append(offsets[first + level].diff())
        first += num_levels
    return lengths
