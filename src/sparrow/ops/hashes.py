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
