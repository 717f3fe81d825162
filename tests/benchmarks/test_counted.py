"""Counts of what kernels would do on a GPU: right for one that is known, and there for operators on columns."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from benchmarks.__main__ import parser_of
from benchmarks.harness import Options

from benchmarks import counted

triton: Any = pytest.importorskip("triton", reason="triton is not installed: there are no kernels to count")
tl: Any = importlib.import_module("triton.language")


@triton.jit  # type: ignore[untyped-decorator]
def copy_kernel(source, target, BLOCK_N: tl.constexpr):  # type: ignore[no-untyped-def]
    o_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    tl.store(target + o_n, tl.load(source + o_n))


def test_a_copy_moves_its_bytes_once() -> None:
    source, target = torch.arange(4096.0), torch.zeros(4096)
    call = {"sparrow": lambda: copy_kernel[(4,)](source, target, BLOCK_N=1024, num_warps=4, enable_fp_fusion=False)}
    result = counted._count(Options(), "copy", 4096, call, must_move_bytes=2 * 4 * 4096)
    assert torch.equal(target, source)
    assert result.note is not None
    assert result.note.startswith("moves 1.00x;")
    # Of each 16 values of a warp's lanes: a load and a store of 16 bytes a lane, and what their addresses take.
    assert result.sparrow is not None
    assert 0 < result.sparrow < 2


@pytest.mark.parametrize(("name", "num_cases"), [("map_values", 6), ("subtract_rows", 2)])
def test_operators_are_counted(name: str, num_cases: int) -> None:
    found = list(counted.run(_options(name)))
    assert [result.note for result in found if not (result.note or "").startswith("moves ")] == []
    assert len(found) == num_cases
    assert all(result.sparrow is not None and result.sparrow > 0 for result in found)


def _options(name: str) -> Options:
    return Options(more=parser_of(counted).parse_args(["counted", name, "--ids", "256"]))
