"""A step that a CUDA graph repeats, as operators see it: what the host tells their kernels once, and what it hears of replays later.

A replay launches kernels with the arguments they had when they were captured, and no host beside it. Tables of addresses and sizes are then
the same each time: inputs lie still, what is between lies in the graph's own memory, and sizes are the most there may be. But they are
those of the capture alone: the step that was taken before, for real, had its columns elsewhere. So the host must say them anew while a
graph is captured, when it may not do what it does else: memory that is pinned asks, in some releases of torch, events whether it may be
used again, which a capture forbids; what is pinned, copied and let go inside a capture leaves an event of the capture behind, which nobody
may ask ever after; and a copy that is captured reads again, at each replay, memory of the host that must be left alone for as long.

None of it is needed. The step before the capture says how many words there will be, in which order; memory on the device is set aside for
them, outside of the graph's; what is captured points there, and the words are noted in a list. When the capture is over they are sent, by
one copy, before the first replay. Replays copy nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sparrow.errors import BackendError

# What flags say on the host -> the error they amount to, None where all is well.
Look = Callable[[list[int]], Exception | None]
# Runs of words begin at a multiple of 16 bytes, as tensors of their own do: Triton compiles kernels by that.
_ALIGNED_WORDS = 2
_current: RecordedStep | None = None


def current() -> RecordedStep | None:
    """Return the step that this thread takes and that a graph is to repeat; None as a rule.

    What other threads do meanwhile, such as features of batches to come, is no part of it.
    """
    return _current if _current is not None and _current.thread == threading.get_ident() else None


def current_on(device: torch.device) -> RecordedStep | None:
    """As `current`, for columns on `device`: those on the CPU are what they are."""
    return None if device.type == "cpu" else current()


def keep(table: Tensor) -> None:
    """Let what kernels read and no argument of theirs holds live as long as the graph, if one is to be. In a backward pass too, which has
    threads of its own."""
    if _current is not None:
        _current.kept.append(table)


def send_words(words: Sequence[int], device: torch.device) -> Tensor:
    """Return int64 [len(words)] on `device`, which kernels that the current stream is given next may read; the host does not wait."""
    if (step := current()) is not None and (told := step.tell(words, device)) is not None:
        return told
    return torch.tensor(words, dtype=torch.int64, pin_memory=device.type == "cuda").to(device, non_blocking=True)


class RecordedStep:
    """One step, taken twice: for real, and again while a graph is captured. Both times it must tell and flag as much, in one order.

    Attributes:
        is_capturing: whether this is the second time. thread: who takes it.
        kept: what kernels read and no argument holds; it must live as long as the graph.
    """

    def __init__(self) -> None:
        self.is_capturing, self.thread = False, threading.get_ident()
        self.kept: list[Tensor] = []
        self._told: dict[torch.device, _Words] = {}
        self._flags: dict[torch.device, _Words] = {}
        self._looks: list[_FlagsOf] = []
        self._named: Callable[[Exception], Exception] | None = None

    @contextlib.contextmanager
    def active(self, *, capturing: bool) -> Iterator[None]:
        """Take the step inside. A capture must begin and end inside: afterwards what was told is sent. Waits for that copy.

        Raises `BackendError` where the second time tells kernels anything of another size than the first.
        """
        global _current
        if capturing:
            for words in self._all():
                words.set_aside()
        else:
            self._told, self._flags, self._looks = {}, {}, []
        self.is_capturing, self.thread, _current = capturing, threading.get_ident(), self
        try:
            yield
        finally:
            _current, self.is_capturing = None, False
        if capturing:
            for words in self._all():
                words.send()

    def _all(self) -> list[_Words]:
        return [*self._told.values(), *self._flags.values()]

    def tell(self, words: Sequence[int], device: torch.device) -> Tensor | None:
        """Return where `words` will lie on `device` for kernels that are captured; None the first time, when the host sends them itself."""
        return self._told.setdefault(device, _Words(device)).take(words, self.is_capturing)

    def flags(self, count: int, start: int, device: torch.device, look: Look | None = None) -> Tensor | None:
        """Return int64 [count] on `device`, `start` each, for what is captured to write to and add to; None the first time.

        They are never set back. look: asked what they amount to, some replays after they changed; by the first time the host may look at
        what it wants to know at once.
        """
        words = self._flags.setdefault(device, _Words(device))
        begin = len(words.values)
        taken = words.take([start] * count, self.is_capturing)
        if taken is not None and look is not None:
            self._looks.append(_FlagsOf(words, begin, [start] * count, look, self._named))
        return taken

    @contextlib.contextmanager
    def naming(self, named: Callable[[Exception], Exception]) -> Iterator[None]:
        """Pass errors that flags of operators called inside amount to through `named`."""
        before, self._named = self._named, named
        try:
            yield
        finally:
            self._named = before

    def watched(self) -> list[Tensor]:
        """Return the flags that somebody looks at, to be copied to the host after a replay. Empty where there are none."""
        return [words.there for words in self._flags.values()] if self._looks else []

    def check(self, copies: Sequence[Tensor]) -> None:
        """Raise what flags amount to that changed since they were looked at last. copies: of `watched()`, on the host."""
        values = {id(words): copy.tolist() for words, copy in zip(self._flags.values(), copies, strict=True)}
        for flags in self._looks:
            if (error := flags.error(values[id(flags.words)])) is not None:
                raise error


class _Words:
    """Runs of words on a device: counted the first time, handed out in the same order the second, sent when it is over."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sizes: list[int] = []
        self.values: list[int] = []
        self.there = torch.empty(0, dtype=torch.int64)
        self._num_taken = 0

    def take(self, words: Sequence[int], is_capturing: bool) -> Tensor | None:
        if not is_capturing:
            self._sizes.append(len(words))
            return None
        number, begin = self._num_taken, len(self.values)
        if self._sizes[number : number + 1] != [len(words)]:
            raise BackendError(
                "a captured step tells its kernels of other columns, or of columns of other sizes, than the step before the capture; it "
                "must do the same each time"
            )
        self._num_taken += 1
        self.values += [*words, *[0] * (_padded(len(words)) - len(words))]
        return self.there[begin : begin + len(words)]

    def set_aside(self) -> None:
        # Not by what is captured: the graph's memory may hold something else between two replays.
        self.there = torch.zeros(sum(map(_padded, self._sizes)), dtype=torch.int64, device=self._device)

    def send(self) -> None:
        self.values += [0] * (self.there.numel() - len(self.values))
        # Waits: no stream that replays the graph can be ahead of the copy.
        self.there.copy_(torch.tensor(self.values, dtype=torch.int64))


def _padded(count: int) -> int:
    return -(-count // _ALIGNED_WORDS) * _ALIGNED_WORDS


class _FlagsOf:
    """A run of flags, what it held when it was looked at last, and who says what it means."""

    def __init__(self, words: _Words, begin: int, start: list[int], look: Look, named: Callable[[Exception], Exception] | None) -> None:
        self.words, self._begin, self._seen, self._look, self._named = words, begin, start, look, named

    def error(self, values: list[int]) -> Exception | None:
        now = values[self._begin : self._begin + len(self._seen)]
        if now == self._seen:
            return None
        self._seen = now
        error = self._look(now)
        return error if error is None or self._named is None else self._named(error)
