"""Rows in blocks that never move: weights, optimizer slots, and the ids and metadata beside them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.ops.update_rows.rules import Rule
from sparrow.tables.memory import BlockMemory, GrowableTensor
from sparrow.tables.placement import HOST

MAX_ROWS = 2**31 - 1  # row numbers are int32
META_LAST_USED, META_LAST_CHANGED, META_COUNT, META_TABLE = range(4)


class RowBlocks:
    """Storage of a group's rows. Growth appends blocks: no row ever changes its address.

    weights:       list of [rows_per_block, dim], the weight dtype.
    element_slots: list of [rows_per_block, num_slots * dim]: the element-wise slots of a row side by side. Empty where the rule has none.
    row_slots:     list of [rows_per_block, num_slots]: one value a row and slot. Empty where the rule has none.
    row_ids:       int64 [capacity], the id of each row.
    meta:          int32 [capacity, 4]: last_used, last_changed, count, table.
    """

    def __init__(self, dim: int, dtype: torch.dtype, rule: Rule, rows_per_block: int, device: torch.device = HOST) -> None:
        if rows_per_block < 1 or rows_per_block & (rows_per_block - 1):
            raise ConfigError(f"rows_per_block is {rows_per_block}, expected a power of two")
        self.dim, self.dtype, self.rule, self.rows_per_block = dim, dtype, rule, rows_per_block
        # Slots of half-precision weights are float32; those of float64 weights (tests) float64.
        self.slot_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self.weights: list[Tensor] = []
        self.element_slots: list[Tensor] = []
        self.row_slots: list[Tensor] = []
        self._memory = BlockMemory(device)
        self._row_ids = GrowableTensor((), torch.int64, MAX_ROWS, device)
        self._meta = GrowableTensor((4,), torch.int32, MAX_ROWS, device)
        self.row_ids, self.meta = self._row_ids.rows(0), self._meta.rows(0)

    @property
    def capacity(self) -> int:
        return len(self.weights) * self.rows_per_block

    def reserve(self, num_rows: int) -> None:
        """Append blocks until `num_rows` rows fit. New rows are uninitialised until `init_rows_` fills them."""
        while self.capacity < num_rows:
            for blocks, width, dtype in self._kinds():
                if width:
                    blocks.append(self._memory.empty(self.rows_per_block, width, dtype))
        if self.row_ids.shape[0] < self.capacity:
            self.row_ids, self.meta = self._row_ids.rows(self.capacity), self._meta.rows(self.capacity)

    def _kinds(self) -> list[tuple[list[Tensor], int, torch.dtype]]:
        """Return (blocks, values a row, dtype) of weights, element-wise slots and row-wise slots."""
        rule = self.rule
        return [
            (self.weights, self.dim, self.dtype),
            (self.element_slots, len(rule.element_slots) * self.dim, self.slot_dtype),
            (self.row_slots, len(rule.row_slots), self.slot_dtype),
        ]

    def change_rule(self, rule: Rule, first_values: Mapping[str, float]) -> None:
        """Take another update rule: slots both rules have stay, those the new one adds hold `first_values`, others go."""
        old, old_element, old_row = self.rule, self.element_slots, self.row_slots
        self.rule, self.element_slots, self.row_slots = rule, [], []
        for blocks, width, dtype in self._kinds()[1:]:
            if width:
                blocks.extend(self._memory.empty(self.rows_per_block, width, dtype) for _ in self.weights)
        for before, after, old_names, names, width in (
            (old_element, self.element_slots, old.element_slots, rule.element_slots, self.dim),
            (old_row, self.row_slots, old.row_slots, rule.row_slots, 1),
        ):
            for index, block in enumerate(after):
                for position, name in enumerate(names):
                    part = block[:, position * width : (position + 1) * width]
                    if name in old_names:
                        there = old_names.index(name) * width
                        part.copy_(before[index][:, there : there + width])
                    else:
                        part.fill_(first_values[name])

    def gather(self, rows: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return (weights [n, dim], slots by name, meta [n, 3]) of `rows`, int64 [n]; copies, for saving and inspection."""
        weights = _gather_blocks(self.weights, rows, self.rows_per_block, self.dim, self.dtype)
        slots: dict[str, Tensor] = {}
        num_element, num_row = len(self.rule.element_slots), len(self.rule.row_slots)
        element = _gather_blocks(self.element_slots, rows, self.rows_per_block, num_element * self.dim, self.slot_dtype)
        for position, name in enumerate(self.rule.element_slots):
            slots[name] = element[:, position * self.dim : (position + 1) * self.dim].contiguous()
        per_row = _gather_blocks(self.row_slots, rows, self.rows_per_block, num_row, self.slot_dtype)
        for position, name in enumerate(self.rule.row_slots):
            slots[name] = per_row[:, position].contiguous()
        return weights, slots, self.meta[rows, :META_TABLE].contiguous()

    def scatter(self, rows: Tensor, weights: Tensor, slots: dict[str, Tensor], meta: Tensor) -> None:
        """Write what `gather` returned into `rows`."""
        _scatter_blocks(self.weights, rows, self.rows_per_block, 0, weights)
        for position, name in enumerate(self.rule.element_slots):
            _scatter_blocks(self.element_slots, rows, self.rows_per_block, position * self.dim, slots[name])
        for position, name in enumerate(self.rule.row_slots):
            _scatter_blocks(self.row_slots, rows, self.rows_per_block, position, slots[name].unsqueeze(1))
        self.meta[rows, :META_TABLE] = meta

    def storage_bytes(self) -> int:
        """Return the bytes all tensors hold, used or reserved."""
        tensors = [*self.weights, *self.element_slots, *self.row_slots, self.row_ids, self.meta]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _by_block(rows: Tensor, rows_per_block: int) -> list[tuple[int, Tensor, Tensor]]:
    """Return (block, positions in `rows`, rows within the block) for every block touched."""
    blocks = rows // rows_per_block
    return [
        (block, positions, rows[positions] % rows_per_block)
        for block in blocks.unique().cpu().tolist()
        for positions in [(blocks == block).nonzero().squeeze(1)]
    ]


def _gather_blocks(blocks: list[Tensor], rows: Tensor, rows_per_block: int, width: int, dtype: torch.dtype) -> Tensor:
    out = torch.empty(rows.numel(), width, dtype=dtype, device=rows.device)
    if blocks:
        for block, positions, inside in _by_block(rows, rows_per_block):
            out[positions] = blocks[block][inside]
    return out


def _scatter_blocks(blocks: list[Tensor], rows: Tensor, rows_per_block: int, first_column: int, values: Tensor) -> None:
    for block, positions, inside in _by_block(rows, rows_per_block):
        blocks[block][inside, first_column : first_column + values.shape[1]] = values[positions]
