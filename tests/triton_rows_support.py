"""Running Triton bodies where there is no GPU: interpreted beside the reference, and compiled for GPUs that are elsewhere.

With CUDA the same calls go through the dispatcher to the device. SPARROW_REQUIRE_CUDA=1 makes a machine that should have one say so.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sparrow import knobs
from tests_support import run_python

TESTS = Path(__file__).parent
TARGETS = (("cuda", 80, 32), ("cuda", 90, 32), ("hip", "gfx942", 64))


@dataclass(frozen=True)
class Compiled:
    """A kernel that a call would launch, compiled for one target. assembly: PTX or AMD's."""

    kernel: str
    arch: str
    binary: bytes
    assembly: str

    def machine_code(self) -> str:
        if self.arch == "gfx942":
            return self.assembly
        from triton.tools.disasm import get_sass

        return str(get_sass(self.binary))


def run_triton(op: str, calls: list[list[Any]], **constants: int) -> list[tuple[Any, list[Any]]]:
    """Run `op`'s Triton body for each list of arguments. Returns (what it returned, its arguments afterwards) for each.

    On the device where there is one, else in the interpreter; memory that the body allocates is poisoned. Arguments given stay as they are.
    constants: other values for constants of the body's module.
    """
    _needs_triton()
    if torch.cuda.is_available():
        with pytest.MonkeyPatch.context() as patch:
            for name, value in constants.items():
                patch.setattr(module_of(op), name, value)
            return [_run_on_device(op, call) for call in calls]
    if knobs.require_cuda():
        pytest.fail("SPARROW_REQUIRE_CUDA is set and torch finds no CUDA device: mend the driver, or unset it")
    return _in_child("interpret_calls", op, calls, constants, TRITON_INTERPRET="1")


def compile_triton(op: str, calls: list[list[Any]]) -> list[list[Compiled]]:
    """Compile what each call of `op`'s Triton body would launch, for every target; nothing runs. Returns a list a call."""
    _needs_triton()
    return _in_child("compile_calls", op, calls, {})


def triton_body(op: str) -> Any:
    """Return `op`'s Triton body itself, for calls that it refuses before it launches anything."""
    _needs_triton()
    return getattr(module_of(op), op)


def check_compiled(compiled: list[Compiled], launches: list[str]) -> None:
    """Check that exactly `launches` are launched, compile for every target, and leave no product and sum contracted."""
    assert [(c.arch, c.kernel) for c in compiled] == [(str(arch), kernel) for _, arch, _ in TARGETS for kernel in launches]
    for c in compiled:
        assert c.binary
        if c.arch != "gfx942":  # AMD's division is made of fma instructions
            assert "fma.rn" not in c.assembly, f"{c.kernel} is contracted"
            assert ".ftz" not in c.assembly, f"{c.kernel} flushes denormals"
            assert "div.full" not in c.assembly, f"{c.kernel} divides approximately"
            assert "sqrt.approx" not in c.assembly, f"{c.kernel} takes roots approximately"


def same_bits(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether two tensors hold the same bytes: -0 is not 0, and a NaN is itself."""
    return one.dtype == two.dtype and one.shape == two.shape and torch.equal(bytes_of(one), bytes_of(two))


def bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def module_of(op: str) -> Any:
    importlib.import_module(f"sparrow.ops.{op.rstrip('_')}.op")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"sparrow::{op}", "CUDA"), f"op.py of {op} names no Triton body"
    return importlib.import_module(f"sparrow.ops.{op.rstrip('_')}.triton")


def _needs_triton() -> None:
    if importlib.util.find_spec("triton") is None:
        said = "triton is not installed: its bodies cannot run"
        pytest.fail(said) if knobs.require_cuda() else pytest.skip(said)


def _run_on_device(op: str, call: list[Any]) -> tuple[Any, list[Any]]:
    there = _moved(call, "cuda")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")  # a body that waits for the device raises
    try:
        returned = getattr(torch.ops.sparrow, op).default(*there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return _moved(returned, "cpu"), _moved(there, "cpu")


def _moved(value: Any, device: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, (list, tuple)):
        return [_moved(one, device) for one in value]
    return value


def _in_child(function: str, op: str, calls: list[list[Any]], constants: dict[str, int], **environment: str) -> Any:
    # The interpreter runs where TRITON_INTERPRET is set before triton is imported; compilation where it is not: a process each.
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "given"), Path(folder, "answer")
        torch.save((_moved(calls, "cpu"), constants), given)
        code = f"import triton_rows_support as s; s.child({function!r}, {op!r}, {str(given)!r}, {str(answer)!r})"
        run_python(code, PYTHONPATH=str(TESTS), **environment)
        return torch.load(answer, weights_only=False)


# What follows runs in the child.


def child(function: str, op: str, given: str, answer: str) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    calls, constants = torch.load(given, weights_only=False)
    vars(module_of(op)).update(constants)
    torch.save(globals()[function](getattr(module_of(op), op), calls), answer)


def interpret_calls(body: Any, calls: list[list[Any]]) -> list[tuple[Any, list[Any]]]:
    return [(body(*call), call) for call in calls]


def compile_calls(body: Any, calls: list[list[Any]]) -> list[list[Compiled]]:
    """Run the body for each call and target with launches that stop before they launch; all but that is what a launch does."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    answer = []
    with pytest.MonkeyPatch.context() as patch:
        for call in calls:
            # Of tensors without values first: a body that looked at one, and so would wait for the device, raises.
            patch.setattr(JITFunction, "__getitem__", lambda kernel, grid: lambda *args, **options: None)
            body(*_moved(call, "meta"))
            compiled: list[Compiled] = []
            for device in range(len(TARGETS)):
                patch.setattr(torch.version, "hip", "7" if TARGETS[device][0] == "hip" else None)
                driver.set_active(_DriverOf(device))
                patch.setattr(JITFunction, "__getitem__", lambda kernel, grid: _compiler(kernel, grid, compiled))  # noqa: B023
                body(*call)
            answer.append(compiled)
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

        return GPUTarget(*TARGETS[self.device][:3])


def _compiler(kernel: Any, grid: Any, compiled: list[Compiled]) -> Any:
    def compile_launch(*args: Any, **options: Any) -> None:
        found = kernel.run(*args, grid=grid, warmup=True, **options)
        target = found.metadata.target
        binary, assembly = ("cubin", "ptx") if target.backend == "cuda" else ("hsaco", "amdgcn")
        compiled.append(Compiled(kernel.__name__, str(target.arch), found.asm[binary], found.asm[assembly]))

    return compile_launch
