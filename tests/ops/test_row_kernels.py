"""The Triton bodies of operators on many ragged columns: that all compile, and what they refuse before a kernel starts."""

import importlib
import re
from typing import Any

import pytest
import torch

from ragged_columns import table
from triton_support import compile_kernels, for_every_target, interpreted

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


DAMAGED = [[0, 2, 5], [1, 2, 3], [0, 4, 3], [0, -(2**40), 3], [0, 2**62, 3]]


@pytest.mark.parametrize("name, parameters", [("truncate_rows", [1, 0, 2, 1, 0]), ("top_rows", [1]), ("unique_rows", [0])])
def test_damaged_offsets_are_named(name: str, parameters: list[int]) -> None:
    columns = table([parameters] * 2, len(parameters))
    cases = [(VALUES, WEIGHTS, [torch.tensor(damaged), OFFSETS[1]], columns) for damaged in DAMAGED]
    cases.append((VALUES, WEIGHTS, [OFFSETS[0], torch.tensor([0, 5, 4])], columns))
    expected = [f"offsets: column {column}, level 0 must start at 0" for column in (0, 0, 0, 0, 0, 1)]
    assert [error[: len(expected[0])] for error in interpreted(name, cases)] == expected


def test_damaged_offsets_of_deep_columns_are_named() -> None:
    columns = table([(3, 0, 2, 1, 1)], 5)
    sound = [torch.tensor([0, 1, 2]), torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1, 4])]
    cases = []
    for level in range(3):
        for damage in (-(2**62), 2**62):
            offsets = [bounds.clone() for bounds in sound]
            offsets[level][1] = damage
            cases.append((VALUES[1:], [], offsets, columns))
    errors = interpreted("truncate_rows", cases)
    assert [error[:26] for error in errors] == [f"offsets: column 0, level {level}" for level in (0, 0, 1, 1, 2, 2)]


# Each with whether it waits for words of other programs: those are read past the L1 cache, which nobody invalidates, and written through
# caches that are another program's no more than its own.
KERNELS = [
    ("length_rows.triton", "length_kernel", False),
    ("pad_rows.triton", "pad_kernel", False),
    ("top_rows.triton", "top_kernel", True),
    ("truncate_rows.triton", "truncate_kernel", True),
    ("unique_rows.triton", "unique_kernel", True),
    ("cross_rows.triton", "cross_kernel", True),
]


def test_triton_kernels_compile_for_real_targets() -> None:
    constants = {"BLOCK_N": importlib.import_module("sparrow.ops.row_kernels").BLOCK}
    for module, name, waits in KERNELS:
        compiled = compile_kernels(module, name, constants=constants)
        assert sorted(compiled) == for_every_target(name)
        for target, assembly in compiled.items():
            reads, writes = (r"global_load\S* .*sc0 sc1", r"global_store\S* .*sc0 sc1") if "gfx" in target else (r"ld\.\S*cv", r"st\.\S*wt")
            assert bool(re.search(reads, assembly)) == bool(re.search(writes, assembly)) == waits, target
