"""Runs a kernel: all threads of many programs at once, a basic block at a time.

Threads that are at the same place go on together; those that a branch parted meet again where the first of them waits, as the scheduler
takes the earliest place first. Programs are held back by chance where a seed is given, so that they interleave as on a GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ptx.arithmetic import TYPES, UNSIGNED, Values, as_type, constant
from ptx.memory import GlobalMemory, SharedMemory
from ptx.text import Instruction, Operand, Program

WARP = 32
_LANES = 1 << 15  # threads that run at once
_PATIENCE = 16  # how often threads may be passed over
_SYNCHRONISE = {"bar", "barrier", "shfl", "redux", "vote", "ldmatrix", "stmatrix", "match"}


@dataclass
class Counts:
    """What a launch did, in units of a GPU.

    instructions: issued by warps, by opcode. sectors: of 32 bytes, that warps' loads and stores of global memory
    touched, by "ld" and "st", and `wanted` the bytes that threads asked for there. touched: distinct sectors, as far as an
    endless cache would be asked for them. conflicts: further passes that shared memory took for a warp's access. atomics: lanes.
    """

    instructions: Counter[tuple[str, ...]] = field(default_factory=Counter)
    sectors: Counter[str] = field(default_factory=Counter)
    wanted: Counter[str] = field(default_factory=Counter)
    touched: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    conflicts: int = 0
    atomics: int = 0


class Machine:
    """Threads of some programs of a launch, and what they share."""

    def __init__(
        self,
        code: Code,
        programs: NDArray[np.int64],
        grid: tuple[int, int, int],
        threads: int,
        shared: int,
        arguments: dict[str, bytes],
        memory: GlobalMemory,
        chance: np.random.Generator | None,
        counts: Counts | None,
    ) -> None:
        self.code, self.threads, self.memory, self.chance, self.counts = code, threads, memory, chance, counts
        self.num_programs = len(programs)
        self.num_lanes = self.num_programs * threads
        self.lanes = np.arange(self.num_lanes)
        self.shared = SharedMemory(self.num_programs, max(shared, 16), threads)
        self.arguments = arguments
        self.alive = np.ones(self.num_lanes, np.bool_)
        self._passed_over: dict[int, int] = {}
        self.registers = {
            name: np.zeros(self.num_lanes, np.bool_ if kind == "pred" else UNSIGNED[np.dtype(TYPES[kind]).itemsize])
            for name, kind in code.program.registers.items()
        }
        thread, program = self.lanes % threads, programs[self.lanes // threads]
        special = {
            "%tid.x": thread, "%tid.y": 0, "%tid.z": 0, "%ntid.x": threads, "%ntid.y": 1, "%ntid.z": 1, "%laneid": thread % WARP,
            "%ctaid.x": program % grid[0], "%ctaid.y": program // grid[0] % grid[1], "%ctaid.z": program // (grid[0] * grid[1]),
            "%nctaid.x": grid[0], "%nctaid.y": grid[1], "%nctaid.z": grid[2],
        }  # fmt: skip
        self.registers |= {name: np.broadcast_to(value, self.num_lanes).astype(np.uint32) for name, value in special.items()}

    # Operands. `at`: the threads that take part, indices in order.

    def get(self, operand: Operand, kind: str, at: NDArray[np.int64]) -> Values:
        if isinstance(operand, int):
            return constant(operand, kind)
        assert isinstance(operand, str), operand
        if operand in self.code.program.shared:
            return constant(0, kind)
        return as_type(self.registers[operand][at], kind)

    def set(self, operand: Operand, kind: str, at: NDArray[np.int64], value: Values) -> None:
        if operand == "_":
            return
        assert isinstance(operand, str), operand
        register = self.registers[operand]
        if register.dtype != np.bool_:
            if value.dtype.kind == "i":
                value = value.astype(np.dtype(f"i{register.dtype.itemsize}"))  # a narrower number is extended by its sign
            value = value.view(UNSIGNED[value.dtype.itemsize]).astype(register.dtype)
        register[at] = value

    # Running.

    def run(self) -> None:
        waiting: dict[int, NDArray[np.int64]] = {0: self.lanes}
        while waiting:
            place, at = self._next(waiting)
            for where, lanes in self._block(place, at):
                if len(lanes):
                    known = waiting.get(where)
                    waiting[where] = lanes if known is None else np.union1d(known, lanes)

    def _next(self, waiting: dict[int, NDArray[np.int64]]) -> tuple[int, NDArray[np.int64]]:
        """Take threads that can go on out of `waiting`."""
        places = sorted(waiting)
        if self.chance is not None and len(places) > 1 and self.chance.random() < 0.25:
            self.chance.shuffle(places)
        # Those that were passed over for long come first: the first in order may be waiting for what these will write.
        self._passed_over = {place: self._passed_over.get(place, 0) + 1 for place in places}
        places.sort(key=lambda place: self._passed_over[place] < _PATIENCE)
        for place in places:
            lanes = waiting.pop(place)
            ready = self._ready(place, lanes)
            if self.chance is not None and self.num_programs > 1 and self.chance.random() < 0.25:
                some = self.chance.random(self.num_programs) < 0.5
                ready = ready & some[lanes // self.threads]
            if not ready.all():
                waiting[place] = lanes[~ready]
            if ready.any():
                self._passed_over[place] = 0
                return place, lanes[ready]
        if self.chance is not None:
            return self._next(waiting) if self._can_go_on(waiting) else self._deadlock(waiting)
        return self._deadlock(waiting)

    def _can_go_on(self, waiting: dict[int, NDArray[np.int64]]) -> bool:
        return any(self._ready(place, lanes).any() for place, lanes in waiting.items())

    def _deadlock(self, waiting: dict[int, NDArray[np.int64]]) -> tuple[int, NDArray[np.int64]]:
        lines = {self.code.program.instructions[place].line: len(lanes) for place, lanes in waiting.items()}
        raise RuntimeError(f"threads wait for one another, by instruction: {lines}")

    def _ready(self, place: int, lanes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which threads at a place can go on: where they synchronise, those all of whose fellows are there."""
        if place not in self.code.meetings:
            return np.ones(len(lanes), np.bool_)
        fellows = WARP if self.code.meetings[place] == "warp" else self.threads
        arrived = np.bincount(lanes // fellows, minlength=self.num_lanes // fellows)
        living = np.bincount(self.lanes[self.alive] // fellows, minlength=self.num_lanes // fellows)
        return (arrived == living)[lanes // fellows]

    def _block(self, place: int, at: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        """Run threads from `place` to the end of its block; return (place, threads) of where they are then."""
        begin = place
        while True:
            instruction, execute = self.code.program.instructions[place], self.code.execute[place]
            lanes = at
            if instruction.guard is not None:
                register, negated = instruction.guard
                lanes = at[self.registers[register][at] != negated]
            if self.counts is not None:
                self._count(instruction.opcode, at)
            root = instruction.opcode[0]
            if root in ("bra", "brx", "ret", "exit"):
                others = np.setdiff1d(at, lanes, assume_unique=True)
                return [*self._leave(instruction, lanes), (place + 1, others)]
            if len(lanes):
                execute(self, lanes)
            place += 1
            if place in self.code.begins and place != begin:
                return [(place, at)]

    def _leave(self, instruction: Instruction, lanes: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        """Return (place, threads) of where a branch takes threads; those that return are nowhere."""
        program, root = self.code.program, instruction.opcode[0]
        if root == "bra":
            return [(program.labels[str(instruction.operands[0])], lanes)]
        if root == "brx":
            which = np.broadcast_to(self.get(instruction.operands[0], "u32", lanes), len(lanes))
            targets = program.targets[str(instruction.operands[1])]
            return [(program.labels[target], lanes[which == index]) for index, target in enumerate(targets)]
        self.alive[lanes] = False
        return []

    def _count(self, opcode: tuple[str, ...], at: NDArray[np.int64]) -> None:
        assert self.counts is not None
        warps = at // WARP
        self.counts.instructions[opcode] += 1 + int(np.count_nonzero(warps[1:] != warps[:-1]))


class Code:
    """A program and a function for each of its instructions. begins: where blocks begin. meetings: where warps or programs meet."""

    def __init__(self, program: Program) -> None:
        from ptx.instructions import function_of

        self.program = program
        self.execute: list[Callable[[Machine, NDArray[np.int64]], None]] = [function_of(one) for one in program.instructions]
        self.meetings = {place: _who_meets(one) for place, one in enumerate(program.instructions) if one.opcode[0] in _SYNCHRONISE}
        self.begins = set(program.labels.values()) | set(self.meetings)


def _who_meets(instruction: Instruction) -> str:
    if instruction.guard is not None:
        raise NotImplementedError(f"a guard on what synchronises: {instruction.line}")
    return "program" if instruction.opcode[:2] in (("bar", "sync"), ("barrier", "sync")) else "warp"


def run(
    code: Code,
    grid: tuple[int, int, int],
    threads: int,
    shared: int,
    arguments: list[bytes],
    memory: GlobalMemory,
    seed: int | None = None,
    counts: Counts | None = None,
) -> None:
    """Run a launch of `grid` programs of so many threads and bytes of shared memory. arguments: the bytes of each parameter."""
    names = [name for name, _ in code.program.parameters]
    given = dict(zip(names, arguments, strict=True))
    chance = None if seed is None else np.random.default_rng(seed)
    every = np.arange(grid[0] * grid[1] * grid[2])
    wave = max(1, _LANES // threads)
    if chance is not None:
        wave = max(1, min(wave, int(chance.integers(1, 2 + len(every)))))
    with np.errstate(all="ignore"):
        for begin in range(0, len(every), wave):
            Machine(code, every[begin : begin + wave], grid, threads, shared, given, memory, chance, counts).run()
