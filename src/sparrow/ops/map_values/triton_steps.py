# mypy: ignore-errors
# Triton kernels are compiled, not called: their bodies follow Triton's types.
"""Steps of `map_values` on a block of values, as its kernel runs them. `code`, parameters and `state` are the same for all of a program:
each `if` is a branch of the program, and those whose step occurs nowhere in a call are not compiled."""

import triton
import triton.language as tl

from sparrow.ops.map_values.triton_words import (
    BUCKETIZE,
    BUCKETS_OF_IDS,
    BUCKETS_OF_NUMBERS,
    CAST,
    CLIP,
    DOUBLE,
    FILL,
    FINITE,
    HASH_BYTES,
    HASH_INTS,
    IDS,
    IDS_BECOME_NUMBERS,
    INFINITY,
    LARGEST,
    LOG,
    LOG1P,
    LOG2_HIGH,
    LOG2_LOW,
    LOOKING_UP,
    MIN_MAX,
    MIX_1,
    MIX_2,
    MOD,
    MULTI_HASH,
    NAN_BITS,
    NON_NEGATIVE,
    ONE,
    PENDING,
    QUOTIENT,
    REFUSES,
    SERIES_0,
    SERIES_1,
    SERIES_2,
    SERIES_3,
    SERIES_4,
    SERIES_5,
    SERIES_6,
    SINGLE,
    SINGLES,
    SQRT_HALF,
    VOCABULARY_OF_BYTES,
    VOCABULARY_OF_INTS,
    Z_SCORE,
)
from sparrow.ops.triton_hashes import hash_bytes, hash_ints, shift_right


@triton.jit
def log_of(x, rest, extra, HAS_REST: tl.constexpr):
    """`csrc/core/log.h`, to the bit. Without a rest, what it adds would be 0."""
    bits = x.to(tl.int64, bitcast=True)
    biased = shift_right(bits - SQRT_HALF + ONE, 52)
    k = (biased - 1023).to(tl.float64) - extra
    f = (bits - (biased << 52) + ONE).to(tl.float64, bitcast=True) - 1.0
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    series = z * SERIES_6 + SERIES_5
    series = series * z + SERIES_4
    series = series * z + SERIES_3
    series = series * z + SERIES_2
    series = series * z + SERIES_1
    series = series * z + SERIES_0
    series = series * z
    beside = k * LOG2_LOW
    if HAS_REST:
        reversed_k = tl.where(biased < 2046, 2046 - biased, 0) << 52
        beside = beside + rest * reversed_k.to(tl.float64, bitcast=True) * (1.0 - 2.0 * s)
    whole = k * LOG2_HIGH
    high = whole + f
    lost = (whole - high) + f
    return high + (lost + ((s * (half_square + series) + beside) - half_square))


@triton.jit
def logarithm(x):
    is_small = x < 2.2250738585072014e-308  # 2^-1022
    value = log_of(tl.where(is_small, x * 18014398509481984.0, x), x, tl.where(is_small, 54.0, 0.0).to(tl.float64), False)
    nan = tl.full([], NAN_BITS, tl.int64).to(tl.float64, bitcast=True)
    value = tl.where(x < INFINITY, value, x)
    return tl.where(x == 0.0, -INFINITY, tl.where(x < 0.0, nan, value))


@triton.jit
def logarithm_of_more(x):
    """log(1 + max(x, 0))"""
    least = tl.where(x < 0.0, 0.0, x)
    total = 1.0 + least
    part = total - 1.0
    rest = (1.0 - (total - part)) + (least - part)
    return tl.where(total < INFINITY, log_of(total, rest, 0.0, True), least)


@triton.jit
def is_finite(x):
    return tl.abs(x) < INFINITY


@triton.jit
def order_key(x):
    bits = (x + 0.0).to(tl.int64, bitcast=True)
    return tl.where(x == x, bits ^ ((bits >> 63) & LARGEST), LARGEST)


@triton.jit
def count_reached(keys, numbers, table, m):
    """`csrc/core/bucketize.h`: a cell, then a search of fixed length in it. numbers: what `keys` are of."""
    count, num_cells, most = tl.load(table).to(tl.int32), tl.load(table + 1), tl.load(table + 2).to(tl.int32)
    first, second = tl.load(table + 4), tl.load(table + 5)
    if tl.load(table + 3) == 0:
        place = (numbers - first.to(tl.float64, bitcast=True)) * second.to(tl.float64, bitcast=True)
        last = (num_cells - 1).to(tl.float64)
        place = tl.where(place < last, place, last)
        cells = tl.where(place > 0.0, place, 0.0).to(tl.int32)
    else:
        number_keys = order_key(numbers)
        distance = (number_keys - first).to(tl.uint64, bitcast=True) >> second.to(tl.uint64, bitcast=True)
        beyond = distance >= num_cells.to(tl.uint64, bitcast=True)
        cells = tl.where(beyond, num_cells.to(tl.int32) - 1, distance.to(tl.int32))
        cells = tl.where(number_keys <= first, 0, cells)
    base = tl.load(table + 6 + cells, mask=m, other=0).to(tl.int32)
    boundaries = table + 6 + num_cells
    left = most
    while left > 0:
        half = (left + 1) // 2
        reached = tl.load(boundaries + (half - 1) + base, mask=m, other=LARGEST) <= keys
        base = tl.where(reached, base + half, base)
        left -= half
    return tl.minimum(base, count).to(tl.int64)


