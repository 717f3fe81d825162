"""Hashes of strings in Triton, a string a lane, equal to `hashes.py`. `p`: addresses of strings; `n`: their bytes; `m`: who takes part.

Strings lie anywhere, and loads must be aligned. 64-bit constants are in signed form: the interpreter refuses unsigned literals.
"""

import triton
import triton.language as tl

from sparrow.ops.hashes import signed


def _constant(word: int) -> tl.constexpr:
    return tl.constexpr(signed(word % 2**64))


_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
FARM_0, FARM_1, FARM_2, FARM_2_16 = _constant(_K0), _constant(_K1), _constant(_K2), _constant(_K2 + 16)
FARM_X, FARM_Y = _constant(81 * _K2), _constant(81 * _K1 + 113)
_M = 0xC6A4A7935BD1E995
MURMUR, MURMUR_8 = _constant(_M), _constant(8 * _M)
_P1, _P2, _P3, _P4, _P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
XX_1, XX_2, XX_3, XX_4, XX_5, XX_5_8 = (_constant(word) for word in (_P1, _P2, _P3, _P4, _P5, _P5 + 8))
XX_LANE_1, XX_LANE_4 = _constant(_P1 + _P2), _constant(-_P1)


@triton.jit
def shift_right(x, BITS: tl.constexpr):
    return (x >> BITS) & ((1 << (64 - BITS)) - 1)


@triton.jit
def rotate_right(x, BITS: tl.constexpr):
    return shift_right(x, BITS) | (x << (64 - BITS))


@triton.jit
def rotate_left(x, BITS: tl.constexpr):
    return (x << BITS) | shift_right(x, 64 - BITS)


@triton.jit
def load_word(p, m, BYTES: tl.constexpr):
    """BYTES bytes from any address on, by the one or two aligned words that hold them: no word without a byte of the string is read."""
    first = p.to(tl.int64)
    shift = (first & 7) * 8
    low = tl.load((first & -8).to(tl.pointer_type(tl.int64)), mask=m, other=0)
    high = tl.load(((first + (BYTES - 1)) & -8).to(tl.pointer_type(tl.int64)), mask=m, other=0)
    # Logically shifted by up to 63; where both are one word, what comes from `high` lies above the bytes asked for.
    word = ((low >> shift) & ((tl.full(shift.shape, -1, tl.int64) ^ (-1 << 63)) >> shift << 1 | 1)) | ((high << 1) << (63 - shift))
    if BYTES < 8:
        word = word & ((1 << (8 * BYTES)) - 1)
    return word


@triton.jit
def farm_mix(x):
    return x ^ shift_right(x, 47)


@triton.jit
def farm_combine(low, high, multiplier):
    a = farm_mix((low ^ high) * multiplier)
    return farm_mix((high ^ a) * multiplier) * multiplier


@triton.jit
def farm_up_to_16(p, n, m):
    m_8, m_4, m_1 = m & (n >= 8), m & (n >= 4) & (n < 8), m & (n > 0) & (n < 4)
    multiplier = n * 2 + FARM_2
    first, last = load_word(p, m_8, 8), load_word(p + n - 8, m_8, 8)
    a = first + FARM_2
    low = tl.where(n < 8, n + (load_word(p, m_4, 4) << 3), rotate_right(last, 37) * multiplier + a)
    high = tl.where(n < 8, load_word(p + n - 4, m_4, 4), (rotate_right(a, 25) + last) * multiplier)
    y = load_word(p, m_1, 1) + (load_word(p + (n >> 1), m_1, 1) << 8)
    z = n + (load_word(p + n - 1, m_1, 1) << 2)
    few = farm_mix((y * FARM_2) ^ (z * FARM_0)) * FARM_2
    return tl.where(n == 0, FARM_2, tl.where(n < 4, few, farm_combine(low, high, multiplier)))


