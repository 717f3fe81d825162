"""Launches of Triton kernels, compiled for an NVIDIA GPU and run by the machine: what `kernel[grid](...)` does where this is active."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ptx.machine import Code, Counts, run
from ptx.memory import Allocations, GlobalMemory
from ptx.text import parse

ARCHITECTURE = 90
_code: dict[str, Code] = {}
_PACK = {
    "i1": "<?",
    "i8": "<b",
    "i16": "<h",
    "i32": "<i",
    "i64": "<q",
    "u1": "<?",
    "u8": "<B",
    "u16": "<H",
    "u32": "<I",
    "u64": "<Q",
    "fp32": "<f",
    "fp64": "<d",
}


def launcher(allocations: Allocations | None, seed: int | None, watch: Callable[[str, Counts], None] | None) -> Callable[[Any, Any], Any]:
    """Return what stands for `JITFunction.__getitem__`. watch: is told the counts of each launch."""
    chance = None if seed is None else np.random.default_rng(seed)

    def of_grid(kernel: Any, grid: Any) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            bound = dict(zip(kernel.arg_names, args, strict=False)) | {
                key: value for key, value in options.items() if key in kernel.arg_names
            }
            sizes = grid(bound) if callable(grid) else grid
            sizes = (*(int(one) for one in sizes), 1, 1)[:3]
            if min(sizes) == 0:
                return  # as Triton's launcher
            made = kernel.run(*args, grid=grid, warmup=True, **options)
            counts = None if watch is None else Counts()
            memory = GlobalMemory(None if allocations is None else allocations.bounds())
            arguments = _arguments(kernel, made, bound)
            run(
                _code_of(made.asm["ptx"]),
                sizes,
                made.metadata.num_warps * 32,
                made.metadata.shared,
                arguments,
                memory,
                None if chance is None else int(chance.integers(1 << 31)),
                counts,
            )
            if watch is not None and counts is not None:
                watch(kernel.__name__, counts)

        return launch

    return of_grid


class _Driver:
    """What Triton asks a driver before it compiles."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", ARCHITECTURE, 32)


@contextlib.contextmanager
def emulated(
    allocations: Allocations | None = None, seed: int | None = None, watch: Callable[[str, Counts], None] | None = None
) -> Iterator[None]:
    """Let launches of Triton kernels run here.

    allocations: what kernels may touch; None does not check. seed: let programs race, in an order that follows from it. watch: is told
    the counts of each launch.
    """
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    before = driver._active, JITFunction.__getitem__
    launch = launcher(allocations, seed, watch)
    driver.set_active(_Driver())
    JITFunction.__getitem__ = lambda kernel, grid: launch(kernel, grid)
    try:
        yield
    finally:
        driver._active, JITFunction.__getitem__ = before


def _code_of(ptx: str) -> Code:
    key = hashlib.sha256(ptx.encode()).hexdigest()
    if key not in _code:
        _code[key] = Code(parse(ptx))
    return _code[key]


def _arguments(kernel: Any, made: Any, bound: dict[str, Any]) -> list[bytes]:
    """Return the bytes of each parameter of the entry: the arguments that are no constants, and two addresses of scratch nobody uses."""
    packed = []
    for name, kind in made.src.signature.items():
        if kind == "constexpr":
            continue
        value = bound[name]
        if kind[0] == "*":
            packed.append(struct.pack("<Q", value.data_ptr() if isinstance(value, torch.Tensor) else int(value)))
        else:
            packed.append(struct.pack(_PACK[kind], value))
    return [*packed, bytes(8), bytes(8)]
