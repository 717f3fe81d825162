"""Triton bodies under test: on the GPU where there is one, else in Triton's interpreter; and their kernels compiled for real targets.

`triton_process` is what the interpreter's and the compiler's processes run. SPARROW_REQUIRE_CUDA=1 makes a machine that should have a GPU
say that it has none.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from sparrow import knobs
from tests_support import fresh_environment
from triton_process import TARGETS, Compiled
from triton_process import module_of as module_of

ON_GPU = torch.cuda.is_available()
# Without a GPU: the Python of kernels in Triton's interpreter or, where SPARROW_PTX=1, what its compiler makes of them, in `ptx`.
EMULATES = os.environ.get("SPARROW_PTX") == "1"
HOW = "emulate" if EMULATES else "interpret"
# What is compiled for.
ARCHITECTURES = tuple(str(arch) for _, arch, _ in TARGETS)


# Calls.


def triton_body(op: str, *, seed: int | None = None) -> Callable[..., Any]:
    """Return operator `op`'s Triton body as a function of CPU tensors, which it mutates as the CPU body does, with results on the CPU.

    op: the operator's name in `torch.ops.sparrow`. With a GPU the call goes through the dispatcher, so registration is tested too.
    seed: let the programs of a kernel race in the interpreter, in an order that follows from it (`interleaving`). A GPU races by itself.
    """

    def body(*arguments: Any) -> Any:
        _ready()
        if ON_GPU:
            result, afterwards = _on_gpu(op, list(arguments))
        else:
            error, result, afterwards = _ask(not EMULATES, HOW, op, list(arguments), seed, {})
            if error is not None:
                raise error
        _copy_back(arguments, afterwards)
        return result

    return body


def interpreted(op: str, calls: list[tuple[Any, ...]]) -> list[Any]:
    """Return what the Triton body of `op` answers to each call; the message where it raises. Arguments given stay as they are."""
    _ready()
    answers: list[Any] = []
    for call in calls:
        try:
            error, result = None, None
            if ON_GPU:
                result, _ = _on_gpu(op, list(call))
            else:
                error, result, _ = _ask(not EMULATES, HOW, op, list(call), None, {})
        except RuntimeError as raised:
            error = raised
        answers.append(result if error is None else str(error))
    return answers


def run_triton(op: str, calls: list[list[Any]], **constants: int) -> list[tuple[Any, list[Any]]]:
    """Run `op`'s Triton body for each list of arguments. Returns (what it returned, its arguments afterwards) for each.

    Arguments given stay as they are. A body that waits for the GPU raises there. constants: other values for constants of its module.
    """
    _ready()
    if ON_GPU:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in constants.items():
                patch.setattr(module_of(op), name, value)
            with _no_waiting():
                return [_on_gpu(op, call) for call in calls]
    answers = []
    for call in calls:
        error, result, afterwards = _ask(not EMULATES, HOW, op, _moved(call, "cpu"), None, constants)
        if error is not None:
            raise error
        answers.append((result, afterwards))
    return answers


def size(interpreted: int, full: int) -> int:
    """Return the number of elements to test with: the interpreter takes a few thousand."""
    return full if ON_GPU else interpreted


def needs_gpu() -> None:
    """Skip the test where there is no GPU, or fail it where SPARROW_REQUIRE_CUDA=1."""
    _ready()
    if not ON_GPU:
        pytest.skip("no CUDA device: what only real concurrency shows was not tested; SPARROW_REQUIRE_CUDA=1 makes this an error")


# Compilation.


def compile_triton(op: str, calls: list[list[Any]]) -> list[list[Compiled]]:
    """Compile what each call of `op`'s Triton body would launch, for real targets; nothing runs. Returns a list a call.

    For bodies that look at no value. What follows from arguments, such as constants and how wide loads may be, is as a launch has it.
    """
    _needs_triton()
    return _ask(False, "compile_calls", op, _moved(calls, "cpu"), ARCHITECTURES)


def check_compiled(compiled: list[Compiled], launches: list[str]) -> None:
    """Check that exactly `launches` are launched, compile for real targets, and leave no product and sum contracted."""
    assert [(c.arch, c.kernel) for c in compiled] == [(arch, kernel) for arch in ARCHITECTURES for kernel in launches]
    for c in compiled:
        assert c.binary
        if c.arch != "gfx942":  # AMD's division is made of fma instructions
            assert "fma.rn" not in c.assembly, f"{c.kernel} is contracted"
            assert ".ftz" not in c.assembly, f"{c.kernel} flushes denormals"
            assert "div.full" not in c.assembly, f"{c.kernel} divides approximately"
            assert "sqrt.approx" not in c.assembly, f"{c.kernel} takes roots approximately"


def compile_kernels(
    module: str,
    *names: str,
    types: dict[str, str] | None = None,
    constants: dict[str, Any] | None = None,
    threads: int | None = None,
    **options: Any,
) -> dict[str, str]:
    """Compile kernels of `sparrow.ops.{module}` by their signatures, for real targets; return the assembly by "kernel target".

    names: all that are called `x_kernel` where none is given. types: of arguments that are no pointers to int64. constants: values of
    constexprs. threads: of a program, 128 or 256 if not said. options: of the compiler.
    """
    _needs_triton()
    compiled = _ask(False, "compile_kernels", module, list(names), types or {}, constants or {}, threads, options, ARCHITECTURES)
    assert all(one.binary for one in compiled)
    return {f"{one.kernel} {one.arch}": one.assembly for one in compiled}


def for_every_target(*kernels: str) -> list[str]:
    """Return the keys that `compile_kernels` has for kernels, sorted."""
    return sorted(f"{kernel} {arch}" for kernel in kernels for arch in ARCHITECTURES)


# Bits.


def same_bits(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors hold the same bytes: -0 is not 0, and a NaN is itself."""
    return one.dtype == two.dtype and one.shape == two.shape and torch.equal(bytes_of(one), bytes_of(two))


