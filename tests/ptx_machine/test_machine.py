"""The machine that runs compiled kernels: its instructions against Python's integers and fractions, its threads against what PTX says."""

from __future__ import annotations

import fractions
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptx.machine import Code, Counts, run
from ptx.memory import Allocations, GlobalMemory
from ptx.text import Memory, parse

HEAD = """
.version 8.0
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 global_smem[];
.visible .entry kernel(
    .param .u64 .ptr .global .align 1 kernel_param_0,
    .param .u32 kernel_param_1
)
.reqntid 64
{
    .reg .pred %p<8>;
    .reg .b16 %rs<8>;
    .reg .b32 %r<32>;
    .reg .b64 %rd<32>;
    ld.param.b64 %rd0, [kernel_param_0];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mad.lo.s32 %r3, %r1, %r2, %r0;  // the thread among all
"""
SIGNED = {"s32": 32, "s64": 64}


def execute(
    body: str, memory: torch.Tensor, *, programs: int = 1, threads: int = 64, seed: int | None = None, counts: Counts | None = None
) -> torch.Tensor:
    """Run a kernel of these instructions, %rd0 being the address of `memory`; return `memory`."""
    code = Code(parse(HEAD + body + "\n    ret;\n}\n"))
    known = Allocations()
    known.add(memory)
    given_bytes = [memory.data_ptr().to_bytes(8, "little"), (7).to_bytes(4, "little")]
    run(code, (programs, 1, 1), threads, 4096, given_bytes, GlobalMemory(known.bounds()), seed, counts)
    return memory


def answer_of(opcode: str, kind: str, *operands: int, result: str = "") -> int:
    """Return what an instruction makes of constants in registers, as the bits of its result."""
    of = {"16": "%rs", "32": "%r", "64": "%rd"}
    width = re.sub(r"\D", "", kind)
    name, size = of[width], int(width)
    moves = "".join(f"mov.b{size} {name}{5 + i}, {value & ((1 << size) - 1)};\n" for i, value in enumerate(operands))
    wide = re.sub(r"\D", "", result or kind)
    sources = ", ".join(f"{name}{5 + i}" for i in range(len(operands)))
    memory = torch.zeros(1, dtype=torch.int64)
    execute(f"{moves} {opcode}.{kind} {of[wide]}20, {sources};\n st.global.b{wide} [%rd0], {of[wide]}20;", memory, threads=1)
    return int(memory.numpy().view(np.uint64)[0])


def as_signed(bits: int, kind: str) -> int:
    size = int(kind[1:])
    bits &= (1 << size) - 1
    return bits - (1 << size) if kind[0] == "s" and bits >> (size - 1) else bits


def truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


INTEGERS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "min": min,
    "max": max,
    "div": lambda a, b: truncated(a, b) if b else -1,
    "rem": lambda a, b: a - truncated(a, b) * b if b else a + b,
}
words = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, -1, 2**31, -(2**31), 2**63 - 1, -(2**63), 255, 2**32]))


@given(st.sampled_from(sorted(INTEGERS)), st.sampled_from(["s32", "u32", "s64", "u64"]), words, words)
def test_arithmetic_of_integers(opcode: str, kind: str, a: int, b: int) -> None:
    a, b = as_signed(a, kind), as_signed(b, kind)
    if opcode in ("div", "rem") and (b == 0 or (b == -1 and a == -(2 ** (int(kind[1:]) - 1)))):
        return  # PTX leaves it open
    assert answer_of(opcode, kind, a, b) == INTEGERS[opcode](a, b) & ((1 << int(kind[1:])) - 1)


