"""touch_rows_: all bodies against a dict."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.touch_rows import reference
from sparrow.ops.touch_rows.op import touch_rows_
from triton_support import compile_kernels, for_every_target, size, triton_body

BODIES = {"reference": reference.touch_rows_, "cpu": touch_rows_, "triton": triton_body("touch_rows_")}
MOST = 2**31 - 1


CASES = {
    "touched": st.dictionaries(st.integers(0, 9), st.integers(1, MOST)),
    "unknown": st.integers(0, 2),
    "step": st.integers(0, MOST),
    "changed": st.booleans(),
    "clocked": st.booleans(),
}


@pytest.mark.parametrize("body", ["reference", "cpu"])
@given(**CASES)
def test_stamps_and_counts(body: str, touched: dict[int, int], unknown: int, step: int, changed: bool, clocked: bool) -> None:
    check_stamps_and_counts(body, touched, unknown, step, changed, clocked)


@settings(max_examples=20)
@given(**CASES)
def test_triton_stamps_and_counts(touched: dict[int, int], unknown: int, step: int, changed: bool, clocked: bool) -> None:
    check_stamps_and_counts("triton", touched, unknown, step, changed, clocked)


def check_stamps_and_counts(body: str, touched: dict[int, int], unknown: int, step: int, changed: bool, clocked: bool) -> None:
    meta = torch.arange(40, dtype=torch.int32).reshape(10, 4)
    before = meta.tolist()
    rows = torch.tensor([*touched, *[-1] * unknown, 5, MOST], dtype=torch.int32)  # the last two lie beyond num_rows: any value
    counts = torch.tensor([*touched.values(), *[1] * unknown, 1, 1], dtype=torch.int32)
    # Beside a clock the step is of no meaning.
    given = (7, changed, torch.tensor([step])) if clocked else (step, changed)
    BODIES[body](meta, rows, counts, torch.tensor([rows.numel() - 2]), *given)
    for row, old in enumerate(before):
        count = touched.get(row)
        assert meta[row].tolist() == (old if count is None else [step, step if changed else old[1], min(old[2] + count, MOST), old[3]])


@pytest.mark.parametrize("changed", [False, True])
def test_triton_equals_compiled(changed: bool) -> None:
    capacity = size(5000, 10**7)
    generator = torch.Generator().manual_seed(4)
    rows, counts = torch.randperm(capacity, generator=generator).int(), torch.randint(1, MOST, (capacity,), generator=generator).int()
    rows[::3] = -1
    mine = torch.randint(0, MOST, (capacity, 4), generator=generator).int()
    theirs = mine.clone()
    # num_rows ends within a block; the others are not touched.
    for meta, body in ((mine, "triton"), (theirs, "cpu")):
        BODIES[body](meta, rows, counts, torch.tensor([capacity - capacity // 5]), 11, changed)
    assert torch.equal(mine, theirs)


def test_triton_kernel_compiles_for_real_targets() -> None:
    types = {"meta": "*i32", "rows": "*i32", "counts": "*i32", "step": "i32", "num_given": "i32"}
    ptx = compile_kernels("touch_rows.triton", types=types, constants={"CHANGED": True, "BLOCK_N": 256}, threads=256)
    assert sorted(ptx) == for_every_target("touch_kernel")
    assert re.search(r"ld\.global\S*\.v4\.b32", ptx["touch_kernel 90"]), "a row's stamps are read 16 bytes at a time"
    assert re.search(r"st\.global\S*\.v4\.b32", ptx["touch_kernel 90"]), "and written so"


@pytest.mark.parametrize(
    ("position", "value", "named"),
    [
        (0, torch.zeros(4, 3, dtype=torch.int32), "meta must be"),
        (0, torch.zeros(4, 8, dtype=torch.int32)[:, :4], "meta must be .* strided"),
        (1, torch.tensor([1, 2]), "rows must be .* torch.int64 tensor"),
        (2, torch.ones(2), "counts must be .* torch.float32 tensor"),
        (3, torch.tensor([1, 2]), "num_rows must hold one value, holds 2"),
        (4, 2**31, "step must be from 0 to"),
        (4, -1, "step must be from 0 to"),
        (6, torch.tensor([1, 2]), "clock must hold one value, holds 2"),
        (6, torch.tensor([1.0]), "clock must be .* torch.float32 tensor"),
    ],
)
def test_triton_names_a_wrong_argument(position: int, value: object, named: str) -> None:
    rows = torch.tensor([1, 2], dtype=torch.int32)
    arguments = [torch.zeros(4, 4, dtype=torch.int32), rows, torch.ones_like(rows), torch.tensor([2]), 3, False, None]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=named):
        BODIES["triton"](*arguments)


def test_opcheck() -> None:
    rows = torch.tensor([1, 2], dtype=torch.int32)
    opcheck(
        torch.ops.sparrow.touch_rows_.default,
        (torch.zeros(4, 4, dtype=torch.int32), rows, torch.ones_like(rows), torch.tensor([2]), 3, True),
    )


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, counts = torch.randperm(20_000, generator=generator).int(), torch.randint(1, 9, (20_000,), generator=generator).int()
    stamped = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        meta = torch.zeros(20_000, 4, dtype=torch.int32)
        touch_rows_(meta, rows, counts, torch.tensor([15_000]), 7, True)
        stamped.append(meta)
    assert torch.equal(stamped[0], stamped[1])
    assert torch.equal(stamped[0], stamped[2])


@pytest.mark.parametrize(
    ("position", "value", "named"),
    [
        (0, torch.zeros(4, 3, dtype=torch.int32), "meta"),
        (0, torch.zeros(4, 4), "meta has the wrong dtype"),
        (0, torch.zeros(4, 8, dtype=torch.int32)[:, :4], "meta must be a contiguous CPU tensor"),
        (1, torch.tensor([1, 4], dtype=torch.int32), r"rows\[1\] is 4, the blocks hold 4 rows"),
        (1, torch.tensor([-2, 0], dtype=torch.int32), r"rows\[0\] is -2"),
        (1, torch.tensor([1, 2]), "rows has the wrong dtype"),
        (2, torch.tensor([1], dtype=torch.int32), "num_rows must not exceed"),
        (2, torch.ones(2), "counts has the wrong dtype"),
        (3, torch.tensor([3]), "num_rows must not exceed"),
        (3, torch.tensor([-1]), "num_rows"),
        (3, torch.tensor([], dtype=torch.int64), "num_rows must hold one value, holds 0"),
        (4, 2**31, "step must be from 0"),
        (6, torch.tensor([2**31]), "step must be from 0 to .* got 2147483648"),
        (6, torch.tensor([1, 2]), "clock must hold one value, holds 2"),
        (6, torch.tensor([1.0]), "clock has the wrong dtype"),
    ],
)
def test_wrong_argument_is_named(position: int, value: object, named: str) -> None:
    rows = torch.tensor([1, 2], dtype=torch.int32)
    arguments = [torch.zeros(4, 4, dtype=torch.int32), rows, torch.ones_like(rows), torch.tensor([2]), 3, False, None]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=named):
        touch_rows_(*arguments)  # type: ignore[arg-type]
