"""Every kind of bad input, in every format that keeps types: an error that names it, or left out and counted; never in silence.

Each case spoils the second of three files. `Dataset` has planned by the first; the third must still be read where bad ones are left out.
"""

import pathlib
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from torch import Tensor

from sparrow.errors import DataError
from sparrow.io import Dataset
from tables_on_disk import COLUMNAR

_NUM_ROWS, _PIECE = 40, 10
Spoil = Callable[[pathlib.Path, str], None]


def _write(path: pathlib.Path, suffix: str, first: int, **changes: Any) -> None:
    columns = {"x": list(range(first, first + _NUM_ROWS)), "y": [1.5] * _NUM_ROWS, **changes}
    COLUMNAR[suffix](pa.table({name: column for name, column in columns.items() if column is not None}), path, _PIECE)


def _cut(path: pathlib.Path, suffix: str) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _corrupt(path: pathlib.Path, suffix: str) -> None:
    """Garbage where the file says how it is laid out: at its end, or with a stream at its beginning."""
    data = bytearray(path.read_bytes())
    begin, end = (8, 200) if suffix == "arrows" else (len(data) - 200, len(data) - 12)
    data[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(data)


def _with(**changes: Any) -> Spoil:
    return lambda path, suffix: _write(path, suffix, 100, **changes)


# How a file is spoiled, what the error says of it, and how many rows of it are left out with on_error="skip": None, all of it.
CASES: dict[str, tuple[Spoil, str, int | None]] = {
    "truncated": (_cut, r"", None),
    "corrupt": (_corrupt, r"", None),
    "empty": (lambda path, suffix: path.write_bytes(b""), r"the file is empty \(0 bytes\)", None),
    "other bytes": (lambda path, suffix: path.write_bytes(b"\x00" * 1000), r"of no format that is known|is not ", None),
    "renamed column": (_with(y=None, z=[1.5] * _NUM_ROWS), r"no column 'y'; .*z", None),
    "type changed": (_with(y=["a"] * _NUM_ROWS), r"column 'y' has type string, but double in .*0\.", None),
    "wider type": (_with(x=[float(row) for row in range(_NUM_ROWS)]), r"column 'x' has type double, but int64 in .*0\.", None),
    "one null": (_with(y=[None if row == 17 else 1.5 for row in range(_NUM_ROWS)]), r"column 'y', row 17: a null", _PIECE),
    "nulls all over": (_with(y=pa.array([None] * _NUM_ROWS, pa.float64())), r"column 'y', row 0: a null", _NUM_ROWS),
    "deleted": (lambda path, suffix: path.unlink(), r"the file is gone since the dataset was made", None),
}


def _rows(dataset: Dataset) -> list[int]:
    rows: list[int] = []
    for batch in dataset:
        column = batch["x"]
        assert isinstance(column, Tensor)
        rows += column.tolist()
    return rows


@pytest.mark.parametrize("suffix", COLUMNAR)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_found", [False, True], ids=["there from the start", "happens to a dataset in use"])
def test_bad_input(tmp_path: pathlib.Path, case: str, suffix: str, is_found: bool) -> None:
    spoil, message, num_left_out = CASES[case]
    paths = [tmp_path / f"{index}.{suffix}" for index in range(3)]
    for index, path in enumerate(paths):
        _write(path, suffix, 100 * index)
    policies = ("error", "skip")
    if is_found:
        datasets = [Dataset(paths, ["x", "y"], batch_size=7, on_error=policy) for policy in policies]
        spoil(paths[1], suffix)
    else:
        spoil(paths[1], suffix)
        if case == "deleted":
            with pytest.raises(DataError, match=rf"{re.escape(str(paths[1]))}: no such file"):
                Dataset(paths, ["x", "y"], batch_size=7)
            return
        datasets = [Dataset(paths, ["x", "y"], batch_size=7, on_error=policy) for policy in policies]
    strict, lenient = datasets
    rows: list[int] = []
    with pytest.raises(DataError) as error:
        rows += _rows(strict)
    text = str(error.value)
    assert text.startswith(str(paths[1]))
    assert "\n" not in text
    if is_found and case != "deleted":
        # Not the file the dataset was made with: no policy reads on as if nothing were.
        assert "changed while in use" in text
        with pytest.raises(DataError, match="changed while in use"):
            _rows(lenient)
        return
    assert re.search(message, text), text
    if num_left_out is None:
        assert _rows(lenient) == [*range(_NUM_ROWS), *range(200, 200 + _NUM_ROWS)]
        assert [(one.path, one.piece) for one in lenient.skipped] == [(str(paths[1]), None)]
    else:
        kept = [row for row in range(100, 100 + _NUM_ROWS) if num_left_out < _NUM_ROWS and not 110 <= row < 120]
        assert _rows(lenient) == [*range(_NUM_ROWS), *kept, *range(200, 200 + _NUM_ROWS)]
        assert lenient.counters["skipped_rows"] == num_left_out
        assert lenient.counters["skipped_pieces"] == num_left_out // _PIECE
    assert all(one.reason for one in lenient.skipped)


@pytest.mark.parametrize("suffix", COLUMNAR)
def test_a_file_without_rows_is_no_bad_input(tmp_path: pathlib.Path, suffix: str) -> None:
    paths = [tmp_path / f"{index}.{suffix}" for index in range(3)]
    for index, path in enumerate(paths):
        _write(path, suffix, 100 * index)
    COLUMNAR[suffix](pa.table({"x": pa.array([], pa.int64()), "y": pa.array([], pa.float64())}), paths[1], _PIECE)
    dataset = Dataset(paths, ["x", "y"], batch_size=7)
    assert _rows(dataset) == [*range(_NUM_ROWS), *range(200, 200 + _NUM_ROWS)]
    assert not any(dataset.counters.values())