@given(st.sampled_from(["u32", "s32", "u64", "s64"]), words, words, words)
def test_products_of_all_bits(kind: str, a: int, b: int, c: int) -> None:
    size = int(kind[1:])
    a, b, c = (as_signed(word, kind) for word in (a, b, c))
    assert answer_of("mul.hi", kind, a, b) == ((a * b) >> size) & ((1 << size) - 1)
    assert answer_of("mad.lo", kind, a, b, c) == (a * b + c) & ((1 << size) - 1)
    if size == 32:
        assert answer_of("mul.wide", kind, a, b, result="64") == (a * b) & (2**64 - 1)


@given(st.sampled_from(["32", "64"]), words, st.integers(0, 70), st.integers(1, 32))
def test_shifts_and_fields(size: str, a: int, by: int, length: int) -> None:
    bits, low = int(size), a & ((1 << int(size)) - 1)
    memory = torch.zeros(4, dtype=torch.int64)
    of = "%r" if size == "32" else "%rd"
    begin = min(by, bits - length)
    execute(
        f"""mov.b{size} {of}5, {low}; mov.u32 %r6, {by}; mov.u32 %r7, {begin}; mov.u32 %r8, {length};
        shl.b{size} {of}9, {of}5, %r6; shr.u{size} {of}10, {of}5, %r6; shr.s{size} {of}11, {of}5, %r6; bfe.s{size} {of}12, {of}5, %r7, %r8;
        st.global.b{size} [%rd0], {of}9; st.global.b{size} [%rd0+8], {of}10; st.global.b{size} [%rd0+16], {of}11;
        st.global.b{size} [%rd0+24], {of}12;""",
        memory,
        threads=1,
    )
    signed, field = as_signed(a, f"s{size}"), (low >> begin) & ((1 << length) - 1)
    expected = [low << by, low >> by, signed >> min(by, bits - 1), as_signed(field, f"s{length}")]
    assert memory.numpy().view(np.uint64).tolist() == [one & ((1 << bits) - 1) for one in expected]


@given(words, words)
def test_single_words(a: int, b: int) -> None:
    low = a & 0xFFFFFFFF
    assert answer_of("popc", "b32", low) == low.bit_count()
    assert answer_of("clz", "b32", low) == 32 - low.bit_length()
    assert answer_of("brev", "b32", low) == int(f"{low:032b}"[::-1], 2)
    both = (b & 0xFFFFFFFF) << 32 | low
    picked = [both >> 8 * (b >> 4 * place & 7) & 255 for place in range(4)]
    signs = [255 if byte > 127 else 0 for byte in picked]
    expected = sum((signs if b >> 4 * place & 8 else picked)[place] << 8 * place for place in range(4))
    assert answer_of("prmt", "b32", low, b & 0xFFFFFFFF, b & 0xFFFF) == expected


def rounded(exact: fractions.Fraction) -> np.float32:
    """Return the float32 nearest to a fraction, of two the even one, by trying those around it."""
    near = np.float32(float(exact))
    around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    finite = [one for one in around if np.isfinite(one)]
    return min(finite, key=lambda one: (abs(fractions.Fraction(float(one)) - exact), one.view(np.uint32) & 1))


numbers = st.floats(2.0**-40, 2.0**40, width=32) | st.floats(-(2.0**40), -(2.0**-40), width=32)


@given(numbers, numbers, numbers)
def test_arithmetic_of_float32_is_rounded_once(a: float, b: float, c: float) -> None:
    memory = torch.tensor([a, b, c, 0, 0, 0, 0, 0], dtype=torch.float32)
    execute(
        """ld.global.v2.b32 {%r5, %r6}, [%rd0]; ld.global.b32 %r7, [%rd0+8];
        add.rn.f32 %r8, %r5, %r6; mul.rn.f32 %r9, %r5, %r6; div.rn.f32 %r10, %r5, %r6; fma.rn.f32 %r11, %r5, %r6, %r7;
        st.global.v4.b32 [%rd0+16], {%r8, %r9, %r10, %r11};""",
        memory,
        threads=1,
    )
    x, y, z = (fractions.Fraction(float(one)) for one in memory[:3])
    expected = [rounded(exact) for exact in (x + y, x * y, x / y, x * y + z)]
    assert memory[4:].tolist() == [float(one) for one in expected]


