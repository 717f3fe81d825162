"""What cut_rows does, column by column."""

from torch import Tensor


def cut_rows(offsets: Tensor, values: list[Tensor], dense: list[Tensor], begin: int, end: int) -> list[Tensor]:
    columns = [column[begin:end] for matrix in dense for column in matrix]
    bounds = [column[begin : end + 1] for column in offsets]
    cut = [of[int(here[0]) : int(here[-1])] for of, here in zip(values, bounds, strict=True)]
    return [*columns, *cut, *(here - here[0] for here in bounds)]
