"""Triton bodies under test: on the GPU where there is one, else in Triton's interpreter; and their kernels compiled for real targets.

The interpreter runs where TRITON_INTERPRET is set before triton is imported, compilation where it is not: a process each.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from sparrow import knobs
from tests_support import fresh_environment, run_python

ON_GPU = torch.cuda.is_available()

# A server: reads (module, function, arguments, seed of races or None), answers (error or None, result, arguments as they are afterwards).
# The outputs of kernels are poisoned as in conftest.py, and what anyone prints goes to stderr.
_INTERPRETER = """
import contextlib, importlib, os, pickle, sys, torch
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
torch.use_deterministic_algorithms(True, warn_only=True)
torch.utils.deterministic.fill_uninitialized_memory = True
while True:
    try:
        module, function, arguments, seed = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        body = getattr(importlib.import_module(module), function)
        with contextlib.nullcontext() if seed is None else importlib.import_module("interleaving").races(seed):
            answer = (None, body(*arguments), arguments)
    except Exception as error:
        answer = (error if isinstance(error, RuntimeError) else RuntimeError(repr(error)), None, arguments)
    pickle.dump(answer, answers)
    answers.flush()
"""


@functools.cache
def _interpreter() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERPRETER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=fresh_environment(TRITON_INTERPRET="1", PYTHONPATH=str(Path(__file__).parent)),
    )
    atexit.register(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died before, and a test failed
        process.stdin.close()
    process.wait()
    process.stdout.close()


def _copy_back(arguments: Any, afterwards: Any) -> None:
    for mine, theirs in zip(arguments, afterwards, strict=True):
        if isinstance(mine, Tensor):
            mine.copy_(theirs)
        elif isinstance(mine, list):
            _copy_back(mine, theirs)


def triton_body(op: str, function: str, *, seed: int | None = None) -> Callable[..., Any]:
    """Return operator `op`'s Triton body as a function of CPU tensors, which it mutates as the CPU body does, with results on the CPU.

    function: the operator's name in `torch.ops.sparrow`. With a GPU the call goes through the dispatcher, so registration is tested too.
    seed: let the programs of a kernel race in the interpreter, in an order that follows from it (`interleaving`). A GPU races by itself.
    """

    def body(*arguments: Any) -> Any:
        pytest.importorskip("triton", reason="triton is not installed: its bodies cannot run")
        if ON_GPU:
            importlib.import_module(f"sparrow.ops.{op}.op")
            moved = tree_map_only(Tensor, lambda tensor: tensor.cuda(), list(arguments))
            result = getattr(torch.ops.sparrow, function).default(*moved)
            _copy_back(arguments, moved)
            return tree_map_only(Tensor, lambda tensor: tensor.cpu(), result)
        process = _interpreter()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((f"sparrow.ops.{op}.triton", function, arguments, seed), process.stdin)
            process.stdin.flush()
            error, result, afterwards = pickle.load(process.stdout)
        except (BrokenPipeError, EOFError):
            _interpreter.cache_clear()
            pytest.fail(f"the interpreter died in {function}, with status {process.wait()}: a kernel left the bounds of its tensors")
        if error is not None:
            raise error
        _copy_back(arguments, afterwards)
        return result

    return body


def size(interpreted: int, full: int) -> int:
    """Return the number of elements to test with: the interpreter takes a few thousand."""
    return full if ON_GPU else interpreted


def run_on_device(call: str) -> str:
    """Return what `call`, such as "device_scenarios.train_200_steps()", prints in a process of its own.

    On the GPU where there is one, else in the interpreter, which is chosen before triton is imported.
    """
    if importlib.util.find_spec("triton") is None:
        message = "triton is not installed: tables on a device were not tested"
        pytest.fail(message) if knobs.require_cuda() else pytest.skip(message)
    environment = {} if ON_GPU else {"TRITON_INTERPRET": "1"}
    return run_python(f"import {call.partition('.')[0]}; {call}", PYTHONPATH=str(Path(__file__).parent), **environment)


def needs_gpu() -> None:
    """Skip the test where there is no GPU, or fail it where SPARROW_REQUIRE_CUDA=1."""
    if not ON_GPU:
        message = "no CUDA device: what only real concurrency shows was not tested; SPARROW_REQUIRE_CUDA=1 makes this an error"
        if knobs.require_cuda():
            pytest.fail(message)
        pytest.skip(message)


# Pointers are 16-byte aligned, as those of fresh tensors are: it decides how wide loads may be.
_COMPILER = """
import importlib, inspect, json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
name, int32, scalars, constants = json.load(sys.stdin)
module = importlib.import_module(name)
kernels = {name: value for name, value in vars(module).items() if name.endswith("_kernel") and hasattr(value, "arg_names")}
compiled = {}
for target, artefact in ((("cuda", 80, 32), "cubin"), (("cuda", 90, 32), "cubin"), (("hip", "gfx942", 64), "hsaco")):
    for name, kernel in kernels.items():
        names = kernel.arg_names
        own = {key: value for key, value in constants.items() if key in names}
        pointers = {key: "*i32" if key in int32 else "*i64" for key in names}
        types = pointers | {key: scalars[key] for key in names if key in scalars} | dict.fromkeys(own, "constexpr")
        aligned = {(place,): [["tt.divisibility", 16]] for place, key in enumerate(names) if types[key][0] == "*"}
        source = ASTSource(fn=kernel, signature=types, constexprs=own, attrs=aligned)
        options = {"num_warps": max(1, constants["BLOCK_N"] // target[2])}
        result = triton.compile(source, target=GPUTarget(*target), options=options)
        assert len(result.asm[artefact]) > 0
        compiled[f"{name} {target[1]}"] = result.asm.get("ptx", "")
print(json.dumps(compiled))
"""


def compile_for_gpus(op: str, *, int32: set[str], scalars: dict[str, str], constants: dict[str, Any]) -> dict[str, str]:
    """Compile every kernel (`x_kernel`) of operator `op` for sm_80, sm_90 and gfx942; return the PTX by "kernel target".

    int32: arguments that point to int32, the others point to int64. scalars: types of numbers. constants: values of constexprs; BLOCK_N is
    the number of threads as well.
    """
    pytest.importorskip("triton", reason="triton is not installed: its kernels cannot be compiled")
    return json.loads(run_python(_COMPILER, stdin=json.dumps([f"sparrow.ops.{op}.triton", sorted(int32), scalars, constants])))


# Operators on ragged columns: all calls of a test in one process, every argument of a kernel an address of int64.
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


def answers_on_gpu(op: str, calls: list[tuple[Any, ...]]) -> list[Any]:
    """Return what the operator answers on the GPU to each call of CPU tensors, brought back; the message where it raises."""
    importlib.import_module(f"sparrow.ops.{op}.op")
    answers: list[Any] = []
    for call in calls:
        moved = tree_map_only(Tensor, lambda tensor: tensor.cuda(), list(call))
        try:
            answers.append(tree_map_only(Tensor, lambda tensor: tensor.cpu(), getattr(torch.ops.sparrow, op).default(*moved)))
        except RuntimeError as error:
            answers.append(str(error))
    return answers


def interpreted(op: str, calls: list[tuple[Any, ...]], folder: Path) -> list[Any]:
    """Return what the Triton body of `op` answers to each call; the message where it raises. Without a GPU by the interpreter."""
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    if ON_GPU:
        return answers_on_gpu(op, calls)
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
