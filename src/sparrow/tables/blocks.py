"""Rows in blocks that never move: weights, optimizer slots, and the ids and metadata beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.ops.update_rows.rules import Rule

META_LAST_USED, META_LAST_CHANGED, META_COUNT, META_TABLE = range(4)


class RowBlocks:
    """Storage of a group's rows. Growth appends blocks: no row ever changes its address.

    weights:       list of [rows_per_block, dim], the weight dtype.
    element_slots: list of [rows_per_block, num_slots * dim]: the element-wise slots of a row side by side. Empty where the rule has none.
    row_slots:     list of [rows_per_block, num_slots]: one value a row and slot. Empty where the rule has none.
    row_ids:       int64 [capacity], the id of each row.
    meta:          int32 [capacity, 4]: last_used, last_changed, count, table.
    """

    def __init__(self, dim: int, dtype: torch.dtype, rule: Rule, rows_per_block: int) -> None:
        if rows_per_block < 1 or rows_per_block & (rows_per_block - 1):
            raise ConfigError(f"rows_per_block is {rows_per_block}, expected a power of two")
        self.dim, self.dtype, self.rule, self.rows_per_block = dim, dtype, rule, rows_per_block
        # Slots of half-precision weights are float32; those of float64 weights (tests) float64.
        self.slot_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self.weights: list[Tensor] = []
        self.element_slots: list[Tensor] = []
        self.row_slots: list[Tensor] = []
        self.row_ids = torch.empty(0, dtype=torch.int64)
        self.meta = torch.empty(0, 4, dtype=torch.int32)

    @property
    def capacity(self) -> int:
        return len(self.weights) * self.rows_per_block

    def reserve(self, num_rows: int) -> None:
        """Append blocks until `num_rows` rows fit. New rows are uninitialised until `init_rows_` fills them."""
        rule = self.rule
        while self.capacity < num_rows:
            self.weights.append(torch.empty(self.rows_per_block, self.dim, dtype=self.dtype))
            if rule.element_slots:
                self.element_slots.append(torch.empty(self.rows_per_block, len(rule.element_slots) * self.dim, dtype=self.slot_dtype))
            if rule.row_slots:
                self.row_slots.append(torch.empty(self.rows_per_block, len(rule.row_slots), dtype=self.slot_dtype))
        if self.row_ids.numel() < self.capacity:
            # By at least half, so that the copies stay a constant number of bytes a row.
            size = max(self.capacity, self.row_ids.numel() * 3 // 2)
            self.row_ids = _grown(self.row_ids, size)
            self.meta = _grown(self.meta, size)

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


def _grown(tensor: Tensor, size: int) -> Tensor:
    larger = tensor.new_empty(size, *tensor.shape[1:])
    larger[: tensor.shape[0]] = tensor
    return larger


def _by_block(rows: Tensor, rows_per_block: int) -> list[tuple[int, Tensor, Tensor]]:
    """Return (block, positions in `rows`, rows within the block) for every block touched."""
    blocks = rows // rows_per_block
    return [
        (int(block), positions, rows[positions] % rows_per_block)
        for block in blocks.unique()
        for positions in [(blocks == block).nonzero().squeeze(1)]
    ]


def _gather_blocks(blocks: list[Tensor], rows: Tensor, rows_per_block: int, width: int, dtype: torch.dtype) -> Tensor:
    out = torch.empty(rows.numel(), width, dtype=dtype)
    if blocks:
        for block, positions, inside in _by_block(rows, rows_per_block):
            out[positions] = blocks[block][inside]
    return out


def _scatter_blocks(blocks: list[Tensor], rows: Tensor, rows_per_block: int, first_column: int, values: Tensor) -> None:
    for block, positions, inside in _by_block(rows, rows_per_block):
        blocks[block][inside, first_column : first_column + values.shape[1]] = values[positions]
