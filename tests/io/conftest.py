"""ORC files made on the spot, and columns turned back into plain Python."""

import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import orc
from torch import Tensor

from sparrow.types import Column, Ragged


@pytest.fixture(scope="session")
def write_orc(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., pathlib.Path]:
    """Return a function that writes tables as part-0.orc, part-1.orc, ... of a new folder, `stripe_rows` rows a stripe."""
    numbers = itertools.count()
    root = tmp_path_factory.mktemp("orc")

    def write(*tables: pa.Table, stripe_rows: int = 10_000, compression: str = "uncompressed") -> pathlib.Path:
        folder = root / str(next(numbers))
        folder.mkdir()
        for index, table in enumerate(tables):
            orc.write_table(table, str(folder / f"part-{index}.orc"), batch_size=stripe_rows, stripe_size=512, compression=compression)
        return folder

    return write


def _rows(column: Column) -> list[Any]:
    if isinstance(column, Tensor):
        return column.tolist()
    elements: list[Any] = column.values.tolist()
    for level, offsets in reversed(list(enumerate(column.offsets))):
        bounds = offsets.tolist()
        assert bounds[0] == 0
        assert bounds[-1] == len(elements)
        elements = [elements[begin:end] for begin, end in itertools.pairwise(bounds)]
        if column.is_bytes and level == len(column.offsets) - 1:
            elements = [bytes(element) for element in elements]
    return elements


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Column], list[Any]]:
    """Return a function that gives the rows of a column as numbers, lists and bytes; ragged ones are checked on the way."""

    def rows(column: Column) -> list[Any]:
        return _rows(column.check("a column") if isinstance(column, Ragged) else column)

    return rows
