"""Tables, maps and batches that the benchmarks of operators share, on the device that is measured."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.harness import Options, zipf_ids
from sparrow.ops import id_map
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.update_rows.rules import RULES

_SALT = 12345
# Tables above this many ids are cut into 32 ranges, as those of a group are.
_MOST_IDS_OF_A_RANGE = 32_768


@dataclass(frozen=True)
class Sizes:
    """map_ids: ids a map holds, at `load` of its slots. num_rows: rows of `dim` values a table holds. batch_ids: ids or rows a call takes.

    On a GPU all are far beyond its last-level cache, and calls are long beside a launch.
    """

    map_ids: int = 1_000_000
    load: float = 0.75
    num_rows: int = 1 << 20
    rows_per_block: int = 1 << 16
    batch_ids: int = 262_144
    dim: int = 16


def sizes_of(options: Options) -> Sizes:
    if options.quick:
        return Sizes(map_ids=3000, load=0.5, num_rows=2048, rows_per_block=512, batch_ids=600, dim=8)
    if options.device == "cpu":
        return Sizes()
    return Sizes(map_ids=100_000_000, load=0.5, num_rows=1 << 22, rows_per_block=1 << 20, batch_ids=1 << 20, dim=64)


class Map(NamedTuple):
    """An id map of one table; see `sparrow.ops.id_map`."""

    lines: Tensor
    headers: Tensor
    ranges: Tensor
    counters: Tensor
    free_rows: Tensor

    def copy(self) -> Map:
        return Map(*(tensor.clone() for tensor in self))

    def take(self, other: Map) -> None:
        """Make this map what `other` is, in place."""
        for mine, theirs in zip(self, other, strict=True):
            mine.copy_(theirs)


def empty_map(num_ids: int, load: float, device: str) -> Map:
    """Return a map with room for `num_ids` ids at `load` of its slots."""
    bits = 5 if num_ids > _MOST_IDS_OF_A_RANGE else 0
    # Nothing of this is timed, so the mode that makes every new tensor one of the device may cost what it does.
    with torch.device(device):
        return Map(*id_map.empty_id_map([num_ids], [_SALT], load, range_bits=bits), *id_map.empty_rows())


def filled_map(options: Options) -> tuple[Map, Tensor]:
    """Return (map, ids) of one table that holds `map_ids` ids, rank r's mixed value being the r-th. Shared: leave both as they are."""
    sizes = sizes_of(options)
    return _filled_map(sizes.map_ids, sizes.load, options.device)


@functools.lru_cache(1)  # a GPU's is gigabytes
def _filled_map(num_ids: int, load: float, device: str) -> tuple[Map, Tensor]:
    filled = empty_map(num_ids, load, device)
    ids = id_map.mix(torch.arange(1, num_ids + 1, device=device), 0)
    find_or_insert_(*filled, ids, offsets(ids))
    assert filled.counters[id_map.COUNTER_FAILED] == 0
    return filled, ids


def offsets(ids: Tensor) -> Tensor:
    """Return the table offsets of ids of one table."""
    return torch.tensor([0, ids.numel()], device=ids.device)


def zipf_batch(options: Options, seed: int = 0) -> Tensor:
    """Return `batch_ids` Zipf(1.05) ids of those in `filled_map`."""
    sizes = sizes_of(options)
    return zipf_ids(sizes.batch_ids, sizes.map_ids, seed=seed).to(options.device)


def uniform_ranks(options: Options, num_ids: int, *, seed: int = 2) -> Tensor:
    """Return `num_ids` places, int64, in what `filled_map` holds, all as likely."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(sizes_of(options).map_ids, (num_ids,), generator=generator).to(options.device)


def blocks(options: Options, width: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return row blocks of normal values for `num_rows` rows of `width`."""
    sizes = sizes_of(options)
    count = -(-sizes.num_rows // sizes.rows_per_block)
    return [torch.randn(sizes.rows_per_block, width, device=options.device).to(dtype) for _ in range(count)]


def distinct_rows(options: Options, num_rows: int) -> Tensor:
    """Return `num_rows` distinct rows of a table, int32, in random order."""
    generator = torch.Generator().manual_seed(1)
    return torch.randperm(sizes_of(options).num_rows, generator=generator)[:num_rows].int().to(options.device)


class Rows(NamedTuple):
    """The rows of a table as a group holds them: what update operators take first, in their order."""

    weights: list[Tensor]
    element_slots: list[Tensor]
    row_slots: list[Tensor]
    meta: Tensor

    def gathered(self, rows: Tensor) -> Tensor:
        """Return the weights of rows int64 [n] as [n, dim]."""
        return torch.cat(self.weights)[rows]

    def row_bytes(self) -> int:
        """Return the bytes of one row's weights and slots, without metadata."""
        return sum(kind[0].shape[1] * kind[0].element_size() for kind in self[:3] if kind)


def filled_rows(options: Options, rule: str, dim: int, dtype: torch.dtype = torch.float32) -> Rows:
    """Return rows of normal weights, their slots at the rule's first values."""
    declared, sizes = RULES[rule], sizes_of(options)
    weights = blocks(options, dim, dtype)
    slots: list[list[Tensor]] = []
    for names, width in ((declared.element_slots, dim), (declared.row_slots, 1)):
        slots.append([])
        for _ in weights if names else ():
            values = [torch.full((sizes.rows_per_block, width), declared.first_value(name), device=options.device) for name in names]
            slots[-1].append(torch.cat(values, 1))
    meta = torch.zeros(len(weights) * sizes.rows_per_block, 4, dtype=torch.int32, device=options.device)
    return Rows(weights, *slots, meta)