def bytes_of(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


# What these stand on.


def _needs_triton() -> None:
    if importlib.util.find_spec("triton") is None:
        said = "triton is not installed: its bodies cannot run"
        pytest.fail(said) if knobs.require_cuda() else pytest.skip(said)


def _ready() -> None:
    _needs_triton()
    if knobs.require_cuda() and not ON_GPU:
        pytest.fail("SPARROW_REQUIRE_CUDA is set and torch finds no CUDA device: mend the driver, or unset it")


def _on_gpu(op: str, arguments: list[Any]) -> tuple[Any, list[Any]]:
    """Return (what the operator returned, its arguments afterwards) of CPU tensors, brought back."""
    importlib.import_module(f"sparrow.ops.{op.rstrip('_')}.op")
    there = _moved(arguments, "cuda")
    returned = getattr(torch.ops.sparrow, op).default(*there)
    with _may_wait():
        return _moved(returned, "cpu"), _moved(there, "cpu")


def _moved(value: Any, device: str) -> Any:
    """Return a copy: what is a part of another tensor becomes one of its own."""
    return tree_map_only(Tensor, lambda tensor: tensor.detach().to(device, copy=True), value)


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """Let a body that waits for the device raise."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def _may_wait() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("default")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _copy_back(arguments: Any, afterwards: Any) -> None:
    for mine, theirs in zip(arguments, afterwards, strict=True):
        if isinstance(mine, Tensor):
            mine.copy_(theirs)
        elif isinstance(mine, list):
            _copy_back(mine, theirs)


@functools.cache
def _process(interprets: bool) -> subprocess.Popen[bytes]:
    environment = {"TRITON_INTERPRET": "1"} if interprets else {}
    process = subprocess.Popen(
        [sys.executable, "-c", "import triton_process; triton_process.serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=fresh_environment(PYTHONPATH=str(Path(__file__).parent), **environment),
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


def _ask(interprets: bool, function: str, *arguments: Any) -> Any:
    """Return what a function of `triton_process` returns in the process of the interpreter or of the compiler, or raise what it raises."""
    process = _process(interprets)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump((function, tree_map_only(Tensor, Tensor.detach, arguments)), process.stdin)
        process.stdin.flush()
        error, result = pickle.load(process.stdout)
    except (BrokenPipeError, EOFError):
        _process.cache_clear()
        pytest.fail(f"a process died in {function}, with status {process.wait()}: did a kernel leave the bounds of its tensors?")
    if error is not None:
        raise error
    return result