@triton.jit
def unsigned_divided(ids, divisor, p_reciprocal):
    """Quotient and remainder of ids read as unsigned, by the words of `reciprocal_of`: exact for all of 64 bits."""
    multiplier, shift = tl.load(p_reciprocal).to(tl.uint64, bitcast=True), tl.load(p_reciprocal + 1)
    first, second = tl.minimum(shift, 1).to(tl.uint64), tl.maximum(shift - 1, 0).to(tl.uint64)
    whole = ids.to(tl.uint64, bitcast=True)
    upper = tl.umulhi(whole, multiplier)
    quotient = ((upper + ((whole - upper) >> first)) >> second).to(tl.int64, bitcast=True)
    return quotient, ids - quotient * divisor


@triton.jit
def multi_hash(ids, multiplier, prime, num_buckets, p_reciprocals):
    product = ids * multiplier
    size = tl.where(product < 0, -product, product)  # as unsigned
    _, rest = unsigned_divided(size, prime, p_reciprocals)
    rest = tl.where((product < 0) & (rest != 0), prime - rest, rest)
    _, rest = unsigned_divided(rest, num_buckets, p_reciprocals + 2)
    return rest


@triton.jit
def find_ints(ids, table, m):
    """Return the places of ids in a vocabulary, -1 where they are not in it."""
    mask = tl.load(table + 1).to(tl.int32) - 1
    x = (ids ^ shift_right(ids, 30)) * MIX_1
    x = (x ^ shift_right(x, 27)) * MIX_2
    slot = (x ^ shift_right(x, 31)).to(tl.int32) & mask
    found = tl.where(m, PENDING, -1)
    is_pending = 1
    while is_pending > 0:
        p_slot = table + 4 + 2 * slot.to(tl.int64)
        key = tl.load(p_slot, mask=found == PENDING, other=0)
        place = tl.load(p_slot + 1, mask=found == PENDING, other=0).to(tl.int32)
        found = tl.where((found == PENDING) & ((place < 0) | (key == ids)), place, found)
        slot = (slot + 1) & mask
        is_pending = tl.max((found == PENDING).to(tl.int32))
    return found.to(tl.int64)


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
def refused_now(b_refused_by, m_wrong, place):
    return tl.where(m_wrong & (b_refused_by < 0), place, b_refused_by)


@triton.jit
def cast(b_numbers, b_ids, b_refused_by, place, to, state):
    fits = (b_numbers >= -9223372036854775808.0) & (b_numbers < 9223372036854775808.0) & (b_numbers == tl.floor(b_numbers))
    b_single = b_numbers.to(tl.float32).to(tl.float64)
    too_large = is_finite(b_numbers) & ~is_finite(b_single)
    were_ids = state == IDS
    b_refused_by = refused_now(b_refused_by, (((to == IDS) & ~fits) | ((to == SINGLE) & too_large)) & ~were_ids, place)
    b_single = tl.where(were_ids, b_ids.to(tl.float32).to(tl.float64), b_single)  # ids with one rounding
    b_ids = tl.where(were_ids, b_ids, tl.where(fits, b_numbers, 0.0).to(tl.int64))
    b_numbers = tl.where(to == SINGLE, b_single, tl.where(were_ids, b_ids.to(tl.float64), b_numbers))
    return b_numbers, b_ids, b_refused_by


