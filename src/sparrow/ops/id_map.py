"""The id map as tensors: the layout every body of its operators reads, and the constants they share. `docs/table-format.md` freezes it.

lines:     int64 [L, 8]. One row is a 64-byte line: words 0-4 hold ids, words 5-7 hold five int32 rows (row k is int32 number
           10 + k of the line) and one filler, which is negative. Slots fill in order; an empty line is `EMPTY` throughout.
headers:   int64 [T, 8], one row a table (`HEADER_*` name the words).
ranges:    int64 [R, 4], one row a range of a table (`RANGE_*` name the words): a table is 2^range_bits ranges in a row.
counters:  int64 [4]: rows ever handed out, ids that found no room, rows free to be handed out again, 0.
free_rows: int32 [C]; the first `counters[2]` are the free rows, the last of them is handed out first.
"""

from __future__ import annotations

import torch
from torch import Tensor

EMPTY = -(2**63)
NO_ROW = -1
IDS_PER_LINE = 5
WORDS_PER_LINE = 8
FIRST_ROW_INT32 = 10
JUMP_LINES = 8
HEADER_FIRST_RANGE, HEADER_RANGE_BITS, HEADER_SALT, HEADER_SIDE_ROW, HEADER_FIRST_SLICE, HEADER_SLICE_SCALE = range(6)
HEADER_WORDS = 8
RANGE_FIRST_LINE, RANGE_NUM_LINES, RANGE_NUM_KEYS, RANGE_NUM_DEAD = range(4)
# What RANGE_NUM_KEYS says of a range that `rehash_` is to rebuild.
REBUILD = -1
COUNTER_ROWS, COUNTER_FAILED, COUNTER_FREE = range(3)
NUM_SLICES = 65536

_LOW_32 = 0xFFFFFFFF
# Stafford's variant 13 ("Better Bit Mixing", 2011), the multipliers in signed form: int64 tensors wrap like unsigned words.
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
_MULTIPLIER_2 = 0x94D049BB133111EB - 2**64


def shift_right(x: Tensor, bits: int) -> Tensor:
    """Return int64 `x` shifted right as an unsigned word."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(ids: Tensor, salt: int) -> Tensor:
    """Return the salted bijection of int64 `ids` that places them in the map, as int64 (read it as unsigned)."""
    x = ids ^ salt
    x = (x ^ shift_right(x, 30)) * _MULTIPLIER_1
    x = (x ^ shift_right(x, 27)) * _MULTIPLIER_2
    return x ^ shift_right(x, 31)


def canonical_order(ids: Tensor, salt: int) -> Tensor:
    """Return the permutation, int64 [n], that sorts `ids` by unsigned `mix`: the order a user sees, and checkpoints keep."""
    # Flipping the top bit turns unsigned order into signed order.
    return torch.argsort(mix(ids, salt) ^ EMPTY)


def slice_of(ids: Tensor, salt: int) -> Tensor:
    """Return the slice, int64 in [0, 65536), of each id: the top 16 bits of its mixed value."""
    return shift_right(mix(ids, salt), 48)


def slice_scale(num_slices: int) -> int:
    """Return the header's `slice_scale` of a map that holds `num_slices` consecutive slices."""
    return 2**48 // num_slices


def fraction_of(mixed: Tensor, header: Tensor) -> Tensor:
    """Return how far through the slices of a table each mixed id lies, int64 in [0, 2^32). Monotone in unsigned `mixed`."""
    distance = shift_right(mixed, 32) - (int(header[HEADER_FIRST_SLICE]) << 16)
    return shift_right(distance * int(header[HEADER_SLICE_SCALE]), 32)


def range_of(fraction: Tensor, range_bits: int) -> Tensor:
    """Return the range within its table, int64 in [0, 2^range_bits), of each fraction."""
    return fraction >> (32 - range_bits)


def home_line(fraction: Tensor, range_bits: int, num_lines: int) -> Tensor:
    """Return the line within its range, int64 in [0, num_lines), where the probe of each fraction starts."""
    return shift_right(((fraction << range_bits) & _LOW_32) * num_lines, 32)


def make_headers(salts: list[int], range_bits: list[int]) -> Tensor:
    """Return the headers of empty tables that hold all slices, their ranges side by side."""
    headers = torch.zeros(len(salts), HEADER_WORDS, dtype=torch.int64)
    bits = torch.tensor(range_bits, dtype=torch.int64)
    headers[:, HEADER_FIRST_RANGE] = (1 << bits).cumsum(0) - (1 << bits)
    headers[:, HEADER_RANGE_BITS] = bits
    headers[:, HEADER_SALT] = torch.tensor(salts, dtype=torch.int64)
    headers[:, HEADER_SIDE_ROW] = NO_ROW
    headers[:, HEADER_SLICE_SCALE] = slice_scale(NUM_SLICES)
    return headers


def empty_id_map(max_keys: list[int], salts: list[int], load: float = 0.75, range_bits: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return (lines, headers, ranges) of empty tables whose ranges hold an even share of `max_keys[t]` ids at `load` of their slots."""
    headers = make_headers(salts, [range_bits] * len(salts))
    num_lines = [max(1, -int(-keys // (IDS_PER_LINE * load * 2**range_bits))) for keys in max_keys for _ in range(2**range_bits)]
    ranges = torch.zeros(len(num_lines), 4, dtype=torch.int64)
    ranges[:, RANGE_NUM_LINES] = torch.tensor(num_lines, dtype=torch.int64)
    ranges[:, RANGE_FIRST_LINE] = ranges[:, RANGE_NUM_LINES].cumsum(0) - ranges[:, RANGE_NUM_LINES]
    return torch.full((sum(num_lines), WORDS_PER_LINE), EMPTY, dtype=torch.int64), headers, ranges


def empty_rows() -> tuple[Tensor, Tensor]:
    """Return (counters, free_rows) before any row was handed out."""
    return torch.zeros(4, dtype=torch.int64), torch.empty(0, dtype=torch.int32)
