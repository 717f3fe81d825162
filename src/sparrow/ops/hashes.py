"""Hashes of bytes, plainly, on Python's integers: the specification of what operators and transforms call by these names."""

from __future__ import annotations

_MASK = 2**64 - 1
_MURMUR = 0xC6A4A7935BD1E995


def signed(word: int) -> int:
    """Return an unsigned 64-bit word read as signed."""
    return word - 2**64 if word >= 2**63 else word


def murmur64a(s: bytes) -> int:
    """Return MurmurHash64A of `s` with seed 0, read as signed. Source: Appleby, MurmurHash2 (2008), little endian."""
    state = len(s) * _MURMUR & _MASK
    whole = len(s) // 8 * 8
    for at in range(0, whole, 8):
        word = int.from_bytes(s[at : at + 8], "little") * _MURMUR & _MASK
        word = (word ^ (word >> 47)) * _MURMUR & _MASK
        state = (state ^ word) * _MURMUR & _MASK
    if whole < len(s):
        state = (state ^ int.from_bytes(s[whole:], "little")) * _MURMUR & _MASK
    state = (state ^ (state >> 47)) * _MURMUR & _MASK
    return signed(state ^ (state >> 47))


_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _word(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at : at + size], "little")


def _rotate_right(x: int, bits: int) -> int:
    x &= _MASK
    return (x >> bits) | (x << (64 - bits)) & _MASK


def _shift_mix(x: int) -> int:
    x &= _MASK
    return x ^ (x >> 47)


def _combine(low: int, high: int, multiplier: int) -> int:
    a = _shift_mix(((low ^ high) & _MASK) * multiplier)
    return _shift_mix(((high ^ a) & _MASK) * multiplier) * multiplier & _MASK


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(s, at + 8 * k) for k in range(4))
    a = (a + w) & _MASK
    b = _rotate_right(b + a + z, 21)
    total = (a + x + y) & _MASK
    return (total + z) & _MASK, (b + _rotate_right(total, 44) + a) & _MASK


def _up_to_16(s: bytes) -> int:
    n = len(s)
    multiplier = _K2 + n * 2
    if n >= 8:
        a, b = _word(s, 0) + _K2, _word(s, n - 8)
        return _combine((_rotate_right(b, 37) * multiplier + a) & _MASK, (_rotate_right(a, 25) + b) * multiplier & _MASK, multiplier)
    if n >= 4:
        return _combine(n + (_word(s, 0, 4) << 3), _word(s, n - 4, 4), multiplier)
    if n == 0:
        return _K2
    y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
    return _shift_mix((y * _K2 & _MASK) ^ (z * _K0 & _MASK)) * _K2 & _MASK


def _17_to_64(s: bytes) -> int:
    n = len(s)
    multiplier = _K2 + n * 2
    a, b = _word(s, 0) * (_K1 if n <= 32 else _K2), _word(s, 8)
    c, d = _word(s, n - 8) * multiplier, _word(s, n - 16) * _K2
    y = (_rotate_right(a + b, 43) + _rotate_right(c, 30) + d) & _MASK
    z = _combine(y, (a + _rotate_right(b + _K2, 18) + c) & _MASK, multiplier)
    if n <= 32:
        return z
    e, f = _word(s, 16) * multiplier, _word(s, 24)
    g, h = (y + _word(s, n - 32)) * multiplier, (z + _word(s, n - 24)) * multiplier
    return _combine((_rotate_right(e + f, 43) + _rotate_right(g, 30) + h) & _MASK, (e + _rotate_right(f + a, 18) + g) & _MASK, multiplier)


def _over_64(s: bytes) -> int:
    n = len(s)
    y = (81 * _K1 + 113) & _MASK
    x, z = 81 * _K2 + _word(s, 0), _shift_mix(y * _K2 + 113) * _K2 & _MASK
    v, w = (0, 0), (0, 0)
    end = (n - 1) // 64 * 64
    for at, multiplier, scale in [*((at, _K1, 1) for at in range(0, end, 64)), (n - 64, 0, 9)]:
        if scale == 9:
            multiplier = _K1 + ((z & 0xFF) << 1)
            w = (w[0] + ((n - 1) & 63), w[1])
            v = (v[0] + w[0], v[1])
            w = (w[0] + v[0], w[1])
        x = _rotate_right(x + y + v[0] + _word(s, at + 8), 37) * multiplier & _MASK
        y = _rotate_right(y + v[1] + _word(s, at + 48), 42) * multiplier
        x ^= w[1] * scale & _MASK
        y = (y + v[0] * scale + _word(s, at + 40)) & _MASK
        z = _rotate_right(z + w[0], 33) * multiplier & _MASK
        v = _weak(s, at, v[1] * multiplier, x + w[0])
        w = _weak(s, at + 32, z + w[1], y + _word(s, at + 16))
        z, x = x, z
    low = _combine(v[0], w[0], multiplier) + _shift_mix(y) * _K0 + z
    return _combine(low & _MASK, (_combine(v[1], w[1], multiplier) + x) & _MASK, multiplier)


def fingerprint(s: bytes) -> int:
    """Return FarmHash Fingerprint64 of `s`, read as signed. Source: FarmHash (Pike and Alakuijala, 2014)."""
    return signed(_up_to_16(s) if len(s) <= 16 else _17_to_64(s) if len(s) <= 64 else _over_64(s))


_XX = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _rotate_left(x: int, bits: int) -> int:
    return _rotate_right(x, 64 - bits)


def _xx_absorb(lane: int, word: int) -> int:
    return _rotate_left(lane + word * _XX[1], 31) * _XX[0] & _MASK


def xxh64(s: bytes) -> int:
    """Return XXH64 of `s` with seed 0, read as signed. Source: Collet, xxHash (2012)."""
    state, at = _XX[4], 0
    if len(s) >= 32:
        lanes = [(_XX[0] + _XX[1]) & _MASK, _XX[1], 0, -_XX[0] & _MASK]
        for at in range(0, len(s) // 32 * 32, 32):
            lanes = [_xx_absorb(lane, _word(s, at + 8 * k)) for k, lane in enumerate(lanes)]
        at += 32
        state = sum(_rotate_left(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            state = ((state ^ _xx_absorb(0, lane)) * _XX[0] + _XX[3]) & _MASK
    state = (state + len(s)) & _MASK
    while at + 8 <= len(s):
        state, at = (_rotate_left(state ^ _xx_absorb(0, _word(s, at)), 27) * _XX[0] + _XX[3]) & _MASK, at + 8
    if at + 4 <= len(s):
        state, at = (_rotate_left(state ^ _word(s, at, 4) * _XX[0] & _MASK, 23) * _XX[1] + _XX[2]) & _MASK, at + 4
    for byte in s[at:]:
        state = _rotate_left(state ^ byte * _XX[4] & _MASK, 11) * _XX[0] & _MASK
    state = (state ^ (state >> 33)) * _XX[1] & _MASK
    state = (state ^ (state >> 29)) * _XX[2] & _MASK
    return signed(state ^ (state >> 32))
