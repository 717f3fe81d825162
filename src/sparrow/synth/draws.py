"""Random words, and the numbers made of them. Integer arithmetic wherever it decides a value, so machines agree bit for bit.

Where a value passes `exp` or `pow`, a floor or a comparison follows at once: machines whose libraries differ in the last
place then agree as well, but for about one value in 10**9 that sits on the very edge.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# A uniform over 0 .. 65535 has mean 65535 / 2 and variance (65536**2 - 1) / 12; four of them have four times each.
_BELL_UNIT = math.sqrt(3.0 / (65536.0**2 - 1.0))
_FLAT_UNIT = math.sqrt(12.0 / (65536.0**2 - 1.0))
_LOW_HALVES = np.uint64(0x0000FFFF0000FFFF)


def salt(seed: int, *purpose: str) -> np.uint64:
    """Return the 64-bit number that stands for (seed, purpose), the same in every process: BLAKE2b."""
    digest = hashlib.blake2b("\0".join([str(seed), *purpose]).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mix(words: Words, key: np.uint64) -> Words:
    """Return a bijection of 64-bit words that depends on `key`: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    z = words * _GOLDEN
    z += key
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def words_of_block(seed: int, stream: str, block: int, num_words: int, num_rows: int) -> Words:
    """Return the random words [num_words, num_rows] of one block: Philox 4x64 keyed by (seed, stream), counted from the block."""
    key = np.array([salt(seed, "rows", stream), seed], dtype=np.uint64)
    counter = np.array([0, 0, block, 0], dtype=np.uint64)
    words: Any = np.random.Philox(key=key, counter=counter).random_raw(num_words * num_rows)
    return np.asarray(words, dtype=np.uint64).reshape(num_words, num_rows)


def uniform(words: Words) -> Floats:
    """Return float64 in [0, 1), from the upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def quarters(words: Words) -> npt.NDArray[np.uint16]:
    """Return the four 16-bit numbers of each word, [n, 4], lowest first."""
    little: Any = np.ascontiguousarray(words).astype("<u8", copy=False)
    return np.asarray(little.view("<u2").reshape(-1, 4))


def bell(words: Words) -> Floats:
    """Return numbers of mean 0, variance 1, between -3.47 and 3.47, nearly normal: the sum of four uniforms (Irwin-Hall)."""
    halves = (words & _LOW_HALVES) + ((words >> np.uint64(16)) & _LOW_HALVES)
    total = (halves & np.uint64(0xFFFFFFFF)) + (halves >> np.uint64(32))
    return (total.astype(np.float64) - 131_070.0) * _BELL_UNIT


def flat(words: Words, count: int) -> Floats:
    """Return `count` (at most 4) independent numbers a word, [n, count], of mean 0 and variance 1, uniform."""
    return (quarters(words)[:, :count].astype(np.float64) - 32767.5) * _FLAT_UNIT


def zipf_ranks(words: Words, cardinality: int, exponent: float) -> Ints:
    """Return ranks 0 .. cardinality - 1 with probabilities `zipf_shares`, by inverting the continuous power law on [1, n + 1)."""
    share = uniform(words)
    if exponent == 1.0:
        place = (cardinality + 1.0) ** share
    else:
        power = 1.0 - exponent
        place = (1.0 + share * ((cardinality + 1.0) ** power - 1.0)) ** (1.0 / power)
    return np.minimum(place.astype(np.int64) - 1, cardinality - 1)


def zipf_shares(cardinality: int, exponent: float, num_ranks: int) -> Floats:
    """Return the probabilities of the first `num_ranks` ranks: the integral of `x ** -exponent` over [rank + 1, rank + 2), normalised."""
    edges = np.arange(1, num_ranks + 2, dtype=np.float64)
    if exponent == 1.0:
        return np.asarray(np.diff(np.log(edges)) / math.log(cardinality + 1.0))
    power = 1.0 - exponent
    return np.asarray(np.diff(edges**power) / ((cardinality + 1.0) ** power - 1.0))
