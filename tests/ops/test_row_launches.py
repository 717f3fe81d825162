"""Operators on rows on a GPU: each call is one launch, whose programs wait for one another's sums, in whatever order they run."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ragged_columns import assert_same, large_columns, random_columns, table
from row_lists_support import NO_OFFSETS, NO_WEIGHTS, random_column
from tests_support import run_python

pytest.importorskip("triton", reason="triton is not installed: there are no Triton bodies")

INTEGERS = [torch.int64, torch.int32, torch.int16, torch.uint8]


def lists_of(num_rows: int, seed: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    columns = large_columns(3, num_rows, 2, seed=seed)
    columns.values = [one.to(dtype) for one, dtype in zip(columns.values, INTEGERS, strict=False)]
    return columns.lists


def truncate_call(num_rows: int, seed: int) -> tuple[Any, ...]:
    """One level, and three of which each is cut, with and without empty lists added."""
    values, weights, offsets = lists_of(num_rows, seed)
    deep = random_columns(seed, 5, INTEGERS)
    parameters = [(1, 0, 1 + seed % 3, column % 2, 0) for column in range(3)]
    for column, num_levels in enumerate(deep.num_levels):
        level = (seed + column) % num_levels
        parameters.append((num_levels, level, 2, column % 2, (seed + column) % 3 if level < num_levels - 1 else 0))
    return values + deep.values, weights + deep.weights, offsets + deep.offsets, table(parameters, 5)


def crossed_call(num_rows: int, seed: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    (x, x_offsets), (y, y_offsets) = (random_column(num_rows, 3, generator) for _ in range(2))
    dense = torch.randint(0, 9, (num_rows,), generator=generator)
    weights = torch.rand(x.numel(), generator=generator)
    return (
        [x, y, dense, x, dense, dense],
        [weights, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS, NO_WEIGHTS],
        [x_offsets, y_offsets, NO_OFFSETS, x_offsets, NO_OFFSETS, NO_OFFSETS],
        torch.tensor([0, 2, 4, 6]),
    )


def calls_of(op: str, num_rows: int, seed: int = 0) -> tuple[Any, ...]:
    """Arguments of operator `op` for several columns or results."""
    values, weights, offsets = lists_of(num_rows, seed)
    ids = [one.long() for one in values]
    calls = {
        "truncate_rows": lambda: truncate_call(num_rows, seed),
        "top_rows": lambda: (values, weights, offsets, table([1, 2, 0], 1)),
        "unique_rows": lambda: (values, [weights[0], NO_WEIGHTS, weights[2]], offsets, table([1, 0, 0], 1)),
        "length_rows": lambda: (offsets, table([(1, 0)] * 3, 2)),
        "pad_rows": lambda: (values, offsets, table([(1, 3, 0, 0, 0, 0, 7)] * 3, 7)),
        "cross_rows": lambda: crossed_call(num_rows, seed),
        "concat_rows": lambda: (ids, weights, offsets, torch.tensor([0, 2, 3])),
        "lookup_rows": lambda: (ids[:2], offsets[:2], ids[1:], offsets[1:], ids[1:], table([(0, 7)] * 2, 2)),
        "overlap_rows": lambda: (ids[:2], offsets[:2], ids[1:], offsets[1:], torch.tensor([0, 2])),
        "subtract_rows": lambda: (ids, offsets, ids, offsets, torch.tensor([0, 0, 0])),
    }
    return calls[op]()


OPS = [path.parent.name for path in sorted((Path(__file__).parents[2] / "src/sparrow/ops").glob("*_rows/triton.py"))]
# Operators of tables are counted elsewhere.
OPS = [op for op in OPS if op not in ("init_rows", "touch_rows", "update_rows", "pool_update_rows")]

_COUNTED = """
import importlib, json, sys, torch
import triton.runtime.interpreter as interpreter
launches, launch = [], interpreter.GridExecutor.__call__
def counting(self, *arguments, **named):
    launches.append(self.fn.__name__)
    launch(self, *arguments, **named)
