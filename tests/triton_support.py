"""Triton bodies run in the interpreter and compiled for real targets: each in a process of its own, since triton reads how at import."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch

from tests_support import run_python

_INTERPRETED = """
import importlib, sys, torch
body = importlib.import_module("sparrow.ops.{op}.triton")
answers = []
for arguments in torch.load({path!r}):
    try:
        answers.append(body.{op}(*arguments))
    except RuntimeError as error:
        answers.append(str(error))
torch.save(answers, {path!r})
"""

# Every argument is an address of int64, or the number of steps of a search, or a constant.
_COMPILED = """
import importlib, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
body = importlib.import_module("sparrow.ops.{op}.triton")
TARGETS = ((GPUTarget("cuda", 80, 32), "cubin"), (GPUTarget("cuda", 90, 32), "cubin"), (GPUTarget("hip", "gfx942", 64), "hsaco"))
for target, artefact in TARGETS:
    for name in {kernels!r}:
        kernel, constants = getattr(body, name), {constants!r}
        signature = {{of: "i32" if of == "num_steps" else "*i64" for of in kernel.arg_names}}
        known = {{of: constants[of] for of in kernel.arg_names if of in constants}}
        signature.update({{of: "constexpr" for of in known}})
        compiled = triton.compile(ASTSource(fn=kernel, signature=signature, constexprs=known), target=target)
        print(target.arch, name, len(compiled.asm[artefact]) > 0)
"""


def interpreted(op: str, calls: list[tuple[Any, ...]], folder: pathlib.Path) -> list[Any]:
    """Return what the Triton body of `op` answers to each call, run by the interpreter; the message where it raises."""
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"sparrow::{op}", "CUDA")
    path = folder / "calls.pt"
    torch.save(calls, path)
    run_python(_INTERPRETED.format(op=op, path=str(path)), TRITON_INTERPRET="1")
    return torch.load(path)


def check_that_kernels_compile(op: str, *kernels: str, **constants: int) -> None:
    """Compile kernels for sm_80, sm_90 and gfx942."""
    pytest.importorskip("triton", reason="triton is not installed: its kernels cannot be compiled")
    lines = run_python(_COMPILED.format(op=op, kernels=kernels, constants=constants)).split("\n")
    assert [line for line in lines if line] == [f"{arch} {kernel} True" for arch in ("80", "90", "gfx942") for kernel in kernels]
