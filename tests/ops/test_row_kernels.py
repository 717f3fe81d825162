"""What the Triton bodies of operators on many ragged columns refuse; before a kernel starts, so that no GPU is needed."""

import importlib
from typing import Any

import pytest
import torch

from ragged_columns import table

pytest.importorskip("triton", reason="triton is not installed: there are no Triton bodies")

VALUES, OFFSETS = [torch.arange(3), torch.arange(4)], [torch.tensor([0, 2, 3]), torch.tensor([0, 0, 4])]
WEIGHTS = [torch.ones(3), torch.ones(4)]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("truncate_rows", (VALUES, WEIGHTS, OFFSETS, table([(1, 0, 2, 0, 0)], 5)), r"columns must be int64 \[2, 5\] on the CPU"),
        ("truncate_rows", (VALUES, WEIGHTS, OFFSETS, table([(1, 0, 2, 0, 0), (0, 0, 2, 0, 0)], 5)), "columns: column 1 has 0 levels"),
        ("truncate_rows", (VALUES, WEIGHTS, OFFSETS, table([(1, 0, 2, 0, 0), (1, 1, 2, 0, 0)], 5)), "columns: column 1 has no level 1"),
        ("truncate_rows", (VALUES, WEIGHTS, OFFSETS, table([(1, 0, 2, 0, 0), (1, 0, -1, 0, 0)], 5)), "columns: column 1 is to be cut to"),
        ("truncate_rows", (VALUES, WEIGHTS, OFFSETS, table([(1, 0, 2, 3, 0), (1, 0, 2, 0, 0)], 5)), "columns: column 0 keeps side 3"),
        ("truncate_rows", (VALUES, WEIGHTS, OFFSETS, table([(1, 0, 2, 0, 1), (1, 0, 2, 0, 0)], 5)), "columns: column 0 adds empty lists"),
        ("truncate_rows", (VALUES, WEIGHTS[:1], OFFSETS, table([(1, 0, 2, 0, 0)] * 2, 5)), "weights: 1 tensors for 2 columns"),
        ("truncate_rows", (VALUES, WEIGHTS[::-1], OFFSETS, table([(1, 0, 2, 0, 0)] * 2, 5)), "weights: column 0 must be"),
        ("truncate_rows", (VALUES, [], OFFSETS[:1], table([(1, 0, 2, 0, 0)] * 2, 5)), "offsets: 1 tensors for 2 levels of 2 columns"),
        ("truncate_rows", (VALUES, [], [*OFFSETS[:1], torch.zeros(3)], table([(1, 0, 2, 0, 0)] * 2, 5)), "offsets: column 1, level 0 must"),
        ("truncate_rows", ([VALUES[0], torch.arange(8)[::2]], [], OFFSETS, table([(1, 0, 2, 0, 0)] * 2, 5)), "values: column 1 must be"),
        ("pad_rows", (VALUES, OFFSETS, table([(1, -2, 0, 0, 0, 0, 0)] * 2, 7)), "columns: column 0 is to have lists of negative length"),
        ("pad_rows", (VALUES, OFFSETS, table([(1, 2, 0, 0, 2, 0, 0)] * 2, 7)), "columns: column 0 keeps side 2"),
        ("pad_rows", (VALUES, OFFSETS, table([(1, 2, 0, 0, 0, 2, 0)] * 2, 7)), "columns: column 0 is filled on side 2"),
        ("pad_rows", (VALUES[:1], OFFSETS, table([(1, 2, 0, 0, 0, 0, 0)] * 2, 7), True), "values: 1 tensors for 2 columns"),
        ("top_rows", (VALUES, WEIGHTS, OFFSETS, table([1, -1], 1)), "columns: column 1 is to keep -1 items"),
        ("top_rows", (VALUES, [WEIGHTS[0], torch.empty(0)], OFFSETS, table([1, 1], 1)), "weights: column 1 has 0 weights for 4 values"),
        ("unique_rows", (VALUES, WEIGHTS, OFFSETS, table([1, 2], 1)), "columns: column 1 has weights policy 2"),
        ("unique_rows", ([VALUES[0], torch.ones(4)], WEIGHTS, OFFSETS, table([1, 1], 1)), "values: column 1 must have an integer dtype"),
        ("length_rows", (OFFSETS, table([(1, 0), (1, 1)], 2)), "columns: column 1 has no level 1"),
    ],
)
def test_wrong_arguments_are_named(name: str, arguments: tuple[Any, ...], message: str) -> None:
    body = getattr(importlib.import_module(f"sparrow.ops.{name}.triton"), name)
    with pytest.raises(RuntimeError, match=message):
        body(*arguments)
