"""The door to the operators: loads the compiled library, defines schemas, attaches shape functions and Triton bodies."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from sparrow import knobs
from sparrow.errors import BackendError, did_you_mean
from sparrow.ops import recorded

_NAMESPACE = "sparrow"
# Instruction sets a library may be compiled for, by what torch calls the processor's; a processor runs its own and those before it.
_INSTRUCTION_SETS = {"DEFAULT": "baseline", "AVX2": "avx2", "AVX512": "avx512"}
# Operators whose bodies are refused in a CUDA graph, and why.
_sending: set[str] = set()
_waiting: set[str] = set()
_fragment = torch.library.Library(_NAMESPACE, "FRAGMENT")


def instruction_set() -> str:
    """Return the instruction set whose library is loaded: SPARROW_ISA where set, else the best that the processor runs."""
    names = list(_INSTRUCTION_SETS.values())
    # Other processors (Arm) have names of their own, and one library.
    best = _INSTRUCTION_SETS.get(torch.backends.cpu.get_cpu_capability(), "baseline")
    chosen = knobs.instruction_set() or best
    if chosen not in names:
        raise BackendError(f"SPARROW_ISA is {chosen!r}{did_you_mean(chosen, names)}")
    if names.index(chosen) > names.index(best):
        raise BackendError(f"SPARROW_ISA is {chosen!r}, this processor runs {names[: names.index(best) + 1]}; unset it to use {best!r}")
    return chosen


def _find_library() -> pathlib.Path:
    named = knobs.ops_library()
    if named is not None:
        if named.exists():
            return named
        raise BackendError(f"SPARROW_OPS_LIBRARY names {named}, which does not exist; unset it to use the installed library")
    file = f"libsparrow_ops_{instruction_set()}.so"
    # An editable install puts the library into site-packages and the sources elsewhere: look at every place the package spans.
    spec = importlib.util.find_spec("sparrow")
    places = [pathlib.Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    places += [pathlib.Path(place) / "sparrow" for place in _site_packages()]
    for place in places:
        if (place / file).exists():
            return place / file
    raise BackendError(f"the operator library {file} is not built; run `make build` in the checkout, or `pip install .`")


def _site_packages() -> list[str]:
    import sysconfig

    return [sysconfig.get_path("platlib"), sysconfig.get_path("purelib")]


@functools.cache
def load() -> pathlib.Path:
    """Load the compiled operators once and return the library's path. Raises `BackendError` where it is not built."""
    path = _find_library()
    torch.ops.load_library(str(path))
    return path


def define(schema: str) -> None:
    """Add `schema`, e.g. `"find(Tensor lines, ...) -> Tensor"`, to `torch.ops.sparrow`. The compiled body is attached by name."""
    load()
    _fragment.define(schema)


def shape_function(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate the function that tells `torch.compile` the output shapes of operator `name` without running it."""
    return torch.library.register_fake(f"{_NAMESPACE}::{name}", lib=_fragment)


def refuse_in_graph(name: str) -> None:
    """Raise `BackendError` where the Triton body of operator `name` waits, or sends what kernels read and no `RecordedStep` does it."""
    if name in _waiting:
        raise BackendError(
            f"operator {name!r} waits on a GPU for sizes that the data decides, which a CUDA graph cannot: call it before the step that is "
            f"captured"
        )
    if name in _sending and recorded.current() is None:
        raise BackendError(
            f"operator {name!r} reads on a GPU what the host sends with each call, which replays of a CUDA graph would not: capture the "
            f"step by sparrow.optim.CapturedStep, which sends it once, or transform features before what is captured"
        )


def triton_body(name: str, module: str, *, sends: bool = True, waits: bool = False) -> None:
    """Make function `name` of `module` the CUDA body of operator `name`; Triton is imported at the first call, not before.

    It runs with the device of its first tensor as the current one, which is where Triton launches.
    sends: whether its kernels read what the host sends with each call; such a body is refused in a CUDA graph but that of a
    `RecordedStep`. waits: whether it waits for the device there too; it is refused in any.
    """
    if sends:
        _sending.add(name)
    if waits:
        _waiting.add(name)

    def body(*args: Any) -> Any:
        # Triton launches on the current device, which need not be the one that holds the tensors.
        if recorded.current() is not None or torch.cuda.is_current_stream_capturing():
            refuse_in_graph(name)
        with torch.cuda.device(next(leaf.device for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor))):
            return getattr(importlib.import_module(module), name)(*args)

    _fragment.impl(name, body, "CUDA")
