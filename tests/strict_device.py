"""A device that is not there: torch's "meta" with memory, which runs Triton bodies in the interpreter and refuses to be waited for.

Its tensors wrap CPU tensors. Operators of ours on them run their Triton bodies, torch's run on the CPU. What a real device would refuse is
refused: tensors of two places in one operation. What it would make the host wait for raises inside `no_waiting`: reading a value, sizes
that depend on values, copies back that somebody needs at once.

Import it in a process of its own, with TRITON_INTERPRET=1, before anything of sparrow makes a tensor; `installed` is the door.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from sparrow.ops import devices, library, recorded
from sparrow.tables import placement

if os.environ.get("TRITON_INTERPRET") == "1":
    importlib.import_module("quick_interpreter")

DEVICE = torch.device("meta")
aten = torch.ops.aten
_WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.repeat_interleave.Tensor,
}


_HOST_ARGUMENTS = ("columns", "first_input", "chains", "steps", "sizes", "pack_lists.rows")


class OnDevice(Tensor):
    """A tensor of the device: `memory` holds its values."""

    memory: Tensor
    is_meta = False  # unlike those of torch's meta it has values, which may be saved

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, memory: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(
            cls, memory.shape, strides=memory.stride(), storage_offset=memory.storage_offset(), dtype=memory.dtype, device=DEVICE
        )
        made.memory = memory
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.memory!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return NotImplemented if is_for_another(func, types) else run(func, args, kwargs or {})


def is_for_another(func: Any, types: Any) -> bool:
    """Return whether another subclass is given to an operation: it unwraps itself first."""
    return func is not aten.detach.default and not all(issubclass(type, OnDevice) for type in types)


class Device(TorchDispatchMode):
    """Sees every operation, those that make tensors from nothing included."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(type, OnDevice) for type in types) or names_device(kwargs):
            if is_for_another(func, types):
                return NotImplemented
            return run(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


class State:
    waiting_is_refused = False
    # Calls after which a copy to the host has come.
    lateness = 0
    # Of `recorded_steps`: while a graph is captured, what is run.
    recorder: Any = None


def names_device(kwargs: Any) -> bool:
    """Return whether an operation is asked for a tensor of the device."""
    device = (kwargs or {}).get("device")
    return isinstance(device, torch.device) and device == DEVICE


def memory_of(tensor: Tensor) -> Tensor:
    if isinstance(tensor, OnDevice):
        return tensor.memory
    if tensor.device != DEVICE:
        return tensor
    values_are_lost = tensor.numel() and any(tensor.stride())
    assert not values_are_lost, "a tensor that torch made behind this device's back, as of a list of indices: its values are lost"
    # A sink has a shape and no values, nor has a gradient that nobody computed.
    zeros = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    if State.recorder is not None:
        State.recorder.constants.append(zeros)
    return zeros


def _on_host(func: Any, args: Any) -> list[Tensor]:
    """Return the arguments that an operator of ours takes on the CPU, whatever the device: what its columns are to become."""
    if func.namespace != "sparrow":
        return []
    op = func._schema.name.removeprefix("sparrow::")
    named = zip(func._schema.arguments, args, strict=False)
    return [value for argument, value in named if {argument.name, f"{op}.{argument.name}"} & set(_HOST_ARGUMENTS)]


def run(func: Any, args: Any, kwargs: Any) -> Any:
    flat = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    there = [leaf for leaf in flat if leaf.device == DEVICE]
    if flat and all(leaf.device == DEVICE and not isinstance(leaf, OnDevice) for leaf in flat):
        return func(*args, **kwargs)  # of sinks: shapes alone
    target = names_device(kwargs)
    if State.recorder is not None:
        State.recorder.check(func, [leaf.device != DEVICE and leaf.dim() > 0 for leaf in flat], there, target or bool(there))
    if func is aten.copy_.default and State.recorder is None:
        if State.waiting_is_refused and args[0].device != DEVICE and not (len(args) > 2 and args[2]):
            raise AssertionError("a copy to the host that the host waits for")
        memory_of(args[0]).copy_(memory_of(args[1]))
        return args[0]
    if func is aten._to_copy.default and there and kwargs.get("device", DEVICE) != DEVICE:
        if State.waiting_is_refused:
            raise AssertionError(f"{func} waits for the device")
        return func(memory_of(args[0]).clone(), **kwargs)
    if func is aten.zeros.default and list(args[0]) == []:
        return func(*args, **kwargs)  # a sink's
    if func is not aten._to_copy.default:
        on_host = _on_host(func, args)
        strangers = [leaf for leaf in flat if leaf.device != DEVICE and leaf.dim() > 0 and not any(leaf is one for one in on_host)]
        assert not (there and strangers), f"{func} is given tensors of the device and of the CPU: {[list(t.shape) for t in strangers]}"
    masked = func in (aten.index.Tensor, aten.index_put_.default) and any(i is not None and i.dtype == torch.bool for i in args[1])
    if State.waiting_is_refused and there and (func in _WAITS or masked):
        raise AssertionError(f"{func} waits for the device")
    own_args, own_kwargs = tree_map_only(Tensor, memory_of, (args, kwargs))
    if "device" in own_kwargs:
        own_kwargs = {**own_kwargs, "device": torch.device("cpu")}
    if func.namespace == "sparrow":
        name = func._schema.name.removeprefix("sparrow::")
        body = getattr(importlib.import_module(f"sparrow.ops.{name.rstrip('_')}.triton"), name)
        if recorded.current() is not None:
            library.refuse_in_graph(name)
        if State.recorder is None:
            out = body(*own_args, **own_kwargs)
        else:
            out = State.recorder.run_body(body, own_args, [leaf.memory for leaf in flat if isinstance(leaf, OnDevice)])
    elif State.recorder is not None and (there or target):
        out = State.recorder.run(func, own_args, own_kwargs, [leaf.memory for leaf in flat if isinstance(leaf, OnDevice)])
    else:
        out = func(*own_args, **own_kwargs)
    if func is aten._local_scalar_dense.default or not (there or target):
        return out
    same = {id(memory_of(leaf)): leaf for leaf in flat if isinstance(leaf, OnDevice)}
    return tree_map_only(Tensor, lambda tensor: same.get(id(tensor)) if id(tensor) in same else OnDevice(tensor), out)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Raise where the host would wait for the device."""
    State.waiting_is_refused = True
    try:
        yield
    finally:
        State.waiting_is_refused = False


class _LateCopy(placement.LateCopy):
    """A copy that comes after `State.lateness` more of its kind were asked for, and holds nothing of use before."""

    asked = waited = 0

    def __init__(self, tensors: Any) -> None:
        super().__init__(tensors)
        self._come, self.values = self.values, [torch.empty_like(value) for value in self.values]
        type(self).asked += 1
        self._due = type(self).asked + State.lateness

    def is_done(self) -> bool:
        if type(self).asked >= self._due:
            self.values = self._come
        return self.values is self._come

    def wait(self) -> None:
        if not self.is_done():
            type(self).waited += 1
        self.values = self._come


class LateOutcome(_LateCopy):
    """What a step of a trainer leaves: `State.lateness` steps later."""

    asked = waited = 0


_run_thread = threading.Thread.run


def _run_with_device(self: threading.Thread) -> None:
    """What torch is told of a mode holds for one thread: readers have their own."""
    with Device():
        _run_thread(self)


@contextlib.contextmanager
def installed(lateness: int) -> Iterator[None]:
    """Let tables live on `DEVICE`; what is copied to the host comes `lateness` lookups, or steps of a trainer, later."""
    from sparrow.tables import device_map

    before = devices.DEVICE_TYPES, device_map.LateCopy, threading.Thread.run
    devices.DEVICE_TYPES, device_map.LateCopy = (*before[0], DEVICE.type), _LateCopy  # type: ignore[misc, assignment]
    threading.Thread.run = _run_with_device  # type: ignore[method-assign]
    State.lateness = lateness
    interprets = os.environ.get("TRITON_INTERPRET") == "1"
    try:
        with contextlib.nullcontext() if interprets else importlib.import_module("ptx.launch").emulated(), Device():
            yield
    finally:
        devices.DEVICE_TYPES, device_map.LateCopy, threading.Thread.run = before  # type: ignore[misc, method-assign]