def test_comparisons_of_nan() -> None:
    nan, body = 0x7FC00000, ""
    for place, how in enumerate(("lt", "ltu", "eq", "equ", "ne", "neu", "num", "nan")):
        body += f"setp.{how}.f32 %p1, %r5, %r6; selp.b32 %r7, 1, 0, %p1; st.global.b32 [%rd0+{4 * place}], %r7;\n"
    found = execute(f"mov.b32 %r5, {nan}; mov.b32 %r6, 0f3F800000; {body}", torch.zeros(8, dtype=torch.int32), threads=1)
    assert found.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_threads_part_and_meet_again(seed: int | None) -> None:
    """Thread t goes round a loop t times, and all turn the block around through shared memory."""
    body = """
        mov.u32 %r5, 0; mov.u32 %r6, 0;
    $L1:
        setp.ge.s32 %p1, %r5, %r0;
        @%p1 bra $L2;
        add.s32 %r6, %r6, %r5;
        add.s32 %r5, %r5, 1;
        bra.uni $L1;
    $L2:
        shl.b32 %r7, %r0, 2; mov.b32 %r8, global_smem; add.s32 %r8, %r8, %r7;
        st.shared.b32 [%r8], %r6;
        bar.sync 0;
        sub.s32 %r9, 63, %r0; shl.b32 %r9, %r9, 2; mov.b32 %r10, global_smem; add.s32 %r9, %r9, %r10;
        ld.shared.b32 %r11, [%r9];
        mul.wide.s32 %rd5, %r3, 4; add.s64 %rd6, %rd0, %rd5;
        st.global.b32 [%rd6], %r11;"""
    found = execute(body, torch.zeros(5 * 64, dtype=torch.int32), programs=5, seed=seed)
    assert found.tolist() == [t * (t - 1) // 2 for t in reversed(range(64))] * 5


@pytest.mark.parametrize("seed", [None, 4, 5])
def test_atomics_lose_nothing_and_a_swap_succeeds_once(seed: int | None) -> None:
    body = """
        add.s32 %r5, %r3, 1;
        atom.global.gpu.relaxed.add.u32 %r6, [%rd0], %r5;
        mov.u32 %r7, 0;
        atom.global.gpu.relaxed.cas.b32 %r8, [%rd0+4], %r7, %r5;
        setp.eq.s32 %p1, %r8, 0;
        @%p1 red.global.add.u32 [%rd0+8], 1;"""
    total, first, won = execute(body, torch.zeros(3, dtype=torch.int32), programs=3, seed=seed).tolist()
    assert (total, won) == (192 * 193 // 2, 1)
    assert 1 <= first <= 192


def test_lanes_of_a_warp_exchange() -> None:
    body = """
        shfl.sync.bfly.b32 %r5|%p1, %r0, 5, 31, -1;
        shfl.sync.up.b32 %r6, %r0, 3, 0, -1;
        shfl.sync.idx.b32 %r7, %r0, 2, 6175, -1;  // segments of 8 lanes
        redux.sync.max.u32 %r8, %r0, -1;
        mul.wide.s32 %rd5, %r0, 16; add.s64 %rd6, %rd0, %rd5;
        st.global.v4.b32 [%rd6], {%r5, %r6, %r7, %r8};"""
    found = execute(body, torch.zeros(64, 4, dtype=torch.int32))
    for t, (across, up, at, most) in enumerate(found.tolist()):
        lane, base = t % 32, t // 32 * 32
        assert (across, up, at, most) == (base + (lane ^ 5), t - 3 if lane >= 3 else t, base + lane // 8 * 8 + 2, base + 31)


@pytest.mark.parametrize(
    ("offset", "size", "message"),
    [(4 * 64, 32, "illegal address .* 1 lanes"), (-4, 32, "illegal address"), (2, 32, "misaligned address"), (4, 64, "misaligned")],
)
def test_an_access_that_a_gpu_would_refuse_is_an_error(offset: int, size: int, message: str) -> None:
    memory = torch.zeros(64, dtype=torch.int32)
    of = "%r9" if size == 32 else "%rd9"
    body = f"setp.eq.s32 %p1, %r0, 3; @%p1 ld.global.b{size} {of}, [%rd0+{offset}];"
    with pytest.raises(MemoryError, match=message):
        execute(body, memory)


def test_programs_that_wait_for_what_never_comes_are_named() -> None:
    with pytest.raises(RuntimeError, match=r"wait for one another.*bar\.sync"):
        execute("setp.lt.s32 %p1, %r0, 32; @%p1 bra $L1; bar.sync 0;\n$L1: bar.sync 0;", torch.zeros(1))


def test_a_later_program_may_wait_for_an_earlier_one_and_an_earlier_for_a_later() -> None:
    """Each program waits for the other's word before it writes its second."""
    body = """
        mul.wide.s32 %rd5, %r1, 4; add.s64 %rd6, %rd0, %rd5; xor.b32 %r5, %r1, 1; mul.wide.s32 %rd7, %r5, 4; add.s64 %rd8, %rd0, %rd7;
        st.global.b32 [%rd6], 1;
    $L1:
        ld.volatile.global.b32 %r6, [%rd8]; setp.eq.s32 %p1, %r6, 0; @%p1 bra $L1;
        st.global.b32 [%rd6+8], %r6;"""
    assert execute(body, torch.zeros(4, dtype=torch.int32), programs=2, threads=1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("line", "error"),
    [("tanh.approx.f32 %r5, %r6;", "CPU"), ("ex2.approx.ftz.f32 %r5, %r6;", "CPU"), ("frobnicate.b32 %r5, %r6;", "frobnicate")],
)
def test_what_is_not_known_is_refused(line: str, error: str) -> None:
    with pytest.raises(NotImplementedError, match=error):
        execute(line, torch.zeros(1))


def test_counts_are_those_of_warps() -> None:
    """64 threads read 4 bytes each, side by side and then 64 apart: 2 warps of 4 sectors, and 64 sectors."""
    counts = Counts()
    memory = torch.zeros(64 * 16, dtype=torch.int32)
    memory = memory[(-memory.data_ptr() % 32) // 4 :]
    body = """
        mul.wide.s32 %rd5, %r0, 4; add.s64 %rd6, %rd0, %rd5; ld.global.b32 %r5, [%rd6];
        mul.wide.s32 %rd7, %r0, 64; add.s64 %rd8, %rd0, %rd7; @%p1 st.global.b32 [%rd8], %r5; st.global.b32 [%rd8], %r5;"""
    execute(body, memory[: 63 * 16 + 1], counts=counts)
    assert counts.sectors == {"ld": 8, "st": 64}
    assert counts.wanted == {"ld": 256, "st": 256}
    assert counts.instructions["ld", "global", "b32"] == 2
    assert counts.instructions["st", "global", "b32"] == 4  # one that no thread takes is issued too


def test_a_register_of_an_inner_block_is_another() -> None:
    program = parse(HEAD + "mov.b32 %r5, 1;\n{ .reg .b32 %r5; mov.b32 %r5, 2; }\n st.global.b32 [%rd0 + 4], %r5; }")
    inner, outer = program.instructions[-2], program.instructions[-1]
    assert inner.operands[0] != "%r5"
    assert outer.operands == (Memory("%rd0", 4), "%r5")
    found: Any = execute(
        "mov.b32 %r5, 1;\n{ .reg .b32 %r5; mov.b32 %r5, 2; }\n st.global.b32 [%rd0 + 4], %r5;", torch.zeros(2, dtype=torch.int32)
    )
    assert found.tolist() == [0, 1]
