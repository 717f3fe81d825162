"""Tables that steps of `map_values` look up, packed once: buckets by cells, and vocabularies by open addressing."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.packed import Packed, Source

_INT64 = np.iinfo(np.int64)
# Words before the rest of a table of buckets: boundaries, cells, most boundaries in a cell, kind of cells, and two parameters of that kind.
BUCKET_HEADER = 6
LINEAR_CELLS, BIT_CELLS = 0, 1
_LEAST_CELLS, _CELLS_A_BOUNDARY, _MOST_CELLS = 64, 8, 1 << 13
# Words before the slots of a vocabulary: keys, slots, the word at which the bytes of keys begin, and one for alignment.
VOCABULARY_HEADER = 4
INT_SLOT, BYTES_SLOT = 2, 4  # words: key, index; or hash, index, first byte, number of bytes
NO_KEY = -1


def float_bits(value: float) -> int:
    """Return the 64 bits of a float64, read as a signed integer."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def number_keys(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return integers in the order of the numbers; -0.0 has that of 0.0."""
    bits = (numbers + 0.0).view(np.int64)
    return bits ^ ((bits >> 63) & _INT64.max)


def first_integers(boundaries: Sequence[float]) -> list[int]:
    """Return the integers that reach boundaries first. Boundaries that no 64-bit integer reaches are left out."""
    return [_INT64.min if b <= -(2.0**63) else math.ceil(b) for b in boundaries if b < 2.0**63]


def bucket_table(boundaries: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Return the table by which values of a lane find how many boundaries they reach, int64.

    A monotone function gives every value one of some cells; `starts[cell]` boundaries lie in the cells before it, and at most
    `most` in any one. So a value looks at those of its own cell only, by a search of fixed length. Words: header; starts [cells]; keys of
    the boundaries, in order, and `most` keys that none but the largest value reaches, so that every search may run over the end.
    """
    if dtype == torch.int64:
        keys = np.array(first_integers(boundaries), dtype=np.int64)
        numbers = keys.astype(np.float64)
    else:
        numbers = np.array(boundaries, dtype=np.float64) + 0.0
        keys = number_keys(numbers)
    count = len(keys)
    most_cells = min(max(_LEAST_CELLS, _CELLS_A_BOUNDARY * count), _MOST_CELLS)
    kinds = [_bit_cells(numbers, most_cells), *_linear_cells(numbers, most_cells)] if count else [(BIT_CELLS, 0, 0, 1, keys)]
    kind, first, second, num_cells, cells = min(kinds, key=lambda made: int(np.bincount(made[4], minlength=1).max()))
    most = int(np.bincount(cells, minlength=1).max())
    starts = np.searchsorted(cells, np.arange(num_cells), side="left").astype(np.int64)
    header = np.array([count, num_cells, most, kind, first, second], dtype=np.int64)
    return torch.from_numpy(np.concatenate([header, starts, keys, np.full(most, _INT64.max, dtype=np.int64)]))


def _bit_cells(numbers: NDArray[np.float64], most_cells: int) -> tuple[int, int, int, int, NDArray[np.int64]]:
    """Cells of equal runs of float64 bits, finer near zero: fit for boundaries whose ratios are alike. Parameters: first key, shift."""
    keys = number_keys(numbers)
    first = int(keys[0])
    span = int(keys[-1]) - first  # Python integers: may exceed 63 bits
    shift = max(0, span.bit_length() - 63)
    while (span >> shift) + 1 > most_cells:
        shift += 1
    cells = np.array([(int(key) - first) >> shift for key in keys], dtype=np.int64)
    return BIT_CELLS, first, shift, (span >> shift) + 1, cells


def _linear_cells(numbers: NDArray[np.float64], most_cells: int) -> list[tuple[int, int, int, int, NDArray[np.int64]]]:
    """Cells of equal width, fit for boundaries whose differences are alike. Parameters: first boundary, cells a unit, as float64 bits."""
    finite = numbers[np.isfinite(numbers)]
    if len(finite) < 2:
        return []
    width = float(finite[-1]) - float(finite[0])
    scale = (most_cells - 1) / width if width > 0 and math.isfinite(width) else math.inf
    if not math.isfinite(scale) or scale <= 0:
        return []
    low = float(finite[0])
    places = np.clip((numbers - low) * scale, 0.0, most_cells - 1.0)
    return [(LINEAR_CELLS, float_bits(low), float_bits(scale), most_cells, places.astype(np.int64))]


def _num_slots(num_keys: int) -> int:
    return max(2, 1 << (2 * num_keys - 1).bit_length()) if num_keys else 2


def _places(homes: NDArray[np.int64], num_slots: int) -> NDArray[np.int64]:
    """Return the slot of each key: the first free one from its home on, as if keys came in some order."""
    places = homes.copy()
    taken = np.full(num_slots, -1, dtype=np.int64)
    waiting = np.arange(len(homes))
    while len(waiting):
        free = waiting[taken[places[waiting]] < 0]
        taken[places[free]] = free  # of several, one stays
        waiting = waiting[taken[places[waiting]] != waiting]
        places[waiting] = (places[waiting] + 1) & (num_slots - 1)
    return places


def vocabulary_of_ints_table(keys: Sequence[int]) -> Tensor:
    """Return the table that finds the index of an integer, int64: header, then slots (key, index) from the key's mix on."""
    held = np.array(keys, dtype=np.int64)
    num_slots = _num_slots(len(held))
    homes = id_map.mix(torch.from_numpy(held), 0).numpy() & (num_slots - 1)
    places = _places(homes, num_slots)
    slots = np.full((num_slots, INT_SLOT), NO_KEY, dtype=np.int64)
    slots[places, 0], slots[places, 1] = held, np.arange(len(held))
    header = np.array([len(held), num_slots, 0, 0], dtype=np.int64)
    return torch.from_numpy(np.concatenate([header, slots.reshape(-1)]))


def vocabulary_of_bytes_table(keys: Sequence[bytes], farm_code: int) -> Tensor:
    """Return the table that finds the index of a string, int64: header, slots (farm hash, index, first byte, bytes), bytes of all keys."""
    data = b"".join(keys)
    ends = np.zeros(len(keys) + 1, dtype=np.int64)
    np.cumsum([len(key) for key in keys], out=ends[1:])
    chain = torch.tensor([[0, 0, Source.BYTES, 0, 1, 0]])
    hashing = Packed(chain, torch.tensor([[farm_code, 0, 0, 0]]), (), (torch.int64,))
    text = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    hashes = map_values([text], [torch.from_numpy(ends)], hashing)[0][0].numpy()
    num_slots = _num_slots(len(keys))
    places = _places(hashes & (num_slots - 1), num_slots)
    slots = np.full((num_slots, BYTES_SLOT), NO_KEY, dtype=np.int64)
    slots[places] = np.stack([hashes, np.arange(len(keys)), ends[:-1], np.diff(ends)], 1)
    words = np.frombuffer(data + bytes(-len(data) % 8), dtype=np.int64)
    header = np.array([len(keys), num_slots, VOCABULARY_HEADER + slots.size, 0], dtype=np.int64)
    return torch.from_numpy(np.concatenate([header, slots.reshape(-1), words]))
