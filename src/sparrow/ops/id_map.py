"""The id map as tensors: the layout every body of its operators reads, and the constants they share.

lines:    int64 [L, 8]. One row is a 64-byte line: words 0-4 hold ids, words 5-7 hold five int32 rows (row k is int32 number
          10 + k of the line) and one unused int32. Slots fill in order; an empty slot holds `EMPTY`.
headers:  int64 [T, 8], one row a table (`HEADER_*` name the words).
counters: int64 [2]: rows handed out so far, ids that found no room.
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
(
    HEADER_FIRST_LINE,
    HEADER_NUM_LINES,
    HEADER_NUM_KEYS,
    HEADER_NUM_DEAD,
    HEADER_SALT,
    HEADER_SIDE_ROW,
    HEADER_MAX_KEYS,
) = range(7)

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


def home_line(mixed: Tensor, num_lines: int) -> Tensor:
    """Return the line, int64 in [0, num_lines), where the probe of each mixed id starts. Monotone in unsigned `mixed`."""
    return shift_right(shift_right(mixed, 32) * num_lines, 32)


def empty_id_map(max_keys: list[int], salts: list[int], load: float = 0.75) -> tuple[Tensor, Tensor]:
    """Return (lines, headers) of empty segments, one a table, that hold `max_keys[t]` ids each at `load` of their slots at most."""
    headers = torch.zeros(len(max_keys), WORDS_PER_LINE, dtype=torch.int64)
    first_line = 0
    for table, (keys, salt) in enumerate(zip(max_keys, salts, strict=True)):
        num_lines = max(1, -int(-keys // (IDS_PER_LINE * load)))
        headers[table, HEADER_FIRST_LINE] = first_line
        headers[table, HEADER_NUM_LINES] = num_lines
        headers[table, HEADER_MAX_KEYS] = min(keys, num_lines * IDS_PER_LINE)
        headers[table, HEADER_SALT] = salt
        headers[table, HEADER_SIDE_ROW] = NO_ROW
        first_line += num_lines
    return torch.full((first_line, WORDS_PER_LINE), EMPTY, dtype=torch.int64), headers