interpreter.GridExecutor.__call__ = counting
counts = {}
for op, arguments in torch.load(sys.stdin.read()).items():
    launches.clear()
    getattr(importlib.import_module(f"sparrow.ops.{op}.triton"), op)(*arguments)
    counts[op] = len(launches)
print(json.dumps(counts))
"""


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many kernels of ours a call of each operator launches."""
    path = tmp_path_factory.mktemp("calls") / "calls.pt"
    torch.save({op: calls_of(op, 30) for op in OPS}, path)
    return json.loads(run_python(_COUNTED, stdin=str(path), TRITON_INTERPRET="1"))


@pytest.mark.parametrize("op", OPS)
def test_a_call_is_one_launch_whatever_the_number_of_columns(op: str, launches: dict[str, int]) -> None:
    assert launches[op] == 1


# Tiles of a few rows, so that there are many; programs race in an order drawn by chance, and see stale words.
_RACING = """
import importlib, sys, torch
import interleaving
from sparrow.ops import row_kernels
op, calls, path = torch.load(sys.stdin.read())
body = getattr(importlib.import_module(f"sparrow.ops.{op}.triton"), op)
row_kernels.BLOCK = 4
torch.use_deterministic_algorithms(True, warn_only=True)
torch.utils.deterministic.fill_uninitialized_memory = True
answers = []
for seed, arguments in enumerate(calls):
    with interleaving.races(seed):
        answers.append(body(*arguments))
torch.save(answers, path)
"""


@pytest.mark.parametrize("op", ["truncate_rows", "top_rows", "unique_rows", "cross_rows"])
def test_programs_that_wait_for_others_end_with_the_same_bits_in_any_order(op: str, tmp_path: Path) -> None:
    calls = [calls_of(op, 14, seed) for seed in range(4)]
    torch.save((op, calls, str(tmp_path / "answers.pt")), tmp_path / "calls.pt")
    run_python(_RACING, stdin=str(tmp_path / "calls.pt"), TRITON_INTERPRET="1", PYTHONPATH=str(Path(__file__).parents[1]))
    reference = getattr(importlib.import_module(f"sparrow.ops.{op}.reference"), op)
    for got, arguments in zip(torch.load(tmp_path / "answers.pt"), calls, strict=True):
        assert_same(got, reference(*arguments))


def _uneven() -> tuple[Any, ...]:
    """One row has all ids: many more combinations than if rows were equally long."""
    ids, offsets = torch.arange(40), torch.cat([torch.zeros(20, dtype=torch.int64), torch.tensor([40])])
    return [ids, ids], [NO_WEIGHTS, NO_WEIGHTS], [offsets, offsets], torch.tensor([0, 2])


_UNEVEN = """
import sys, torch
import triton.runtime.interpreter as interpreter
from sparrow.ops.cross_rows import triton as body
launches, launch = [], interpreter.GridExecutor.__call__
def counting(self, *arguments, **named):
    launches.append(self.fn.__name__)
    launch(self, *arguments, **named)
interpreter.GridExecutor.__call__ = counting
given, path = torch.load(sys.stdin.read())
answers = [body.cross_rows(*given)]
body.MOST_ROOM = 0
answers.append(body.cross_rows(*given))
torch.save(answers, path)
print(len(launches))
"""


def test_combinations_for_which_there_is_no_room_take_a_second_launch(tmp_path: Path) -> None:
    from sparrow.ops.cross_rows.reference import cross_rows

    torch.save((_uneven(), str(tmp_path / "answers.pt")), tmp_path / "calls.pt")
    assert int(run_python(_UNEVEN, stdin=str(tmp_path / "calls.pt"), TRITON_INTERPRET="1")) == 4
    for got in torch.load(tmp_path / "answers.pt"):
        assert_same(got, cross_rows(*_uneven()))