@triton.jit
def farm_17_to_64(p, n, m):
    m_32 = m & (n > 32)
    multiplier = n * 2 + FARM_2
    a = load_word(p, m, 8) * tl.where(n <= 32, FARM_1, FARM_2)
    b = load_word(p + 8, m, 8)
    c, d = load_word(p + n - 8, m, 8) * multiplier, load_word(p + n - 16, m, 8) * FARM_2
    y = rotate_right(a + b, 43) + rotate_right(c, 30) + d
    z = farm_combine(y, a + rotate_right(b + FARM_2, 18) + c, multiplier)
    e, f = load_word(p + 16, m_32, 8) * multiplier, load_word(p + 24, m_32, 8)
    g = (y + load_word(p + n - 32, m_32, 8)) * multiplier
    h = (z + load_word(p + n - 24, m_32, 8)) * multiplier
    more = farm_combine(rotate_right(e + f, 43) + rotate_right(g, 30) + h, e + rotate_right(f + a, 18) + g, multiplier)
    return tl.where(n <= 32, z, more)


@triton.jit
def farm_weak(p, m, a, b):
    w, x, y, z = load_word(p, m, 8), load_word(p + 8, m, 8), load_word(p + 16, m, 8), load_word(p + 24, m, 8)
    a += w
    b = rotate_right(b + a + z, 21)
    total = a + x + y
    return total + z, b + rotate_right(total, 44) + a


@triton.jit
def farm_absorb(p, m, x, y, z, v0, v1, w0, w1, multiplier, SCALE: tl.constexpr):
    """Take 64 bytes; lanes outside of `m` get what they must not keep."""
    x = rotate_right(x + y + v0 + load_word(p + 8, m, 8), 37) * multiplier
    y = rotate_right(y + v1 + load_word(p + 48, m, 8), 42) * multiplier
    x ^= w1 * SCALE
    y += v0 * SCALE + load_word(p + 40, m, 8)
    z = rotate_right(z + w0, 33) * multiplier
    v0, v1 = farm_weak(p, m, v1 * multiplier, x + w0)
    w0, w1 = farm_weak(p + 32, m, z + w1, y + load_word(p + 16, m, 8))
    return z, y, x, v0, v1, w0, w1


