"""A whole step in a CUDA graph: forward, backward and update of tables, launched by the host at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from sparrow.errors import ConfigError, TableError
from sparrow.optim.combined import CombinedOptimizer
from sparrow.optim.sparse import SparseOptimizer
from sparrow.optim.static_batch import Most, StaticBatch
from sparrow.tables import TableGroup, placement
from sparrow.tables.recording import Recording
from sparrow.tables.room import Room, make_room
from sparrow.types import Batch


class CapturedStep:
    """Takes a step for each batch it is called with: the first two eagerly, the others by replaying a CUDA graph of the third.

        step = CapturedStep(train, optimizer, most_values={"words": 4096})
        for batch in batches:
            loss = step(batch)

    Rows, slots, counts and stamps are those of eager steps, bit for bit. Learning rates may change, and steps be eager in between.

    Args:
        step: takes a `Batch`, runs forward, backward and `optimizer.step()` once, forgets gradients, and returns tensors or nothing. It
            must do the same each time and wait for nothing; numbers of Python it reads stay what they were at the capture. Ragged columns
            it is given are longer than their last offset, at every level: what lies beyond is of no meaning. What it returns must be
            detached.
        optimizer: of all tables that the step trains. A dense half must be capturable (`torch.optim.Adam(..., capturable=True)`).
        most_values: ragged column -> how many values a batch may have of it: of strings, bytes. Of a column of several levels a number says
            the innermost, `(lists, values)` all, outermost first: `(strings, bytes)` of lists of strings. By default twice what the
            first batch has, of each level.
        room: room is made for the new ids of as many steps whenever it is made. It takes memory: `room` times the ids of a batch, in rows.
        recapture: make room, step eagerly and capture again when growth is due; else that is a `TableError`, and `make_room` does it.

    All batches have the shapes of the first, but for the values of ragged columns. They may be on the device or the CPU.

    Attributes:
        num_replays, num_captures: calls that were replays; graphs captured.

    Raises `ConfigError` for tables on the CPU or on several devices, and a room below 1. Calls raise `BatchMisfit`, a `DataError`, for a
    batch that does not fit, and `TableError` where growth is due, tables were moved or grown by others since, or the step does what cannot
    be captured. A call that raises `BatchMisfit`, or that growth is due, has done nothing: the same batch may be given again. One that
    fails at the capture has taken its step; gradients of a dense optimizer that is not part of `optimizer` must then be forgotten by the
    caller.
    """

    def __init__(
        self,
        step: Callable[[Batch], Any],
        optimizer: SparseOptimizer | CombinedOptimizer,
        *,
        most_values: Mapping[str, Most] | None = None,
        room: int = 16,
        recapture: bool = False,
    ) -> None:
        self._step, self._whole = step, optimizer
        self._optimizer = optimizer.sparse if isinstance(optimizer, CombinedOptimizer) else optimizer
        if room < 1:
            raise ConfigError(f"CapturedStep: room is {room}, expected at least 1 step")
        devices = {group.name: group.device for group in self._optimizer.groups}
        if placement.HOST in devices.values() or len(set(devices.values())) > 1:
            where = {name: str(device) for name, device in devices.items()}
            raise ConfigError(f"CapturedStep: table groups live on {where}, expected one GPU for all; EmbeddingOption(device='cuda')")
        self._device = self._optimizer.groups[0].device
        self._given: dict[str, Most] = dict(most_values or {})
        self._most_values = self._given
        self._room_steps, self._recapture = room, recapture
        self._inputs: StaticBatch | None = None
        self._inserts: dict[TableGroup, Tensor] | None = None
        self._captured: _Captured | None = None
        self.num_replays = self.num_captures = 0

    @property
    def is_captured(self) -> bool:
        """Whether the next call is a replay, if growth is not due."""
        return self._captured is not None

    def __call__(self, batch: Batch) -> Any:
        """Take the step on `batch` and return what the function returned. A replay returns the same tensors each time, overwritten.

        A call may raise a `LateRefusal`, a `DataError`, for values of an earlier replay: that one has been taken, this call has done
        nothing, and the same batch may be given again. `check` asks for those that no call has told yet.
        """
        if self._inputs is None:
            self._inputs = StaticBatch(batch, self._most_values, self._device)
        self._inputs.fill(batch)
        if self._captured is not None and (lacking := self._captured.room.lacking()):
            if not self._recapture:
                raise TableError(f"{lacking}; call make_room() and take the step again, or build CapturedStep with recapture=True")
            self.make_room()
        if self._captured is not None:
            return self._replay(self._captured)
        if self._inserts is None:
            return self._first(self._inputs.batch)
        return self._capture(self._inputs.batch, self._inserts)

    def check(self) -> None:
        """Raise `DataError` for values that operators of earlier replays refused: those steps have been taken. Each is told once.

        Flags of replays come late, and a later call tells them. Whoever calls no more, or writes down what replays left, asks here.
        Waits for the device.
        """
        if self._captured is not None:
            self._captured.room.check()

    def make_room(self) -> None:
        """Drop the graph and make room for the new ids of `room` steps; the next call is eager and captures again. Waits for the device.

        Raises `DataError`, having done nothing, for values of earlier replays: see `check`.
        """
        self._drop()
        if self._inserts is not None:
            make_room(self._inserts, self._room_steps)

    def restart(self, longer: Mapping[str, Sequence[int]] | None = None) -> None:
        """Begin anew with the shapes of the next batch. Waits for the device.

        longer: ragged column -> elements of each level that a batch came with, as `BatchMisfit.longer` says. All levels keep the room
        they have; those that have more elements than that get twice theirs, or as much as that needs. None: all get twice what the next
        batch has, or what `most_values` says.

        Raises `DataError`, having done nothing, for values of earlier replays: see `check`.
        """
        self._drop()
        if longer is None or self._inputs is None:
            self._most_values = self._given
        else:
            most = self._inputs.most
            self._most_values = {**most, **{name: tuple(map(_room_for, most[name], sizes)) for name, sizes in longer.items()}}
        self._inputs = self._inserts = None

    def _drop(self) -> None:
        """Drop the graph, and with it what its replays flagged: that must be told before."""
        self.check()
        if self._captured is not None:
            self._captured.graph.drop()
            self._captured = None

    def _first(self, batch: Batch) -> Any:
        """Take a step that shows what is looked up, and grows tables as ever."""
        recording = self._recording()
        with recording.active(capturing=False):
            out = self._step(batch)
        if not recording.is_stepped:
            raise TableError("the function given to CapturedStep did not call step() of its optimizer; it must run the whole step")
        self._inserts = recording.inserts
        make_room(self._inserts, self._room_steps)
        return out

    def _capture(self, batch: Batch, inserts: dict[TableGroup, Tensor]) -> Any:
        """Take a step where the graph will be captured, which leaves there what caches keep, and capture."""
        make_room(inserts, 1)  # others may have inserted meanwhile
        recording, graph = self._recording(), placement.StepGraph(self._device)
        with graph.beside(), recording.active(capturing=False):
            out = self._step(batch)
        try:
            with recording.active(capturing=True), graph.capture():
                result = self._step(batch)
        except BaseException:
            self._whole.zero_grad()  # those of the capture were never computed
            raise
        self._inserts = recording.inserts
        self._captured = _Captured(graph, recording, Room(recording), result)
        self.num_captures += 1
        return out

    def _recording(self) -> Recording:
        recording = Recording(self._optimizer.groups, self._device)
        for group in self._optimizer.groups:
            recording.write(group, None)
        placement.send_into(recording.here, recording.there)
        return recording

    def _replay(self, captured: _Captured) -> Any:
        recording, room = captured.recording, captured.room
        room.take()
        for index, group in enumerate(self._optimizer.groups):
            tables = recording.updates.get(group)
            recording.write(group, None if tables is None else self._optimizer.advance(index, tables))
        placement.send_into(recording.here, recording.there)
        captured.graph.replay()
        room.count_later()
        for group in self._optimizer.groups:
            group.step += 1
        self.num_replays += 1
        return captured.result


def _room_for(most: int, size: int) -> int:
    return max(size, 2 * most) if size > most else most


class _Captured:
    """A graph and what must live as long as it does."""

    def __init__(self, graph: placement.StepGraph, recording: Recording, room: Room, result: Any) -> None:
        self.graph, self.recording, self.room, self.result = graph, recording, room, result
