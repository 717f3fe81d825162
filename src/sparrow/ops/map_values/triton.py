"""`map_values` on a GPU: one launch for all chains. A program takes a block of one chain's outputs, keeps it in registers as float64 and as
int64, and reads step after step what to do with it; all lanes of a program do the same, so the choices are branches of the program.

One int64 tensor tells the kernel everything: addresses of columns, steps, and which block is whose. It is made on the host and copied once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.map_values import log_number as plain_log
from sparrow.ops.map_values.packed import OUTPUT_DTYPES, VALUE_DTYPES, Source
from sparrow.ops.recorded import keep, send_words
from sparrow.ops.triton_hashes import hash_bytes, hash_ints, shift_right

BLOCK, NUM_WARPS = 256, 8
# Words of a chain's row, and of a step's: code, three parameters, address of its table.
CHAIN_WORDS, STEP_WORDS = tl.constexpr(9), tl.constexpr(5)
FILL, CAST, LOG1P, LOG, Z_SCORE, MIN_MAX, CLIP, FINITE, BUCKETIZE = (tl.constexpr(code) for code in range(9))
HASH_BYTES, VOCABULARY_OF_BYTES, HASH_INTS, NON_NEGATIVE, MOD, QUOTIENT, MULTI_HASH, VOCABULARY_OF_INTS = (
    tl.constexpr(code) for code in range(9, 17)
)
# Steps that have a branch here; a test holds it against `steps.STEPS`.
NUM_STEPS = 17
IDS, SINGLE, DOUBLE = (tl.constexpr(place) for place in range(3))  # as in OUTPUT_DTYPES
VALUES, BYTES, ROWS = (tl.constexpr(int(source)) for source in Source)
LARGEST = tl.constexpr(2**63 - 1)
SMALLEST = tl.constexpr(-(2**63))
MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9 - 2**64)
MIX_2 = tl.constexpr(0x94D049BB133111EB - 2**64)
SQRT_HALF, ONE = tl.constexpr(plain_log.SQRT_HALF), tl.constexpr(plain_log.ONE)
LOG2_HIGH, LOG2_LOW = tl.constexpr(plain_log.LOG2_HIGH), tl.constexpr(plain_log.LOG2_LOW)
SERIES_6, SERIES_5, SERIES_4, SERIES_3, SERIES_2, SERIES_1, SERIES_0 = (tl.constexpr(c) for c in plain_log.SERIES)
INFINITY = tl.constexpr(float("inf"))
NAN_BITS = tl.constexpr(
    0x7FF8000000000000
)  # a constant that is NaN is not equal to itself: Triton takes it for changed, and refuses to launch


@triton.jit
def log_of(x, rest, extra):
    """`csrc/core/log.h`, to the bit."""
    bits = x.to(tl.int64, bitcast=True)
    biased = shift_right(bits - SQRT_HALF + ONE, 52)
    k = (biased - 1023).to(tl.float64) - extra
    f = (bits - (biased << 52) + ONE).to(tl.float64, bitcast=True) - 1.0
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    series = z * 0.0 + SERIES_6
    series = series * z + SERIES_5
    series = series * z + SERIES_4
    series = series * z + SERIES_3
    series = series * z + SERIES_2
    series = series * z + SERIES_1
    series = series * z + SERIES_0
    series = series * z
    reversed_k = tl.where(biased < 2046, 2046 - biased, 0) << 52
    beside = rest * reversed_k.to(tl.float64, bitcast=True) * (1.0 - 2.0 * s)
    whole = k * LOG2_HIGH
    high = whole + f
    lost = (whole - high) + f
    return high + (lost + ((s * (half_square + series) + (k * LOG2_LOW + beside)) - half_square))


@triton.jit
def logarithm(x, adds_one):
    """log(x), or log(1 + max(x, 0)) where `adds_one`."""
    least = tl.where(x < 0.0, 0.0, x)
    total = 1.0 + least
    part = total - 1.0
    rest = (1.0 - (total - part)) + (least - part)
    is_small = ~adds_one & (x < 2.2250738585072014e-308)  # 2^-1022
    of = tl.where(adds_one, total, tl.where(is_small, x * 18014398509481984.0, x))
    value = log_of(of, tl.where(adds_one, rest, 0.0), tl.where(is_small, 54.0, 0.0).to(tl.float64))
    value = tl.where(of < INFINITY, value, x)
    nan = tl.full([], NAN_BITS, tl.int64).to(tl.float64, bitcast=True)
    ends = tl.where(x == 0.0, -INFINITY, tl.where(x < 0.0, nan, value))
    return tl.where(adds_one, tl.where(x < 0.0, 0.0, value), ends)


@triton.jit
def is_finite(x):
    return tl.abs(x) < INFINITY


@triton.jit
def order_key(x):
    bits = (x + 0.0).to(tl.int64, bitcast=True)
    return tl.where(x == x, bits ^ ((bits >> 63) & LARGEST), LARGEST)


@triton.jit
def count_reached(keys, numbers, table, m):
    """`csrc/core/bucketize.h`: a cell, then a search of fixed length in it."""
    count, num_cells, most = tl.load(table), tl.load(table + 1), tl.load(table + 2)
    first, second = tl.load(table + 4), tl.load(table + 5)
    if tl.load(table + 3) == 0:
        place = (numbers - first.to(tl.float64, bitcast=True)) * second.to(tl.float64, bitcast=True)
        last = (num_cells - 1).to(tl.float64)
        place = tl.where(place < last, place, last)
        cells = tl.where(place > 0.0, place, 0.0).to(tl.int64)
    else:
        number_keys = order_key(numbers)
        distance = (number_keys - first).to(tl.uint64, bitcast=True) >> second.to(tl.uint64, bitcast=True)
        beyond = distance >= num_cells.to(tl.uint64, bitcast=True)
        cells = tl.where(beyond, num_cells - 1, distance.to(tl.int64, bitcast=True))
        cells = tl.where(number_keys <= first, 0, cells)
    base = tl.load(table + 6 + cells, mask=m, other=0)
    boundaries = table + 6 + num_cells
    left = most
    while left > 0:
        half = (left + 1) // 2
        reached = tl.load(boundaries + base + half - 1, mask=m, other=LARGEST) <= keys
        base += tl.where(reached, half, 0)
        left -= half
    return tl.minimum(base, count)


@triton.jit
def multi_hash(ids, multiplier, prime, num_buckets):
    return (((ids * multiplier) % prime + prime) % prime) % num_buckets


@triton.jit
def unsigned_divided(ids, divisor):
    """Quotient and remainder of ids read as unsigned."""
    whole, by = ids.to(tl.uint64, bitcast=True), divisor.to(tl.uint64, bitcast=True)
    quotient = (whole // by).to(tl.int64, bitcast=True)
    return quotient, ids - quotient * divisor


@triton.jit
def find_ints(ids, table, m):
    """Return the places of ids in a vocabulary, -1 where they are not in it."""
    mask = tl.load(table + 1) - 1
    x = (ids ^ shift_right(ids, 30)) * MIX_1
    x = (x ^ shift_right(x, 27)) * MIX_2
    slot = (x ^ shift_right(x, 31)) & mask
    found = ids * 0 - 1
    active = m
    while tl.max(active.to(tl.int32)) > 0:
        place = tl.load(table + 5 + 2 * slot, mask=active, other=-1)
        hit = active & ((place < 0) | (tl.load(table + 4 + 2 * slot, mask=active, other=0) == ids))
        found = tl.where(hit, place, found)
        active = active & ~hit
        slot = (slot + 1) & mask
    return found


@triton.jit
def find_strings(b_hash, p, n, table, m):
    mask = tl.load(table + 1) - 1
    keys = (table + tl.load(table + 2)).to(tl.pointer_type(tl.uint8), bitcast=True)
    slot = b_hash & mask
    found = n * 0 - 1
    active = m
    while tl.max(active.to(tl.int32)) > 0:
        p_slot = table + 4 + 4 * slot
        place = tl.load(p_slot + 1, mask=active, other=-1)
        alike = active & (place >= 0) & (tl.load(p_slot, mask=active, other=0) == b_hash)
        alike = alike & (tl.load(p_slot + 3, mask=active, other=-1) == n)
        p_key = keys + tl.load(p_slot + 2, mask=alike, other=0)
        longest = tl.max(tl.where(alike, n, 0))
        at = longest * 0
        while at < longest:
            m_at = alike & (at < n)
            differs = m_at & (tl.load(p_key + at, mask=m_at, other=0) != tl.load(p + at, mask=m_at, other=0))
            alike = alike & ~differs
            at += 1
        hit = active & ((place < 0) | alike)
        found = tl.where(hit, place, found)
        active = active & ~hit
        slot = (slot + 1) & mask
    return found


@triton.jit
def load_values(address, dtype, o, m):
    """Return values as float64 and as int64; only the one that `dtype` (a place in VALUE_DTYPES) calls for counts."""
    b_ids = o * 0
    b_numbers = b_ids.to(tl.float64)
    if dtype <= 1:
        b_ids = tl.load(address.to(tl.pointer_type(tl.uint8)) + o, mask=m, other=0).to(tl.int64)
    elif dtype == 2:
        b_ids = tl.load(address.to(tl.pointer_type(tl.int8)) + o, mask=m, other=0).to(tl.int64)
    elif dtype == 3:
        b_ids = tl.load(address.to(tl.pointer_type(tl.int16)) + o, mask=m, other=0).to(tl.int64)
    elif dtype == 4:
        b_ids = tl.load(address.to(tl.pointer_type(tl.int32)) + o, mask=m, other=0).to(tl.int64)
    elif dtype == 5:
        b_ids = tl.load(address.to(tl.pointer_type(tl.int64)) + o, mask=m, other=0)
    elif dtype == 6:
        b_numbers = tl.load(address.to(tl.pointer_type(tl.float16)) + o, mask=m, other=0).to(tl.float32).to(tl.float64)
    elif dtype == 7:  # bfloat16 is the upper half of a float32
        b_bits = tl.load(address.to(tl.pointer_type(tl.int16)) + o, mask=m, other=0).to(tl.int32) << 16
        b_numbers = b_bits.to(tl.float32, bitcast=True).to(tl.float64)
    elif dtype == 8:
        b_numbers = tl.load(address.to(tl.pointer_type(tl.float32)) + o, mask=m, other=0).to(tl.float64)
    else:
        b_numbers = tl.load(address.to(tl.pointer_type(tl.float64)) + o, mask=m, other=0)
    return b_numbers, b_ids


@triton.jit
def as_numbers(b_numbers, b_ids, state):
    """Ids that meet a step of numbers become float64. Called inside of each branch: in front of all, LLVM 22 breaks its module."""
    were_ids = state == IDS
    return tl.where(were_ids, b_ids.to(tl.float64), b_numbers), tl.where(were_ids, DOUBLE, state)


@triton.jit
def number_step(code, one, two, place, b_numbers, b_ids, b_refused_by, num_not_finite, state, m_counted):
    number_1, number_2 = one.to(tl.float64, bitcast=True), two.to(tl.float64, bitcast=True)
    if code == FILL:
        b_numbers = tl.where(b_numbers == b_numbers, b_numbers, number_1)
    elif code == CAST:
        were_ids = state == IDS
        b_single = tl.where(were_ids, b_ids.to(tl.float32), b_numbers.to(tl.float32)).to(tl.float64)  # ids with one rounding
        fits = (b_numbers >= -9223372036854775808.0) & (b_numbers < 9223372036854775808.0) & (b_numbers == tl.floor(b_numbers))
        too_large = is_finite(b_numbers) & ~is_finite(b_single)
        wrong = ((one == IDS) & ~fits) | ((one == SINGLE) & too_large)
        b_refused_by = tl.where(wrong & ~were_ids & (b_refused_by < 0), place, b_refused_by)
        b_ids = tl.where(were_ids, b_ids, tl.where(fits, b_numbers, 0.0).to(tl.int64))
        b_numbers = tl.where(one == SINGLE, b_single, tl.where(were_ids, b_ids.to(tl.float64), b_numbers))
        state = one
    elif (code == LOG1P) | (code == LOG):
        b_numbers, state = as_numbers(b_numbers, b_ids, state)
        b_numbers = logarithm(b_numbers, code == LOG1P)
    elif (code == Z_SCORE) | (code == MIN_MAX):
        b_numbers, state = as_numbers(b_numbers, b_ids, state)
        b_numbers = (b_numbers - number_1) / tl.where(code == Z_SCORE, number_2, number_2 - number_1)
    elif code == CLIP:
        b_ids = tl.minimum(tl.maximum(b_ids, one), two)  # only those of the column's state count
        b_numbers = tl.where(b_numbers < number_1, number_1, b_numbers)
        b_numbers = tl.where(b_numbers > number_2, number_2, b_numbers)
    elif code == FINITE:
        b_numbers, state = as_numbers(b_numbers, b_ids, state)
        wrong = ~is_finite(b_numbers) & m_counted
        num_not_finite += tl.sum(wrong.to(tl.int64))
        b_refused_by = tl.where((one == 1) & wrong & (b_refused_by < 0), place, b_refused_by)
        b_numbers = tl.where((one == 2) & wrong, number_2, b_numbers)
    # Numbers of a float32 column are rounded to float32 after every step.
    b_numbers = tl.where(state == SINGLE, b_numbers.to(tl.float32).to(tl.float64), b_numbers)
    return b_numbers, b_ids, b_refused_by, num_not_finite, state


@triton.jit
def id_step(code, one, two, three, place, table, p_string, b_length, b_numbers, b_ids, b_refused_by, state, m_n):
    if code == BUCKETIZE:
        are_ids = state == IDS
        b_keys = tl.where(are_ids, b_ids, order_key(b_numbers))
        b_ids = count_reached(b_keys, tl.where(are_ids, b_ids.to(tl.float64), b_numbers), table, m_n)
        state = state * 0 + IDS
    elif code == NON_NEGATIVE:
        b_ids = b_ids & LARGEST
    elif (code == MOD) | (code == QUOTIENT):
        b_quotient, b_rest = unsigned_divided(b_ids, one)
        b_ids = tl.where(code == MOD, b_rest, b_quotient)
    elif code == MULTI_HASH:
        b_ids = multi_hash(b_ids, one, two, three)
    else:  # a hash, or a vocabulary, whose `two` and `three` say what becomes of a key that is not there
        b_hash = b_ids
        is_hash = (code == HASH_BYTES) | (code == HASH_INTS)
        algorithm = tl.where(is_hash, one, 0)  # a vocabulary's is farm
        if (code == HASH_BYTES) | (code == VOCABULARY_OF_BYTES):
            b_hash = hash_bytes(algorithm, p_string, b_length, m_n)
        else:
            b_hash = hash_ints(algorithm, b_ids)
        if ~is_hash:
            b_found = b_ids
            if code == VOCABULARY_OF_BYTES:
                b_found = find_strings(b_hash, p_string, b_length, table, m_n)
            elif code == VOCABULARY_OF_INTS:
                b_found = find_ints(b_ids, table, m_n)
            b_other = b_ids * 0 + three
            if two == 1:
                b_quotient, b_rest = unsigned_divided(b_hash, three)
                b_other = tl.load(table) + b_rest
            elif two == 2:
                b_refused_by = tl.where((b_found < 0) & (b_refused_by < 0), place, b_refused_by)
            b_hash = tl.where(b_found < 0, b_other, b_found)
        b_ids = b_hash
    return b_ids, b_refused_by, state


@triton.jit
def map_kernel(words, first_chain, first_step, counts, firsts, BLOCK_N: tl.constexpr):
    chain = tl.load(words + 2 * tl.program_id(0))
    o_n = tl.load(words + 2 * tl.program_id(0) + 1) + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    p_chain = words + first_chain + chain * CHAIN_WORDS
    address, dtype, offsets, source = tl.load(p_chain), tl.load(p_chain + 1), tl.load(p_chain + 2), tl.load(p_chain + 3)
    step_at, num_steps, output = tl.load(p_chain + 4), tl.load(p_chain + 5), tl.load(p_chain + 6)
    m_n = o_n < tl.load(p_chain + 7)
    # Memory may be longer than what counts: values behind are made, but neither counted nor refused.
    count_at = tl.load(p_chain + 8)
    m_counted = m_n
    if count_at != 0:
        m_counted = m_n & (o_n < tl.load(count_at.to(tl.pointer_type(tl.int64))))
    p_steps = words + first_step + step_at * STEP_WORDS

    b_begin, b_length = o_n, o_n * 0 + 1
    if source != VALUES:
        p_offsets = offsets.to(tl.pointer_type(tl.int64)) + o_n
        b_begin = tl.load(p_offsets, mask=m_n, other=0)
        b_length = tl.load(p_offsets + 1, mask=m_n, other=0) - b_begin
    p_string = address.to(tl.pointer_type(tl.uint8)) + b_begin
    state = tl.where(dtype <= 5, IDS, tl.where(dtype <= 8, SINGLE, DOUBLE)).to(tl.int64)
    m_value = m_n & (b_length == 1)
    if source == BYTES:
        m_value = m_value & (o_n < 0)
    b_numbers, b_ids = load_values(address, dtype, b_begin, m_value)
    b_refused_by = o_n * 0 - 1
    if source == ROWS:
        b_ids = tl.where(b_length == 1, b_ids, tl.load(p_steps + 2))
        b_numbers = tl.where(b_length == 1, b_numbers, tl.load(p_steps + 1).to(tl.float64, bitcast=True))
        b_refused_by = tl.where(b_length > 1, 0, b_refused_by)
    num_not_finite = step_at * 0

    for place in range(num_steps):
        p_step = p_steps + place * STEP_WORDS
        code, one, two, three = tl.load(p_step), tl.load(p_step + 1), tl.load(p_step + 2), tl.load(p_step + 3)
        table = tl.load(p_step + 4).to(tl.pointer_type(tl.int64))
        if code <= FINITE:
            b_numbers, b_ids, b_refused_by, num_not_finite, state = number_step(
                code, one, two, place, b_numbers, b_ids, b_refused_by, num_not_finite, state, m_counted
            )
        else:
            b_ids, b_refused_by, state = id_step(
                code, one, two, three, place, table, p_string, b_length, b_numbers, b_ids, b_refused_by, state, m_n
            )

    if state == IDS:
        tl.store(output.to(tl.pointer_type(tl.int64)) + o_n, b_ids, mask=m_n)
    elif state == SINGLE:
        tl.store(output.to(tl.pointer_type(tl.float32)) + o_n, b_numbers.to(tl.float32), mask=m_n)
    else:
        tl.store(output.to(tl.pointer_type(tl.float64)) + o_n, b_numbers, mask=m_n)
    refused = m_counted & (b_refused_by >= 0)
    num_refused = tl.sum(refused.to(tl.int64))
    if num_not_finite > 0:
        tl.atomic_add(counts + 4 * chain, num_not_finite, sem="relaxed")
    if num_refused > 0:
        tl.atomic_add(counts + 4 * chain + 1, num_refused, sem="relaxed")
        # Position and step in one word, so that the least tells both.
        tl.atomic_min(firsts + chain, tl.min(tl.where(refused, (o_n << 16) | b_refused_by, LARGEST)), sem="relaxed")


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
    rows = chains.tolist()
    outputs: list[Tensor] = []
    blocks: list[int] = []
    told: list[int] = []
    for number, (value, cuts, source, first, num_steps, dtype, *counted_by) in enumerate(rows):
        num_outputs = values[value].numel() if source == Source.VALUES else offsets[cuts].numel() - 1
        outputs.append(torch.empty(num_outputs, dtype=OUTPUT_DTYPES[dtype], device=device))
        for begin in range(0, num_outputs, BLOCK):
            blocks += (number, begin)
        held = values[value]
        address = 0 if source == Source.VALUES else offsets[cuts].data_ptr()
        told += (held.data_ptr(), VALUE_DTYPES.index(held.dtype), address, source, first, num_steps, outputs[-1].data_ptr(), num_outputs)
        counts_by = offsets[counted_by[0]] if counted_by and counted_by[0] >= 0 else None
        told += (0 if counts_by is None else counts_by[-1:].data_ptr(),)
    first_step = len(blocks) + len(told)
    looks_up = (BUCKETIZE.value, VOCABULARY_OF_BYTES.value, VOCABULARY_OF_INTS.value)
    for code, *parameters in steps.tolist():
        told += (code, *parameters, tables[parameters[0]].data_ptr() if code in looks_up else 0)
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
            BLOCK_N=BLOCK,
            num_warps=NUM_WARPS,
            enable_fp_fusion=False,
        )
    none = firsts == LARGEST.value
    counts[:, 2] = torch.where(none, -1, firsts >> 16)
    counts[:, 3] = torch.where(none, -1, firsts & 0xFFFF)
    return outputs, counts
