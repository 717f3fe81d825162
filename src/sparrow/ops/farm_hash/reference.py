"""`farm_hash`, plainly, on Python's integers."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

_MASK = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _word(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at : at + size], "little")


def _rotate(x: int, bits: int) -> int:
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
    b = _rotate(b + a + z, 21)
    total = (a + x + y) & _MASK
    return (total + z) & _MASK, (b + _rotate(total, 44) + a) & _MASK


def _up_to_16(s: bytes) -> int:
    n = len(s)
    multiplier = _K2 + n * 2
    if n >= 8:
        a, b = _word(s, 0) + _K2, _word(s, n - 8)
        return _combine((_rotate(b, 37) * multiplier + a) & _MASK, (_rotate(a, 25) + b) * multiplier & _MASK, multiplier)
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
    y = (_rotate(a + b, 43) + _rotate(c, 30) + d) & _MASK
    z = _combine(y, (a + _rotate(b + _K2, 18) + c) & _MASK, multiplier)
    if n <= 32:
        return z
    e, f = _word(s, 16) * multiplier, _word(s, 24)
    g, h = (y + _word(s, n - 32)) * multiplier, (z + _word(s, n - 24)) * multiplier
    return _combine((_rotate(e + f, 43) + _rotate(g, 30) + h) & _MASK, (e + _rotate(f + a, 18) + g) & _MASK, multiplier)


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
        x = _rotate(x + y + v[0] + _word(s, at + 8), 37) * multiplier & _MASK
        y = _rotate(y + v[1] + _word(s, at + 48), 42) * multiplier
        x ^= w[1] * scale & _MASK
        y = (y + v[0] * scale + _word(s, at + 40)) & _MASK
        z = _rotate(z + w[0], 33) * multiplier & _MASK
        v = _weak(s, at, v[1] * multiplier, x + w[0])
        w = _weak(s, at + 32, z + w[1], y + _word(s, at + 16))
        z, x = x, z
    low = _combine(v[0], w[0], multiplier) + _shift_mix(y) * _K0 + z
    return _combine(low & _MASK, (_combine(v[1], w[1], multiplier) + x) & _MASK, multiplier)


def fingerprint(s: bytes) -> int:
    """Return Fingerprint64 of `s`, read as signed."""
    unsigned = _up_to_16(s) if len(s) <= 16 else _17_to_64(s) if len(s) <= 64 else _over_64(s)
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def farm_hash(values: Tensor, offsets: Tensor) -> Tensor:
    data, ends = bytes(values.tolist()), offsets.tolist()
    return torch.tensor([fingerprint(data[begin:end]) for begin, end in itertools.pairwise(ends)], dtype=torch.int64)


def farm_hash_ints(ids: Tensor) -> Tensor:
    return torch.tensor([fingerprint(id.to_bytes(8, "little", signed=True)) for id in ids.tolist()], dtype=torch.int64)
