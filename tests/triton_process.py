"""What the processes of `triton_support` do: Triton bodies in the interpreter, kernels compiled for GPUs that are elsewhere.

The interpreter runs where TRITON_INTERPRET is set before triton is imported, compilation where it is not: a process each, which lives as
long as the tests and answers one request after the other.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

# (backend, architecture, threads of a warp), and what its compiler makes of a kernel.
TARGETS = (("cuda", 80, 32), ("cuda", 90, 32), ("hip", "gfx942", 64))
_MADE = {"cuda": ("cubin", "ptx"), "hip": ("hsaco", "amdgcn")}


@dataclass(frozen=True)
class Compiled:
    """A kernel compiled for one target. assembly: PTX or AMD's."""

    kernel: str
    arch: str
    binary: bytes
    assembly: str

    def machine_code(self) -> str:
        if self.arch == "gfx942":
            return self.assembly
        from triton.tools.disasm import get_sass

        return str(get_sass(self.binary))


def serve() -> None:
    """Answer requests (function of this module, arguments) by (error or None, result) until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anyone prints is no answer
    # Outputs of kernels are poisoned as in conftest.py.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    if os.environ.get("TRITON_INTERPRET") == "1":
        importlib.import_module("quick_interpreter")
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        try:
            answer = (None, globals()[function](*arguments))
        except Exception as error:
            answer = (_told(error), None)
        pickle.dump(answer, answers)
        answers.flush()


def _told(error: Exception) -> RuntimeError:
    return error if isinstance(error, RuntimeError) else RuntimeError(repr(error))


@contextlib.contextmanager
def _replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Give attributes of a module or a class other values meanwhile."""
    before = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def module_of(op: str) -> Any:
    """Return the module of the Triton body of operator `op`, which op.py must have told the dispatcher of."""
    importlib.import_module(f"sparrow.ops.{op.rstrip('_')}.op")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"sparrow::{op}", "CUDA"), f"op.py of {op} names no Triton body"
    return importlib.import_module(f"sparrow.ops.{op.rstrip('_')}.triton")


def interpret(op: str, arguments: list[Any], seed: int | None, constants: dict[str, Any]) -> tuple[RuntimeError | None, Any, list[Any]]:
    """Return (error or None, what the body of `op` returned, the arguments afterwards). constants: other values of its module's."""
    module = module_of(op)
    races = contextlib.nullcontext() if seed is None else importlib.import_module("interleaving").races(seed)
    with _replaced(module, **constants), races:
        try:
            return None, getattr(module, op)(*arguments), arguments
        except Exception as error:
            return _told(error), None, arguments


def emulate(op: str, arguments: list[Any], seed: int | None, constants: dict[str, Any]) -> tuple[RuntimeError | None, Any, list[Any]]:
    """As `interpret`, of what Triton's compiler makes for sm_90, run by the machine in `ptx`."""
    from ptx.launch import emulated
    from ptx.memory import Allocations

    module, allocations = module_of(op), _allocations(Allocations)
    allocations.add(arguments)
    with _replaced(module, **constants), emulated(allocations, seed), allocations:
        try:
            return None, getattr(module, op)(*arguments), arguments
        except Exception as error:
            return _told(error), None, arguments


@functools.cache
def _allocations(make: Callable[[], Any]) -> Any:
    """One for the process: bodies keep some tensors from call to call."""
    return make()


def compile_calls(op: str, calls: list[list[Any]], architectures: tuple[str, ...]) -> list[list[Compiled]]:
    """Compile what each call of the body of `op` would launch, for targets by their architectures; nothing runs."""
    return compile_calls_of(getattr(module_of(op), op), calls, architectures)


def compile_calls_of(body: Callable[..., Any], calls: list[list[Any]], architectures: tuple[str, ...]) -> list[list[Compiled]]:
    """Run a body for each call and target with launches that stop before they launch; all but that is what a launch does."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    answer = []
    before = driver._active
    try:
        for call in calls:
            # Of tensors without values first: a body that looked at one, and so would wait for the device, raises.
            with _replaced(JITFunction, __getitem__=lambda kernel, grid: lambda *args, **options: None):
                body(*tree_map_only(Tensor, lambda tensor: tensor.to("meta"), call))
            compiled: list[Compiled] = []
            for device, (backend, arch, _) in enumerate(TARGETS):
                if str(arch) not in architectures:
                    continue
                driver.set_active(_DriverOf(device))
                launches = _replaced(JITFunction, __getitem__=lambda kernel, grid: _compiler(kernel, grid, compiled))  # noqa: B023
                with launches, _replaced(torch.version, hip="7" if backend == "hip" else None):
                    body(*call)
            answer.append(compiled)
    finally:
        driver._active = before
    return answer


class _DriverOf:
    """What Triton asks a driver before it compiles. Devices are places in TARGETS, as Triton keeps a cache for each."""

    def __init__(self, device: int) -> None:
        self.device = device

    def get_current_device(self) -> int:
        return self.device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget(*TARGETS[self.device])


def _compiler(kernel: Any, grid: Any, compiled: list[Compiled]) -> Any:
    def compile_launch(*args: Any, **options: Any) -> None:
        found = kernel.run(*args, grid=grid, warmup=True, **options)
        target = found.metadata.target
        binary, assembly = _MADE[target.backend]
        compiled.append(Compiled(kernel.__name__, str(target.arch), found.asm[binary], found.asm[assembly]))

    return compile_launch


def compile_kernels(
    module: str,
    names: list[str],
    types: dict[str, str],
    constants: dict[str, Any],
    threads: int | None,
    options: dict[str, Any],
    architectures: tuple[str, ...],
) -> list[Compiled]:
    """Compile kernels of `sparrow.ops.{module}` by their signatures. See `triton_support.compile_kernels`."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    found = importlib.import_module(f"sparrow.ops.{module}")
    compiled = []
    for backend, arch, warp in TARGETS:
        if str(arch) not in architectures:
            continue
        for name in names or [name for name, value in vars(found).items() if name.endswith("_kernel") and hasattr(value, "arg_names")]:
            kernel = getattr(found, name)
            own = {key: constants[key] for key in kernel.arg_names if key in constants}
            signature = {key: "constexpr" if key in own else types.get(key, "*i64") for key in kernel.arg_names}
            # Pointers are 16-byte aligned, as those of fresh tensors are: it decides how wide loads may be.
            aligned = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(signature.values()) if kind[0] == "*"}
            source = ASTSource(fn=kernel, signature=signature, constexprs=own, attrs=aligned)
            warps = {} if threads is None else {"num_warps": max(1, threads // warp)}
            made = triton.compile(source, target=GPUTarget(backend, arch, warp), options={**options, **warps})
            binary, assembly = _MADE[backend]
            compiled.append(Compiled(name, str(arch), made.asm[binary], made.asm[assembly]))
    return compiled
