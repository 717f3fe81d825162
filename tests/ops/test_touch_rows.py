"""touch_rows_: reference and C++ against a dict."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.touch_rows import reference
from sparrow.ops.touch_rows.op import touch_rows_

BODIES = {"reference": reference.touch_rows_, "cpu": touch_rows_}
MOST = 2**31 - 1


@pytest.mark.parametrize("body", BODIES)
@given(touched=st.dictionaries(st.integers(0, 9), st.integers(1, MOST)), unknown=st.integers(0, 2), step=st.integers(0, MOST))
def test_stamps_and_counts(body: str, touched: dict[int, int], unknown: int, step: int) -> None:
    meta = torch.arange(40, dtype=torch.int32).reshape(10, 4)
    before = meta.tolist()
    rows = torch.tensor([*touched, *[-1] * unknown, 5, 6], dtype=torch.int32)  # the last two lie beyond num_rows
    counts = torch.tensor([*touched.values(), *[1] * unknown, 1, 1], dtype=torch.int32)
    BODIES[body](meta, rows, counts, torch.tensor([rows.numel() - 2]), step)
    for row, old in enumerate(before):
        count = touched.get(row)
        assert meta[row].tolist() == (old if count is None else [step, old[1], min(old[2] + count, MOST), old[3]])


def test_opcheck() -> None:
    rows = torch.tensor([1, 2], dtype=torch.int32)
    opcheck(
        torch.ops.sparrow.touch_rows_.default, (torch.zeros(4, 4, dtype=torch.int32), rows, torch.ones_like(rows), torch.tensor([2]), 3)
    )


def test_row_outside_is_refused() -> None:
    rows = torch.tensor([4], dtype=torch.int32)
    with pytest.raises(RuntimeError, match="rows"):
        touch_rows_(torch.zeros(4, 4, dtype=torch.int32), rows, torch.ones_like(rows), torch.tensor([1]), 3)
