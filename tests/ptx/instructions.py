"""A function for each instruction: reads operands of the threads that take part, and writes results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptx.arithmetic import RESULT_OF_32_BITS, SIMPLE, TYPES, UNSIGNED, Values, compared, converted, refused, size_of
from ptx.text import Instruction, Memory

if TYPE_CHECKING:
    from ptx.machine import Machine

Lanes = NDArray[np.int64]
Function = Callable[["Machine", Lanes], None]
_WARP = 32


def function_of(one: Instruction) -> Function:
    """Return what an instruction does. Raises `NotImplementedError` for one that is not known."""
    root = one.opcode[0]
    if refused(one.opcode):
        raise NotImplementedError(f"does not round as a CPU does: {one.line}")
    if root in ("ld", "ldu"):
        return _load_parameter(one) if "param" in one.opcode else _load(one)
    special: dict[str, Callable[[Instruction], Function]] = {
        "st": _store, "atom": _atomic, "red": _atomic, "setp": _setp, "cvt": _convert, "mad": _mad, "shfl": _shuffle, "redux": _redux,
        "vote": _vote, "ldmatrix": _ldmatrix, "stmatrix": _stmatrix,
    }  # fmt: skip
    if root in special:
        return special[root](one)
    if root in ("bra", "brx", "ret", "exit", "bar", "barrier", "membar", "fence"):
        return lambda machine, at: None
    if root == "mov" and any(isinstance(operand, tuple) for operand in one.operands):
        return _move_parts(one)
    if root in SIMPLE:
        return _simple(one)
    raise NotImplementedError(one.line)


def _simple(one: Instruction) -> Function:
    function, others = SIMPLE[one.opcode[0]]
    kind, mods = one.opcode[-1], set(one.opcode[1:])
    result = "u32" if one.opcode[0] in RESULT_OF_32_BITS else _wide(kind) if "wide" in mods else kind

    def execute(machine: Machine, at: Lanes) -> None:
        values = [machine.get(operand, others.get(place, kind), at) for place, operand in enumerate(one.operands[1:])]
        machine.set(one.operands[0], result, at, function(mods, kind, *values))

    return execute


def _wide(kind: str) -> str:
    return f"{kind[0]}{2 * int(kind[1:])}"


def _mad(one: Instruction) -> Function:
    kind, mods = one.opcode[-1], set(one.opcode[1:])
    result = _wide(kind) if "wide" in mods else kind
    multiply = SIMPLE["mul"][0]

    def execute(machine: Machine, at: Lanes) -> None:
        a, b = (machine.get(operand, kind, at) for operand in one.operands[1:3])
        machine.set(one.operands[0], result, at, multiply(mods, kind, a, b) + machine.get(one.operands[3], result, at))

    return execute


def _setp(one: Instruction) -> Function:
    kind, how = one.opcode[-1], one.opcode[1]
    combine = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.get(one.opcode[2])
    if len(one.operands) != (3 if combine is None else 4):
        raise NotImplementedError(one.line)

    def execute(machine: Machine, at: Lanes) -> None:
        found = compared(how, kind, machine.get(one.operands[1], kind, at), machine.get(one.operands[2], kind, at))
        if combine is not None:
            found = combine(found, machine.get(one.operands[3], "pred", at))
        machine.set(one.operands[0], "pred", at, found)

    return execute


def _convert(one: Instruction) -> Function:
    mods = one.opcode[1:]
    if mods[-2] in ("f16x2", "bf16x2"):
        half = mods[-2][:-2]

        def execute_two(machine: Machine, at: Lanes) -> None:
            high, low = (
                np.broadcast_to(converted((*mods[:-2], half, "f32"), machine.get(operand, "f32", at)).view(np.uint16), len(at))
                for operand in one.operands[1:]
            )
            machine.set(one.operands[0], "b32", at, (high.astype(np.uint32) << np.uint32(16)) | low)

        return execute_two

    def execute(machine: Machine, at: Lanes) -> None:
        machine.set(one.operands[0], mods[-2], at, converted(mods, machine.get(one.operands[1], mods[-1], at)))

    return execute


def _move_parts(one: Instruction) -> Function:
    """`mov.b64 {a, b}, c` and `mov.b64 c, {a, b}`: the first is the lower part."""
    kind = one.opcode[-1]
    whole = UNSIGNED[size_of(kind)]
    target, source = one.operands
    if isinstance(target, tuple):
        bits = 8 * size_of(kind) // len(target)

        def unpack(machine: Machine, at: Lanes) -> None:
            value = machine.get(source, kind, at)
            for place, part in enumerate(target):
                machine.set(part, f"b{bits}", at, (value >> whole(bits * place)).astype(UNSIGNED[bits // 8]))

        return unpack
    assert isinstance(source, tuple)
    bits = 8 * size_of(kind) // len(source)

    def pack(machine: Machine, at: Lanes) -> None:
        value = np.zeros(len(at), whole)
        for place, part in enumerate(source):
            value |= machine.get(part, f"b{bits}", at).astype(whole) << whole(bits * place)
        machine.set(target, kind, at, value)

    return pack


# Memory.


def _load_parameter(one: Instruction) -> Function:
    kind = one.opcode[-1]
    source = one.operands[1]
    assert isinstance(source, Memory)

    def execute(machine: Machine, at: Lanes) -> None:
        begin = source.offset
        value = np.frombuffer(machine.arguments[source.base][begin : begin + size_of(kind)], TYPES[kind])
        machine.set(one.operands[0], kind, at, value)

    return execute


class _Access:
    """Where an instruction reads or writes: its space, its type, how many in a row, and the addresses of threads."""

    def __init__(self, one: Instruction, memory: Any) -> None:
        assert isinstance(memory, Memory), one.line
        self.one, self.memory, self.kind = one, memory, one.opcode[-1]
        self.size = size_of(self.kind)
        self.width = {"v2": 2, "v4": 4, "v8": 8}.get(next((mod for mod in one.opcode if mod in ("v2", "v4", "v8")), ""), 1)
        self.is_shared = "shared" in one.opcode or "shared::cta" in one.opcode
        if not self.is_shared and "global" not in one.opcode:
            raise NotImplementedError(one.line)

    def places(self, machine: Machine, at: Lanes, what: str) -> tuple[Values, NDArray[np.int64]]:
        """Return (memory in words, the place of the first word of each thread)."""
        space: Any = machine.shared if self.is_shared else machine.memory
        base = machine.get(self.memory.base, "u32" if self.is_shared else "u64", at).astype(np.int64)
        addresses = np.broadcast_to(base + self.memory.offset, len(at))
        space.check(addresses, self.size * self.width, self.one.line)
        if machine.counts is not None:
            count_access(machine.counts, what, addresses, self.size * self.width, at, self.is_shared)
        return space.words[self.size], space.place(addresses, self.size, at)


def count_access(counts: Any, what: str, addresses: NDArray[np.int64], size: int, at: Lanes, is_shared: bool) -> None:
    """Count what a warp's access costs: sectors of 32 bytes of global memory, further passes over banks of shared memory."""
    warps = at // _WARP
    if is_shared:
        words = np.unique(np.stack([warps, addresses // 4]), axis=1)
        if size <= 4:
            most = np.zeros((warps.max() + 1, 32), np.int64)
            np.add.at(most, (words[0], words[1] % 32), 1)
            counts.conflicts += int(np.maximum(most.max(axis=1) - 1, 0).sum())
        return
    first, last = addresses // 32, (addresses + size - 1) // 32
    both = np.concatenate([np.stack([warps, first]), np.stack([warps, last])], axis=1)
    counts.sectors[what] += np.unique(both, axis=1).shape[1]
    counts.wanted[what] += size * len(at)
    counts.touched.setdefault(what, []).append(np.unique(both[1]))


def _load(one: Instruction) -> Function:
    access = _Access(one, one.operands[1])
    targets = one.operands[0] if isinstance(one.operands[0], tuple) else (one.operands[0],)
    assert len(targets) == access.width, one.line

    def execute(machine: Machine, at: Lanes) -> None:
        words, place = access.places(machine, at, "ld")
        found = [words[place + step].view(TYPES[access.kind]) for step in range(access.width)]
        for target, value in zip(targets, found, strict=True):
            machine.set(target, access.kind, at, value)

    return execute


def _store(one: Instruction) -> Function:
    access = _Access(one, one.operands[0])
    sources = one.operands[1] if isinstance(one.operands[1], tuple) else (one.operands[1],)
    assert len(sources) == access.width, one.line

    def execute(machine: Machine, at: Lanes) -> None:
        words, place = access.places(machine, at, "st")
        for step, source in enumerate(sources):
            words[place + step] = machine.get(source, access.kind, at).view(UNSIGNED[access.size])

    return execute


_ATOMIC: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda old, b, c: old + b,
    "min": lambda old, b, c: min(old, b),
    "max": lambda old, b, c: max(old, b),
    "and": lambda old, b, c: old & b,
    "or": lambda old, b, c: old | b,
    "xor": lambda old, b, c: old ^ b,
    "exch": lambda old, b, c: b,
    "cas": lambda old, b, c: c if old == b else old,
}


def _atomic(one: Instruction) -> Function:
    """Threads come one after the other, in an order drawn by chance where programs race."""
    operands = one.operands if one.opcode[0] == "atom" else ("_", *one.operands)
    access = _Access(one, operands[1])
    change = next(_ATOMIC[mod] for mod in one.opcode[1:] if mod in _ATOMIC)

    def execute(machine: Machine, at: Lanes) -> None:
        order = np.arange(len(at)) if machine.chance is None else machine.chance.permutation(len(at))
        words, place = access.places(machine, at, "atom")
        words = words.view(TYPES[access.kind])
        given = [np.broadcast_to(machine.get(operand, access.kind, at), len(at)) for operand in operands[2:]]
        before = np.empty(len(at), TYPES[access.kind])
        b, c = given[0], given[-1]
        for i in order:
            before[i] = old = words[place[i]]
            words[place[i]] = change(old, b[i], c[i])
        machine.set(operands[0], access.kind, at, before)
        if machine.counts is not None:
            machine.counts.atomics += len(at)

    return execute


# Warps. All threads of a warp that live take part: the machine waits for them.


def _shuffle(one: Instruction) -> Function:
    how = one.opcode[2]
    *results, source, by, clamp, _ = one.operands

    def execute(machine: Machine, at: Lanes) -> None:
        lane = at % _WARP
        b, c = (machine.get(operand, "u32", at).astype(np.int64) for operand in (by, clamp))
        segment = (c >> 8) & 31
        last, first, b = (lane & segment) | (c & 31 & ~segment), lane & segment, b & 31
        wanted = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": first | (b & ~segment)}[how]
        is_there = wanted >= last if how == "up" else wanted <= last
        from_lane = np.where(is_there, wanted, lane)
        assert isinstance(source, str), one.line
        value = machine.registers[source][at - lane + from_lane]
        machine.set(results[0], "b32", at, value)
        if len(results) > 1:
            machine.set(results[1], "pred", at, np.broadcast_to(is_there, len(at)))

    return execute


def _of_warps(at: Lanes, values: Values, function: Any) -> Values:
    """Return for each thread what `function` makes of the values of its warp."""
    begins = np.flatnonzero(np.r_[True, at[1:] // _WARP != at[:-1] // _WARP])
    return np.asarray(function.reduceat(values, begins))[np.cumsum(np.r_[True, at[1:] // _WARP != at[:-1] // _WARP]) - 1]


def _redux(one: Instruction) -> Function:
    kind = one.opcode[-1]
    function = {
        "add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor
    }[one.opcode[2]]  # fmt: skip

    def execute(machine: Machine, at: Lanes) -> None:
        values = np.broadcast_to(machine.get(one.operands[1], kind, at), len(at))
        machine.set(one.operands[0], kind, at, _of_warps(at, values, function).astype(TYPES[kind]))

    return execute


def _vote(one: Instruction) -> Function:
    how = one.opcode[2]

    def execute(machine: Machine, at: Lanes) -> None:
        said = np.broadcast_to(machine.get(one.operands[1], "pred", at), len(at))
        if how == "ballot":
            bits = np.where(said, np.uint32(1) << (at % _WARP).astype(np.uint32), np.uint32(0))
            machine.set(one.operands[0], "b32", at, _of_warps(at, bits, np.bitwise_or))
        else:
            machine.set(one.operands[0], "pred", at, _of_warps(at, said, {"any": np.logical_or, "all": np.logical_and}[how]))

    return execute


def _matrix_rows(one: Instruction, machine: Machine, at: Lanes, memory: Any, num: int) -> NDArray[np.int64]:
    """Return where each thread's two values of 16 bits of each of `num` matrices lie, [threads, num]; a row is 16 bytes, given by a thread."""
    if len(at) % _WARP or "trans" in one.opcode:
        raise NotImplementedError(one.line)
    assert isinstance(memory, Memory)
    addresses = np.broadcast_to(machine.get(memory.base, "u32", at).astype(np.int64) + memory.offset, len(at))
    lane = at % _WARP
    rows = np.stack([np.arange(len(at)) - lane + 8 * matrix + lane // 4 for matrix in range(num)], axis=1)
    machine.shared.check(addresses[np.unique(rows)], 16, one.line)
    return machine.shared.place(addresses[rows].T, 1, at).T + 4 * (lane % 4)[:, None]


def _ldmatrix(one: Instruction) -> Function:
    targets, memory = one.operands
    targets = targets if isinstance(targets, tuple) else (targets,)

    def execute(machine: Machine, at: Lanes) -> None:
        places = _matrix_rows(one, machine, at, memory, len(targets))
        for matrix, target in enumerate(targets):
            machine.set(target, "b32", at, machine.shared.words[4][places[:, matrix] // 4])

    return execute


def _stmatrix(one: Instruction) -> Function:
    memory, sources = one.operands
    sources = sources if isinstance(sources, tuple) else (sources,)

    def execute(machine: Machine, at: Lanes) -> None:
        places = _matrix_rows(one, machine, at, memory, len(sources))
        for matrix, source in enumerate(sources):
            machine.shared.words[4][places[:, matrix] // 4] = machine.get(source, "b32", at)

    return execute
