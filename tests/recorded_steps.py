"""CUDA graphs where there is no GPU: on the device of `strict_device`, what is captured is recorded, and a replay runs the record again.

A record is a list: operations of torch, those inside Triton bodies included, and launches of kernels. Tensors are recorded by where they
lie, numbers by what they are. A replay writes what each gives into the memory that it gave it in when it was captured; Python of the host
does not run. As of a real graph:

- what is captured does not run: memory from before is put back, memory that the capture took holds garbage until a replay writes it;
- copies from and to the host are refused, and so is whoever waits for the device, or sends what a kernel reads (`on_device`);
- memory from before that nobody holds any more is an error of the replay that reads it;
- when the graph is dropped, its memory holds garbage again.

What is captured runs here all the same, and is undone: so what kernels are told (`sparrow.ops.recorded`) is there at once, and sent again.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from launches import seen_by
from sparrow.ops import recorded
from sparrow.tables import placement
from strict_device import _WAITS, State, memory_of

aten = torch.ops.aten
GARBAGE = 0x7F
_SENDERS = ("sparrow.ops.triton_rows", "sparrow.ops.init_rows.triton")


class RecordedGraph:
    """`placement.StepGraph` of the stand-in."""

    live = 0  # graphs that may be replayed

    def __init__(self, device: torch.device) -> None:
        self._recorder = _Recorder()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        before = State.waiting_is_refused
        State.recorder, State.waiting_is_refused = self._recorder, True
        try:
            yield
        finally:
            State.recorder, State.waiting_is_refused = None, before
            self._recorder.undo()
        RecordedGraph.live += 1

    def replay(self) -> None:
        self._recorder.replay()

    def drop(self) -> None:
        self._recorder.spoil()
        self._recorder.entries.clear()
        RecordedGraph.live -= 1


class _Recorder:
    def __init__(self) -> None:
        self.entries: list[_Operation | _Launch] = []
        # By the address of a storage: one of the tensors there; of those from before, their bytes too.
        self._made: dict[int, Tensor] = {}
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._num_aliases: dict[int, int] = {}
        self.is_launching = False
        # Zeros of the stand-in, which a real device would make anew in each replay.
        self.constants: list[Tensor] = []

    # While it is captured.

    def check(self, func: Any, on_host: list[bool], there: list[Tensor], is_of_device: bool) -> None:
        if is_of_device and func in (aten.copy_.default, aten._to_copy.default) and any(on_host):
            raise AssertionError(f"{func} between host and device in a graph: its replays would copy what is there by then")
        if func in _WAITS and there:
            raise AssertionError(f"{func} waits for the device in a graph")

    def run(self, func: Any, args: Any, kwargs: Any, there: Any = ()) -> Any:
        """Run an operation of torch. there: those of its arguments that are on the device for sure; other single values may be numbers."""
        if func in _WAITS:
            raise AssertionError(f"{func} waits for the device in a graph")
        self._seen(there, values=False)
        args, kwargs, own_args, own_kwargs = *self._seen((args, kwargs)), *self._aliases((args, kwargs))
        out = func(*args, **kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and _address(tensor) not in self._before:
                self._made.setdefault(_address(tensor), tensor.detach())
        self.entries.append(_Operation(func, own_args, own_kwargs, self._aliases(out)))
        return out

    def run_body(self, body: Any, args: Any, there: list[Tensor]) -> Any:
        """Run a Triton body. there: its arguments on the device, blocks that kernels reach by address among them."""
        self._seen(there, values=False)
        with _InBody(self):
            return body(*args)

    def launch(self, run: Any, args: Any, kwargs: Any) -> None:
        self.is_launching = True  # what follows asks torch for things that no body does
        try:
            self._seen((args, kwargs))
            self.entries.append(_Launch(run, *self._aliases((args, kwargs))))
            run(*args, **kwargs)
        finally:
            self.is_launching = False

    def _is_value(self, tensor: Tensor) -> bool:
        return tensor.dim() == 0 and _address(tensor) not in self._made and _address(tensor) not in self._before

    def _seen(self, given: Any, values: bool = True) -> Any:
        """Keep the bytes of memory not seen before, to be put back; not those of numbers, where there may be `values` among them."""
        for tensor in tree_leaves(given):
            if isinstance(tensor, Tensor) and not (values and self._is_value(tensor)) and _address(tensor) not in self._made:
                self._before.setdefault(_address(tensor), (tensor.detach(), _bytes(tensor).clone()))
        return given

    def _aliases(self, values: Any) -> Any:
        def alias(tensor: Tensor) -> Tensor:
            if self._is_value(tensor):
                return tensor.detach().clone()
            address = _address(tensor)
            self._num_aliases[address] = self._num_aliases.get(address, 0) + 1
            return tensor.detach()

        return tree_map_only(Tensor, alias, values)

    def undo(self) -> None:
        for tensor, content in self._before.values():
            _bytes(tensor).copy_(content)
        self._before = {address: (tensor, content[:0]) for address, (tensor, content) in self._before.items()}
        self.spoil()

    def spoil(self) -> None:
        for tensor in self._made.values():
            _bytes(tensor).fill_(GARBAGE)

    # Afterwards.

    def replay(self) -> None:
        assert self.entries, "a graph that was dropped, or holds nothing, is replayed"
        for address, (tensor, _) in self._before.items():
            storage = tensor.untyped_storage()
            # One more is `storage` itself, one the tensor kept here.
            held = torch._C._storage_Use_Count(storage._cdata) - self._num_aliases.get(address, 0) - 2
            assert held > 0 or storage.nbytes() == 0, f"a graph reads {list(tensor.shape)} {tensor.dtype}, which nobody holds any more"
        for entry in self.entries:
            entry.again()


class _Operation:
    def __init__(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        self.func, self.args, self.kwargs, self.out = func, args, kwargs, out

    def again(self) -> None:
        given = {_address(tensor) for tensor in tree_leaves((self.args, self.kwargs)) if isinstance(tensor, Tensor)}
        out = self.func(*self.args, **self.kwargs)
        for now, then in zip(tree_leaves(out), tree_leaves(self.out), strict=True):
            if not isinstance(now, Tensor):
                continue
            assert now.shape == then.shape, f"{self.func}: {list(now.shape)} is {list(then.shape)} in the graph"
            if _address(now) in given:
                assert now.data_ptr() == then.data_ptr()
            else:
                then.copy_(now)


class _Launch:
    def __init__(self, run: Any, args: Any, kwargs: Any) -> None:
        self.run, self.args, self.kwargs = run, args, kwargs

    def again(self) -> None:
        self.run(*self.args, **self.kwargs)


class _InBody(TorchDispatchMode):
    """Records what a Triton body asks of torch."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._recorder.is_launching:
            return func(*args, **(kwargs or {}))
        return self._recorder.run(func, args, kwargs or {})


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> Tensor:
    """Return all bytes of a tensor's storage."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())  # type: ignore[call-overload]


def _launched(name: str, run: Any, args: Any, kwargs: Any) -> None:
    run(*args, **kwargs) if State.recorder is None else State.recorder.launch(run, args, kwargs)


_take = recorded._Words.take


def _told_at_once(self: Any, words: Any, is_capturing: bool) -> Any:
    taken = _take(self, words, is_capturing)
    if taken is not None and len(words):
        begin = taken.storage_offset()
        with _disable_current_modes():
            memory_of(self.there)[begin : begin + len(words)] = torch.tensor(words, dtype=torch.int64)
    return taken


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Let steps be captured on the device of `strict_device`, which must be installed."""
    modules = [importlib.import_module(name) for name in _SENDERS]
    before = placement.StepGraph, placement.is_capturing, [module.on_device for module in modules]
    placement.StepGraph = RecordedGraph  # type: ignore[misc, assignment]
    placement.is_capturing = lambda device: State.recorder is not None
    recorded._Words.take = _told_at_once  # type: ignore[method-assign]

    def on_device(values: Tensor, device: torch.device) -> Tensor:
        assert State.recorder is None, "a kernel reads what was not sent before it was captured"
        return values

    for module in modules:
        module.on_device = on_device
    try:
        with seen_by(_launched):
            yield
    finally:
        placement.StepGraph, placement.is_capturing = before[:2]  # type: ignore[misc]
        recorded._Words.take = _take  # type: ignore[method-assign]
        for module, function in zip(modules, before[2], strict=True):
            module.on_device = function