@triton.jit
def farm_over_64(p, n, m):
    zero = n * 0
    y = zero + FARM_Y
    x = FARM_X + load_word(p, m, 8)
    z = farm_mix(y * FARM_2 + 113) * FARM_2
    v0, v1, w0, w1 = zero, zero, zero, zero
    end = tl.where(m, (n - 1) // 64 * 64, 0)
    longest = tl.max(end)
    at = longest * 0
    while at < longest:
        m_at = at < end
        multiplier = zero + FARM_1
        x1, y1, z1, v2, v3, w2, w3 = farm_absorb(p + at, m_at, x, y, z, v0, v1, w0, w1, multiplier, 1)
        x, y, z = tl.where(m_at, x1, x), tl.where(m_at, y1, y), tl.where(m_at, z1, z)
        v0, v1, w0, w1 = tl.where(m_at, v2, v0), tl.where(m_at, v3, v1), tl.where(m_at, w2, w0), tl.where(m_at, w3, w1)
        at += 64
    multiplier = FARM_1 + ((z & 0xFF) << 1)
    w0 += (n - 1) & 63
    v0 += w0
    w0 += v0
    x, y, z, v0, v1, w0, w1 = farm_absorb(p + n - 64, m, x, y, z, v0, v1, w0, w1, multiplier, 9)
    low = farm_combine(v0, w0, multiplier) + farm_mix(y) * FARM_0 + z
    return farm_combine(low, farm_combine(v1, w1, multiplier) + x, multiplier)


@triton.jit
def farm(p, n, m):
    longest = tl.max(tl.where(m, n, 0))
    b_hash = farm_up_to_16(p, n, m & (n <= 16))
    if longest > 16:
        b_hash = tl.where(n > 16, farm_17_to_64(p, n, m & (n > 16) & (n <= 64)), b_hash)
    if longest > 64:
        b_hash = tl.where(n > 64, farm_over_64(p, n, m & (n > 64)), b_hash)
    return b_hash


@triton.jit
def farm_of_word(word):
    a = word + FARM_2
    return farm_combine(rotate_right(word, 37) * FARM_2_16 + a, (rotate_right(a, 25) + word) * FARM_2_16, FARM_2_16)


@triton.jit
def murmur_absorb(state, word):
    word = word * MURMUR
    word = (word ^ shift_right(word, 47)) * MURMUR
    return (state ^ word) * MURMUR


@triton.jit
def murmur_finish(state):
    state = (state ^ shift_right(state, 47)) * MURMUR
    return state ^ shift_right(state, 47)


@triton.jit
def murmur(p, n, m):
    state = n * MURMUR
    longest = tl.max(tl.where(m, n, 0))
    at = longest * 0
    while at + 8 <= longest:
        m_at = m & (at + 8 <= n)
        state = tl.where(m_at, murmur_absorb(state, load_word(p + at, m_at, 8)), state)
        at += 8
    rest, tail = n & 7, n * 0
    for k in tl.static_range(7):
        tail |= tl.load(p + (n - rest) + k, mask=m & (k < rest), other=0).to(tl.int64) << (8 * k)
    return murmur_finish(tl.where(rest > 0, (state ^ tail) * MURMUR, state))


@triton.jit
def murmur_of_word(word):
    return murmur_finish(murmur_absorb(word * 0 + MURMUR_8, word))


@triton.jit
def xx_absorb(lane, word):
    return rotate_left(lane + word * XX_2, 31) * XX_1


@triton.jit
def xx_merge(state, lane):
    return (state ^ xx_absorb(lane * 0, lane)) * XX_1 + XX_4


@triton.jit
def xx_absorb_word(state, word):
    return rotate_left(state ^ xx_absorb(word * 0, word), 27) * XX_1 + XX_4


@triton.jit
def xx_finish(state):
    state = (state ^ shift_right(state, 33)) * XX_2
    state = (state ^ shift_right(state, 29)) * XX_3
    return state ^ shift_right(state, 32)


@triton.jit
def xx(p, n, m):
    zero = n * 0
    state = zero + XX_5
    stripes = tl.where(m & (n >= 32), n // 32 * 32, 0)
    longest = tl.max(stripes)
    if longest > 0:
        a, b, c, d = zero + XX_LANE_1, zero + XX_2, zero, zero + XX_LANE_4
        at = longest * 0
        while at < longest:
            m_at = at < stripes
            a = tl.where(m_at, xx_absorb(a, load_word(p + at, m_at, 8)), a)
            b = tl.where(m_at, xx_absorb(b, load_word(p + at + 8, m_at, 8)), b)
            c = tl.where(m_at, xx_absorb(c, load_word(p + at + 16, m_at, 8)), c)
            d = tl.where(m_at, xx_absorb(d, load_word(p + at + 24, m_at, 8)), d)
            at += 32
        total = rotate_left(a, 1) + rotate_left(b, 7) + rotate_left(c, 12) + rotate_left(d, 18)
        total = xx_merge(xx_merge(xx_merge(xx_merge(total, a), b), c), d)
        state = tl.where(stripes > 0, total, state)
    state += n
    at = stripes
    for _ in tl.static_range(3):
        m_at = m & (at + 8 <= n)
        state = tl.where(m_at, xx_absorb_word(state, load_word(p + at, m_at, 8)), state)
        at = tl.where(m_at, at + 8, at)
    m_at = m & (at + 4 <= n)
    state = tl.where(m_at, rotate_left(state ^ (load_word(p + at, m_at, 4) * XX_1), 23) * XX_2 + XX_3, state)
    at = tl.where(m_at, at + 4, at)
    for _ in tl.static_range(3):
        m_at = m & (at < n)
        state = tl.where(m_at, rotate_left(state ^ (load_word(p + at, m_at, 1) * XX_5), 11) * XX_1, state)
        at = tl.where(m_at, at + 1, at)
    return xx_finish(state)


@triton.jit
def xx_of_word(word):
    return xx_finish(xx_absorb_word(word * 0 + XX_5_8, word))


@triton.jit
def hash_bytes(algorithm, p, n, m):
    """0: farm, 1: murmur, else xxh64, as `HASHES` of map_values has them."""
    b_hash = n * 0
    if algorithm == 0:
        b_hash = farm(p, n, m)
    elif algorithm == 1:
        b_hash = murmur(p, n, m)
    else:
        b_hash = xx(p, n, m)
    return b_hash


@triton.jit
def hash_ints(algorithm, ids):
    b_hash = ids * 0
    if algorithm == 0:
        b_hash = farm_of_word(ids)
    elif algorithm == 1:
        b_hash = murmur_of_word(ids)
    else:
        b_hash = xx_of_word(ids)
    return b_hash