@triton.jit
def number_step(code, p_step, place, b_numbers, b_ids, b_refused_by, b_not_finite, state, m, CODES: tl.constexpr, FACTS: tl.constexpr):
    one, two = tl.load(p_step + 1), tl.load(p_step + 2)
    number_1, number_2 = one.to(tl.float64, bitcast=True), two.to(tl.float64, bitcast=True)
    if IDS_BECOME_NUMBERS & FACTS and (state == IDS) & (code != FILL) & (code != CAST) & (code != CLIP):
        b_numbers = b_ids.to(tl.float64)
        state = state * 0 + DOUBLE
    if 2**FILL & CODES and code == FILL:
        b_numbers = tl.where(b_numbers == b_numbers, b_numbers, number_1)
    if 2**CAST & CODES and code == CAST:
        b_numbers, b_ids, b_refused_by = cast(b_numbers, b_ids, b_refused_by, place, one, state)
        state = one
    if 2**LOG1P & CODES and code == LOG1P:
        b_numbers = logarithm_of_more(b_numbers)
    if 2**LOG & CODES and code == LOG:
        b_numbers = logarithm(b_numbers)
    if (2**Z_SCORE | 2**MIN_MAX) & CODES and (code == Z_SCORE) | (code == MIN_MAX):
        b_numbers = (b_numbers - number_1) / tl.where(code == Z_SCORE, number_2, number_2 - number_1)
    if 2**CLIP & CODES and code == CLIP:  # only those of the column's state count
        b_ids = tl.minimum(tl.maximum(b_ids, one), two)
        b_numbers = tl.where(b_numbers < number_1, number_1, b_numbers)
        b_numbers = tl.where(b_numbers > number_2, number_2, b_numbers)
    if 2**FINITE & CODES and code == FINITE:
        m_wrong = ~is_finite(b_numbers) & m
        b_not_finite += m_wrong.to(tl.int32)
        if REFUSES & FACTS:
            b_refused_by = refused_now(b_refused_by, (one == 1) & m_wrong, place)
        b_numbers = tl.where((one == 2) & m_wrong, number_2, b_numbers)
    # Numbers of a float32 column are rounded to float32 after every step.
    if SINGLES & FACTS and state == SINGLE:
        b_numbers = b_numbers.to(tl.float32).to(tl.float64)
    return b_numbers, b_ids, b_refused_by, b_not_finite, state


@triton.jit
def hash_or_find(code, one, two, three, place, table, p_reciprocal, p_string, b_length, b_ids, b_refused_by, m, CODES: tl.constexpr):
    """A hash, or a vocabulary, whose `two` and `three` say what becomes of a key that is not there."""
    b_found = b_ids
    b_hash = b_ids
    is_hash = (code == HASH_BYTES) | (code == HASH_INTS)
    algorithm = tl.where(is_hash, one, 0)  # a vocabulary's is farm
    if (2**HASH_BYTES | 2**VOCABULARY_OF_BYTES) & CODES and (code == HASH_BYTES) | (code == VOCABULARY_OF_BYTES):
        b_hash = hash_bytes(algorithm, p_string, b_length, m)
    if (2**HASH_INTS | 2**VOCABULARY_OF_INTS) & CODES and (code == HASH_INTS) | ((code == VOCABULARY_OF_INTS) & (two == 1)):
        b_hash = hash_ints(algorithm, b_ids)
    if (2**VOCABULARY_OF_BYTES | 2**VOCABULARY_OF_INTS) & CODES and ~is_hash:
        if 2**VOCABULARY_OF_BYTES & CODES and code == VOCABULARY_OF_BYTES:
            b_found = find_strings(b_hash, p_string, b_length, table, m)
        if 2**VOCABULARY_OF_INTS & CODES and code == VOCABULARY_OF_INTS:
            b_found = find_ints(b_ids, table, m)
        b_other = b_ids * 0 + three
        if two == 1:
            _, b_rest = unsigned_divided(b_hash, three, p_reciprocal)
            b_other = tl.load(table) + b_rest
        elif two == 2:
            b_refused_by = refused_now(b_refused_by, b_found < 0, place)
        b_hash = tl.where(b_found < 0, b_other, b_found)
    return b_hash, b_refused_by


@triton.jit
def id_step(code, p_step, place, p_string, b_length, b_numbers, b_ids, b_refused_by, state, m, CODES: tl.constexpr, FACTS: tl.constexpr):
    one, two, three = tl.load(p_step + 1), tl.load(p_step + 2), tl.load(p_step + 3)
    table = tl.load(p_step + 4).to(tl.pointer_type(tl.int64))
    if 2**BUCKETIZE & CODES and code == BUCKETIZE:
        b_keys = b_ids
        if BUCKETS_OF_NUMBERS & FACTS:
            if BUCKETS_OF_IDS & FACTS:
                b_keys = tl.where(state == IDS, b_ids, order_key(b_numbers))
                b_numbers = tl.where(state == IDS, b_ids.to(tl.float64), b_numbers)
            else:
                b_keys = order_key(b_numbers)
        else:
            b_numbers = b_ids.to(tl.float64)
        b_ids = count_reached(b_keys, b_numbers, table, m)
    if 2**NON_NEGATIVE & CODES and code == NON_NEGATIVE:
        b_ids = b_ids & LARGEST
    if (2**MOD | 2**QUOTIENT) & CODES and (code == MOD) | (code == QUOTIENT):
        b_quotient, b_rest = unsigned_divided(b_ids, one, p_step + 5)
        b_ids = tl.where(code == MOD, b_rest, b_quotient)
    if 2**MULTI_HASH & CODES and code == MULTI_HASH:
        b_ids = multi_hash(b_ids, one, two, three, p_step + 5)
    if LOOKING_UP & CODES and (LOOKING_UP >> code.to(tl.int32)) & 1 != 0:
        b_ids, b_refused_by = hash_or_find(
            code, one, two, three, place, table, p_step + 5, p_string, b_length, b_ids, b_refused_by, m, CODES
        )
    return b_ids, b_refused_by, state * 0 + IDS
