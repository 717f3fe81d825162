"""`map_values` on a GPU: one launch for all chains. A program takes a block of one chain's outputs, keeps it in registers as float64 and as
int64, and reads step after step what to do with it; all lanes of a program do the same, so the choices are branches of the program.

One int64 tensor tells the kernel everything: addresses of columns, steps, and which block is whose. It is made on the host and copied once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.map_values.packed import OUTPUT_DTYPES, VALUE_DTYPES, Source
from sparrow.ops.map_values.triton_steps import id_step, number_step
from sparrow.ops.map_values.triton_words import (
    ALIGNED,
    BYTES,
    CHAIN_WORDS,
    COUNTED,
    DOUBLE,
    FINITE,
    GIVES_DOUBLES,
    GIVES_IDS,
    GIVES_SINGLES,
    ID_CODES,
    IDS,
    LARGEST,
    NUMBER_CODES,
    REFUSES,
    ROWS,
    SINGLE,
    STEP_WORDS,
    VALUES,
    WITH_TABLES,
    facts_of,
    reciprocals_of,
)
from sparrow.ops.map_values.triton_words import NUM_STEPS as NUM_STEPS
from sparrow.ops.recorded import keep, send_words

# A thread has several values, so that what is the same for all of a program costs little; strings have long code, and one a thread.
BLOCK, NUM_WARPS = 1024, 4
STRING_BLOCK, STRING_WARPS = 256, 8


@triton.jit
def load_items(address, TYPE: tl.constexpr, o, m, IS_WHOLE: tl.constexpr):
    """IS_WHOLE: addresses are aligned and all of the block is there, so that a thread loads 16 bytes at once."""
    pointer = address.to(tl.pointer_type(TYPE))
    return tl.load(tl.multiple_of(pointer, 16) + o) if IS_WHOLE else tl.load(pointer + o, mask=m, other=0)


@triton.jit
def store_items(address, TYPE: tl.constexpr, o, b, m, is_whole):
    pointer = tl.multiple_of(address.to(tl.pointer_type(TYPE)), 16)
    if is_whole:
        tl.store(pointer + o, b)
    else:
        tl.store(pointer + o, b, mask=m)


@triton.jit
def load_values(address, dtype, b_numbers, b_ids, o, m, DTYPES: tl.constexpr, IS_WHOLE: tl.constexpr):
    """Return values as float64 and as int64; only the one that `dtype` (a place in VALUE_DTYPES) calls for counts. DTYPES: a bit for each
    that occurs."""
    if DTYPES & 0b11 and dtype <= 1:
        b_ids = load_items(address, tl.uint8, o, m, IS_WHOLE).to(tl.int64)
    if DTYPES & 0b100 and dtype == 2:
        b_ids = load_items(address, tl.int8, o, m, IS_WHOLE).to(tl.int64)
    if DTYPES & 0b1000 and dtype == 3:
        b_ids = load_items(address, tl.int16, o, m, IS_WHOLE).to(tl.int64)
    if DTYPES & 0b1_0000 and dtype == 4:
        b_ids = load_items(address, tl.int32, o, m, IS_WHOLE).to(tl.int64)
    if DTYPES & 0b10_0000 and dtype == 5:
        b_ids = load_items(address, tl.int64, o, m, IS_WHOLE)
    if DTYPES & 0b100_0000 and dtype == 6:
        b_numbers = load_items(address, tl.float16, o, m, IS_WHOLE).to(tl.float32).to(tl.float64)
    if DTYPES & 0b1000_0000 and dtype == 7:  # bfloat16 is the upper half of a float32
        b_bits = load_items(address, tl.int16, o, m, IS_WHOLE).to(tl.int32) << 16
        b_numbers = b_bits.to(tl.float32, bitcast=True).to(tl.float64)
    if DTYPES & 0b1_0000_0000 and dtype == 8:
        b_numbers = load_items(address, tl.float32, o, m, IS_WHOLE).to(tl.float64)
    if DTYPES & 0b10_0000_0000 and dtype == 9:
        b_numbers = load_items(address, tl.float64, o, m, IS_WHOLE)
    return b_numbers, b_ids


@triton.jit
def load_chain(
    p_chain, p_steps, begin, m_n, is_whole, SOURCES: tl.constexpr, DTYPES: tl.constexpr, FACTS: tl.constexpr, BLOCK_N: tl.constexpr
):
    """Return values as numbers and as ids, what refused them, and addresses and bytes of strings."""
    o_lane = tl.arange(0, BLOCK_N)
    address, dtype, offsets, source = tl.load(p_chain), tl.load(p_chain + 1), tl.load(p_chain + 2), tl.load(p_chain + 3)
    b_ids = tl.zeros([BLOCK_N], tl.int64)
    b_numbers = tl.zeros([BLOCK_N], tl.float64)
    b_refused_by = tl.full([BLOCK_N], -1, tl.int32)
    b_length = b_ids + 1
    p_string = address.to(tl.pointer_type(tl.uint8)) + b_ids
    if SOURCES == 1:  # VALUES alone
        address += begin * tl.load(p_chain + 9)
        if ALIGNED & FACTS and is_whole:
            b_numbers, b_ids = load_values(address, dtype, b_numbers, b_ids, o_lane, m_n, DTYPES, True)
        else:
            b_numbers, b_ids = load_values(address, dtype, b_numbers, b_ids, o_lane, m_n, DTYPES, False)
    else:
        b_begin = begin + o_lane
        if source != VALUES:
            p_offsets = offsets.to(tl.pointer_type(tl.int64)) + b_begin
            b_begin = tl.load(p_offsets, mask=m_n, other=0)
            b_length = tl.load(p_offsets + 1, mask=m_n, other=0) - b_begin
        p_string = p_string + b_begin
        m_value = m_n & (b_length == 1)
        if source == BYTES:
            m_value = m_value & (o_lane < 0)
        b_numbers, b_ids = load_values(address, dtype, b_numbers, b_ids, b_begin, m_value, DTYPES, False)
        if source == ROWS:
            b_ids = tl.where(b_length == 1, b_ids, tl.load(p_steps + 2))
            b_numbers = tl.where(b_length == 1, b_numbers, tl.load(p_steps + 1).to(tl.float64, bitcast=True))
            b_refused_by = tl.where(b_length > 1, 0, b_refused_by)
    return b_numbers, b_ids, b_refused_by, p_string, b_length


@triton.jit
def store_outputs(output, begin, state, b_numbers, b_ids, m_n, is_whole, FACTS: tl.constexpr, BLOCK_N: tl.constexpr):
    o_lane = tl.arange(0, BLOCK_N)
    if GIVES_IDS & FACTS and state == IDS:
        store_items(output + begin * 8, tl.int64, o_lane, b_ids, m_n, is_whole)
    if GIVES_SINGLES & FACTS and state == SINGLE:
        store_items(output + begin * 4, tl.float32, o_lane, b_numbers.to(tl.float32), m_n, is_whole)
    if GIVES_DOUBLES & FACTS and state == DOUBLE:
        store_items(output + begin * 8, tl.float64, o_lane, b_numbers, m_n, is_whole)


@triton.jit
def tell(
    counts, firsts, chain, begin, b_not_finite, b_refused_by, m_counted, CODES: tl.constexpr, FACTS: tl.constexpr, BLOCK_N: tl.constexpr
):
    if 2**FINITE & CODES:
        num_not_finite = tl.sum(b_not_finite)
        if num_not_finite > 0:
            tl.atomic_add(counts + 4 * chain, num_not_finite.to(tl.int64), sem="relaxed")
    if REFUSES & FACTS:
        refused = m_counted & (b_refused_by >= 0)
        num_refused = tl.sum(refused.to(tl.int32))
        if num_refused > 0:
            tl.atomic_add(counts + 4 * chain + 1, num_refused.to(tl.int64), sem="relaxed")
            # Position and step in one word, so that the least tells both.
            b_first = ((begin + tl.arange(0, BLOCK_N)) << 16) | b_refused_by.to(tl.int64)
            tl.atomic_min(firsts + chain, tl.min(tl.where(refused, b_first, LARGEST)), sem="relaxed")


@triton.jit
def map_kernel(
    words, first_chain, first_step, counts, firsts,
    CODES: tl.constexpr, DTYPES: tl.constexpr, SOURCES: tl.constexpr, FACTS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """CODES, DTYPES, SOURCES, FACTS: bits for what occurs in the call: code for the rest is not made."""
    chain = tl.load(words + 2 * tl.program_id(0))
    begin = tl.load(words + 2 * tl.program_id(0) + 1)
    p_chain = words + first_chain + chain * CHAIN_WORDS
    p_steps = words + first_step + tl.load(p_chain + 4) * STEP_WORDS
    o_lane = tl.arange(0, BLOCK_N)  # [BLOCK_N]
    num_left = tl.load(p_chain + 7) - begin
    is_whole = num_left >= BLOCK_N
    m_n = o_lane < tl.minimum(num_left, BLOCK_N).to(tl.int32)
    # Memory may be longer than what counts: values behind are made, but neither counted nor refused.
    m_counted = m_n
    if COUNTED & FACTS:
        count_at = tl.load(p_chain + 8)
        if count_at != 0:
            num_left = tl.maximum(tl.load(count_at.to(tl.pointer_type(tl.int64))) - begin, 0)
            m_counted = m_n & (o_lane < tl.minimum(num_left, BLOCK_N).to(tl.int32))

    b_numbers, b_ids, b_refused_by, p_string, b_length = load_chain(p_chain, p_steps, begin, m_n, is_whole, SOURCES, DTYPES, FACTS, BLOCK_N)
    b_not_finite = tl.zeros([BLOCK_N], tl.int32)
    dtype = tl.load(p_chain + 1)
    state = tl.where(dtype <= 5, IDS, tl.where(dtype <= 8, SINGLE, DOUBLE)).to(tl.int64)
    for place in range(tl.load(p_chain + 5).to(tl.int32)):
        p_step = p_steps + place * STEP_WORDS
        code = tl.load(p_step)
        if NUMBER_CODES & CODES and code <= FINITE:
            b_numbers, b_ids, b_refused_by, b_not_finite, state = number_step(
                code, p_step, place, b_numbers, b_ids, b_refused_by, b_not_finite, state, m_counted, CODES, FACTS
            )
        if ID_CODES & CODES and code > FINITE:
            b_ids, b_refused_by, state = id_step(
                code, p_step, place, p_string, b_length, b_numbers, b_ids, b_refused_by, state, m_n, CODES, FACTS
            )
    store_outputs(tl.load(p_chain + 6), begin, state, b_numbers, b_ids, m_n, is_whole, FACTS, BLOCK_N)
    tell(counts, firsts, chain, begin, b_not_finite, b_refused_by, m_counted, CODES, FACTS, BLOCK_N)


def map_values(
    values: list[Tensor], offsets: list[Tensor], chains: Tensor, steps: Tensor, tables: list[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """CUDA body of the operator; see `op.py`. `chains` and `steps` lie on the CPU, all else on the device. No host synchronisation.

    Offsets are not checked here: that they rise and end with the values is up to the caller. `chains` may have a column more: the number of
    offsets whose last entry says how many outputs count, or -1 where all do.
    """
    device = values[0].device if values else chains.device
    for name, tensors in (("values", values), ("offsets", offsets), ("tables", tables)):
        for number, tensor in enumerate(tensors):
            if tensor.device != device or not tensor.is_contiguous():
                raise RuntimeError(f"{name}: tensor {number} must be contiguous and on {device}, like the first of values")
    rows, told_steps = chains.tolist(), steps.tolist()
    facts = facts_of(rows, told_steps, values)
    block = STRING_BLOCK if facts.has_strings else BLOCK
    outputs: list[Tensor] = []
    blocks: list[int] = []
    told: list[int] = []
    for number, (value, cuts, source, first, num_steps, dtype, *counted_by) in enumerate(rows):
        num_outputs = values[value].numel() if source == Source.VALUES else offsets[cuts].numel() - 1
        outputs.append(torch.empty(num_outputs, dtype=OUTPUT_DTYPES[dtype], device=device))
        for begin in range(0, num_outputs, block):
            blocks += (number, begin)
        held = values[value]
        address = 0 if source == Source.VALUES else offsets[cuts].data_ptr()
        told += (held.data_ptr(), VALUE_DTYPES.index(held.dtype), address, source, first, num_steps, outputs[-1].data_ptr(), num_outputs)
        counts_by = offsets[counted_by[0]] if counted_by and counted_by[0] >= 0 else None
        told += (0 if counts_by is None else counts_by[-1:].data_ptr(), held.element_size())
    first_step = len(blocks) + len(told)
    for code, *parameters in told_steps:
        told += (code, *parameters, tables[parameters[0]].data_ptr() if code in WITH_TABLES else 0, *reciprocals_of(code, *parameters))
    counts = torch.zeros((len(rows), 4), dtype=torch.int64, device=device)
    firsts = torch.full((len(rows),), LARGEST.value, dtype=torch.int64, device=device)
    for table in tables:
        keep(table)  # kernels reach it by address
    if blocks:
        map_kernel[(len(blocks) // 2,)](
            send_words(blocks + told, device),
            len(blocks),
            first_step,
            counts,
            firsts,
            CODES=facts.codes,
            DTYPES=facts.dtypes,
            SOURCES=facts.sources,
            FACTS=facts.others,
            BLOCK_N=block,
            num_warps=STRING_WARPS if facts.has_strings else NUM_WARPS,
            enable_fp_fusion=False,
        )
    none = firsts == LARGEST.value
    counts[:, 2] = torch.where(none, -1, firsts >> 16)
    counts[:, 3] = torch.where(none, -1, firsts & 0xFFFF)
    return outputs, counts
