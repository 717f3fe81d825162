"""A step that a CUDA graph is to repeat: where its kernels read what changes from step to step, and what the host must do beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sparrow.errors import TableError
from sparrow.ops.recorded import RecordedStep
from sparrow.ops.update_rows.rules import HYPER_WORDS

# A `TableGroup`: its module imports this one.
Group = Any
# A clock and its padding: hyper rows begin at a multiple of 16 bytes.
_CLOCK_WORDS = 2
_active: Recording | None = None


def current_recording() -> Recording | None:
    """Return the recording in which the process takes a step; None outside of one, as nearly always."""
    return _active


class Recording:
    """One step, taken twice by the host: for real, and again while a graph is captured, which runs nothing.

    Both times kernels read the same tensors: those of `clock` and `hyper`, whose values the host sends before each replay in one copy, and
    constants. So what the first has compiled, sent and cached is all that the second needs.

    groups: those of the optimizer. device: where they live.

    Attributes:
        here, there: int64, clock and hyper rows of every group, on the host and on the device.
        is_capturing: whether this is the second time: counts of the host then stay as they are.
        inserts: of each group that inserts, how many ids of each table a step may bring, int64 [T].
        updates: of each group that is updated, the tables that take part.
        groups: every group looked up.
        operators: what their kernels are told and hold; it must live as long as the graph.
    """

    def __init__(self, groups: Sequence[Group], device: torch.device) -> None:
        self.device, self.is_capturing = device, False
        self._begin: dict[Group, int] = {}
        num_words = 0
        for group in groups:
            self._begin[group] = num_words
            num_words += _CLOCK_WORDS + HYPER_WORDS * len(group.tables)
        self.here = torch.zeros(num_words, dtype=torch.int64)
        self.there = torch.zeros(num_words, dtype=torch.int64, device=device)
        self._constants: dict[tuple[object, ...], Tensor] = {}
        self.operators = RecordedStep()
        self._forget()

    def _forget(self) -> None:
        self.inserts: dict[Group, Tensor] = {}
        self.updates: dict[Group, tuple[int, ...]] = {}
        self.groups: dict[Group, None] = {}
        self.is_stepped = False

    @contextlib.contextmanager
    def active(self, *, capturing: bool) -> Iterator[None]:
        """Take the step inside. Raises `TableError` where the second time looks up or updates anything else than the first."""
        global _active
        if _active is not None:
            raise TableError("a captured step is being taken inside another; capture one step around both")
        before = self.inserts, self.updates, list(self.groups)
        self._forget()
        self.is_capturing, _active = capturing, self
        try:
            with self.operators.active(capturing=capturing):
                yield
        finally:
            _active, self.is_capturing = None, False
        after = self.inserts, self.updates, list(self.groups)
        if capturing and not (_same(before[0], after[0]) and before[1:] == after[1:]):
            raise TableError("a step looked up or updated other tables while it was captured than before; it must do the same each time")

    def _place(self, group: Group) -> int:
        if group not in self._begin or self.here.numel() < self._begin[group] + self._num_words(group):
            raise TableError(
                f"group {group.name!r} is trained in a captured step and is not of the step's optimizer: its steps would not be counted; "
                f"make one SparseOptimizer of all engines that the step trains"
            )
        return self._begin[group]

    def _num_words(self, group: Group) -> int:
        return _CLOCK_WORDS + HYPER_WORDS * len(group.tables)

    def clock(self, group: Group) -> Tensor:
        """Return int64 [1] on the device: the group's step."""
        begin = self._place(group)
        return self.there[begin : begin + 1]

    def hyper(self, group: Group) -> Tensor:
        """Return float64 [T, 16] on the device: the hyper rows of the group's update."""
        begin = self._place(group)
        return self.there[begin + _CLOCK_WORDS : begin + self._num_words(group)].view(torch.float64).view(-1, HYPER_WORDS)

    def write(self, group: Group, hyper: Tensor | None) -> None:
        """Write the group's step, and where given float64 [T, 16], into `here`."""
        begin = self._place(group)
        self.here[begin] = group.step
        if hyper is not None:
            self.here[begin + _CLOCK_WORDS : begin + self._num_words(group)] = hyper.contiguous().view(torch.int64).view(-1)

    def constant(self, values: Tensor, send: Callable[[], Tensor]) -> Tensor:
        """Return a tensor of the host on the device, made by `send` the first time and the same ever after."""
        key = (values.dtype, values.shape, values.numpy().tobytes())
        if key not in self._constants:
            if self.is_capturing:
                raise TableError(
                    f"a captured step sends {values.dtype} {list(values.shape)} to {self.device} that it did not send before; it must do "
                    f"the same each time, and take what changes from its batch"
                )
            self._constants[key] = send()
        return self._constants[key]

    # What the step does.

    def looked_up(self, group: Group, table_offsets: Tensor, insert: bool) -> None:
        """Take note of a lookup of at most `table_offsets.diff()` ids. Raises `TableError` where the group is elsewhere."""
        if group.device != self.device:
            raise TableError(
                f"group {group.name!r} lives on {group.device}, a step is captured on {self.device}: a graph repeats what happens there "
                f"alone; move its tables, or look them up outside of the step"
            )
        self.groups[group] = None
        if insert:
            if group in self.updates:
                raise TableError(f"group {group.name!r} is looked up for training after its update in a captured step; look up before it")
            self._place(group)
            self.inserts[group] = self.inserts.get(group, 0) + table_offsets.diff()

    def stepped(self, groups: Sequence[Group]) -> None:
        """Take note that the optimizer of `groups` steps. Raises `TableError` where it does so twice, or is another: there is one clock."""
        if list(groups) != list(self._begin):
            names = [group.name for group in groups]
            raise TableError(f"an optimizer of groups {names} steps in a captured step of another optimizer; make one of all tables")
        if self.is_stepped:
            raise TableError("the optimizer of tables steps twice in a captured step; capture one step at a time")
        self.is_stepped = True

    def updated(self, group: Group, tables: tuple[int, ...]) -> None:
        """Take note of an update."""
        self.updates[group] = tables


def _same(one: dict[Group, Tensor], two: dict[Group, Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[group], two[group]) for group in one)
