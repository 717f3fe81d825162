"""What the Triton body of `map_values` and its kernel tell each other: words of a table, and bits for what occurs in a call."""

from __future__ import annotations

from typing import NamedTuple

import triton.language as tl
from torch import Tensor

from sparrow.ops.map_values import log_number as plain_log
from sparrow.ops.map_values.packed import TO_BUCKETS, TO_ERROR, VALUE_DTYPES, Source

# Words of a chain's row, and of a step's: code, three parameters, address of its table, and two reciprocals of two words.
CHAIN_WORDS, STEP_WORDS = tl.constexpr(10), tl.constexpr(9)
FILL, CAST, LOG1P, LOG, Z_SCORE, MIN_MAX, CLIP, FINITE, BUCKETIZE = (tl.constexpr(code) for code in range(9))
HASH_BYTES, VOCABULARY_OF_BYTES, HASH_INTS, NON_NEGATIVE, MOD, QUOTIENT, MULTI_HASH, VOCABULARY_OF_INTS = (
    tl.constexpr(code) for code in range(9, 17)
)
NUMBER_CODES, ID_CODES = tl.constexpr((1 << 8) - 1), tl.constexpr(((1 << 17) - 1) & -(1 << 8))
LOOKING_UP = tl.constexpr(1 << HASH_BYTES.value | 1 << VOCABULARY_OF_BYTES.value | 1 << HASH_INTS.value | 1 << VOCABULARY_OF_INTS.value)
# What occurs in a call, beside codes, dtypes and sources.
IDS_BECOME_NUMBERS, SINGLES, BUCKETS_OF_IDS, BUCKETS_OF_NUMBERS, REFUSES, COUNTED = (tl.constexpr(1 << bit) for bit in range(6))
ALIGNED, GIVES_IDS, GIVES_SINGLES, GIVES_DOUBLES = (tl.constexpr(1 << bit) for bit in range(6, 10))
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
PENDING = tl.constexpr(-2)  # neither a place nor what says that there is none
# A constant that is NaN is not equal to itself: Triton takes it for changed, and refuses to launch.
NAN_BITS = tl.constexpr(0x7FF8000000000000)

_VOCABULARIES = (VOCABULARY_OF_BYTES.value, VOCABULARY_OF_INTS.value)
WITH_TABLES = (BUCKETIZE.value, *_VOCABULARIES)


def reciprocal_of(divisor: int) -> tuple[int, int]:
    """Return the words by which `unsigned_divided` divides any 64 bits: Granlund and Montgomery, "Division by invariant integers using
    multiplication", 1994."""
    bits = (divisor - 1).bit_length()
    multiplier = (((1 << bits) - divisor) << 64) // divisor + 1
    return multiplier - (1 << 64) * (multiplier >> 63), bits


def reciprocals_of(code: int, one: int, two: int, three: int) -> tuple[int, ...]:
    if code in (MOD.value, QUOTIENT.value):
        return (*reciprocal_of(one), 0, 0)
    if code == MULTI_HASH.value:
        return (*reciprocal_of(two), *reciprocal_of(three))
    if code in (VOCABULARY_OF_BYTES.value, VOCABULARY_OF_INTS.value) and two == TO_BUCKETS:
        return (*reciprocal_of(three), 0, 0)
    return (0, 0, 0, 0)


class Facts(NamedTuple):
    """What occurs in a call: bits, as `map_kernel` takes them."""

    codes: int
    dtypes: int
    sources: int
    others: int

    @property
    def has_strings(self) -> bool:
        return bool(self.sources >> Source.BYTES & 1)


def facts_of(rows: list[list[int]], steps: list[list[int]], values: list[Tensor]) -> Facts:
    """Follow each chain through its states."""
    codes = dtypes = sources = others = 0
    is_aligned = True
    for value, _, source, first, num_steps, output, *counted_by in rows:
        held = values[value]
        dtype = VALUE_DTYPES.index(held.dtype)
        sources |= 1 << source
        if source != Source.BYTES:
            dtypes |= 1 << dtype
        is_aligned = is_aligned and held.data_ptr() % 16 == 0
        state = IDS.value if dtype <= 5 else SINGLE.value if dtype <= 8 else DOUBLE.value
        others |= REFUSES.value if source == Source.ROWS else 0
        others |= COUNTED.value if counted_by and counted_by[0] >= 0 else 0
        for code, one, two, _ in steps[first : first + num_steps]:
            codes |= 1 << code
            if code == CAST.value:
                others |= REFUSES.value
                state = one
            elif code == BUCKETIZE.value:
                others |= BUCKETS_OF_IDS.value if state == IDS.value else BUCKETS_OF_NUMBERS.value
            elif code in (LOG1P.value, LOG.value, Z_SCORE.value, MIN_MAX.value, FINITE.value) and state == IDS.value:
                others |= IDS_BECOME_NUMBERS.value
                state = DOUBLE.value
            if code >= BUCKETIZE.value:
                state = IDS.value
            is_refusing = (code == FINITE.value and one == 1) or (code in _VOCABULARIES and two == TO_ERROR)
            others |= REFUSES.value if is_refusing else 0
            others |= SINGLES.value if state == SINGLE.value else 0
        others |= (GIVES_IDS.value, GIVES_SINGLES.value, GIVES_DOUBLES.value)[output]
    return Facts(codes, dtypes, sources, others | (ALIGNED.value if is_aligned else 0))
