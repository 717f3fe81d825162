# mypy: ignore-errors
# Triton kernels are compiled, not called: their bodies follow Triton's types.
"""Running sums over all programs of one launch, by decoupled look-back, and words that programs wait for.

A program takes a ticket, and with it its tile: whatever runs behind lower tickets has begun, so it ends, and may be waited for. What is
waited for is a word of 64 bits that holds a value and whether it is there: nothing else is ordered, so there are no fences, and a stale
read costs another one. Words start as 0, which says that nothing is there yet.
"""

import triton
import triton.language as tl

# The low two bits of a word: UNKNOWN, the sum of a tile alone, or a value that is final (the sum up to the end of a tile).
UNKNOWN, PART, FINAL = (tl.constexpr(i) for i in range(3))
FLAGS = tl.constexpr(3)
# Tiles that are looked back at together.
WINDOW = tl.constexpr(32)


@triton.jit
def word_of(value, FLAG: tl.constexpr):
    return (value << 2) | FLAG


@triton.jit
def publish(words, b_value, mask):
    """Write final words, through the caches: those who wait may run where another cache is theirs."""
    tl.store(words, word_of(b_value, FINAL), mask=mask, cache_modifier=".wt")


@triton.jit
def load_again(words, b_word, mask):
    """The words, of which those that were unknown are read, past the L1 cache.

    The mask changes with every reading: the compiler must not take the load out of the loop that waits.
    """
    return b_word | tl.load(words, mask=mask & ((b_word & FLAGS) == UNKNOWN), other=0, cache_modifier=".cv")


@triton.jit
def wait_for(words, b_place, mask):
    """The values of the words at places, int64 [BLOCK], once all are final. A program whose ticket is lower must write them."""
    b_word = tl.zeros_like(b_place)
    num_unknown = 1
    while num_unknown > 0:
        b_word = load_again(words + b_place, b_word, mask)
        num_unknown = tl.sum((mask & ((b_word & FLAGS) == UNKNOWN)).to(tl.int32))
    return b_word >> 2


@triton.jit
def wait_for_one(words, place):
    """The value of one word, as `wait_for`; place: an int64 scalar."""
    word = place * 0
    while (word & FLAGS) == UNKNOWN:
        word = word | tl.load(words + place, mask=(word & FLAGS) == UNKNOWN, other=0, cache_modifier=".cv")
    return word >> 2


@triton.jit
def list_of_published(words, num_lists, b_element, mask):
    """The last of `num_lists` lists that starts at or before an element. words: where each list starts, as other programs publish it."""
    b_list = tl.zeros_like(b_element)
    left = num_lists
    while left > 1:
        half = left // 2
        b_start = wait_for(words, b_list + half, mask)
        b_list = tl.where(b_start <= b_element, b_list + half, b_list)
        left -= half
    return b_list


@triton.jit
def sum_before(states, tile, sum):
    """The sum over all tiles before number `tile`, whose own is `sum`, int64 scalars. states: a word a tile."""
    o_w = tl.arange(0, WINDOW).to(tl.int64)
    if tile > 0:
        tl.atomic_xchg(states + tile, word_of(sum, PART), sem="relaxed", scope="gpu")
    before = sum * 0
    b_word = tl.zeros([WINDOW], tl.int64)
    last = tile - 1
    while last >= 0:
        m_w = o_w <= last
        b_word = load_again(states + (last - o_w), b_word, m_w)
        b_flag = b_word & FLAGS
        # Up to the nearest tile that knows its running sum: what lies before it does not matter.
        nearest = tl.min(tl.where(b_flag == FINAL, o_w, WINDOW))
        num_unknown = tl.sum((m_w & (b_flag == UNKNOWN) & (o_w < nearest)).to(tl.int32))
        if num_unknown == 0:
            before += tl.sum(tl.where(o_w <= nearest, b_word >> 2, 0))
            last = tl.where(nearest < WINDOW, -1, last - WINDOW)
            b_word = tl.zeros([WINDOW], tl.int64)
    tl.atomic_xchg(states + tile, word_of(before + sum, FINAL), sem="relaxed", scope="gpu")
    return before
