"""What fresh rows of a group begin with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.ops.init_rows.op import init_rows_
from sparrow.ops.update_rows.rules import Rule
from sparrow.tables.blocks import RowBlocks
from sparrow.tables.options import TableOptions
from sparrow.tables.placement import sent


class FirstValues:
    """Weights by each table's initializer, slots by its rule, id and metadata, for rows on `device`.

    tables: of one kind of initializer. rule: of the tables.
    """

    def __init__(self, tables: Sequence[TableOptions], rule: Rule, device: torch.device) -> None:
        self._device, self._initializer = device, tables[0].initializer.code
        parameters = torch.tensor([table.initializer.parameters(table.dim) for table in tables], dtype=torch.float64)
        slots = (*rule.element_slots, *rule.row_slots)
        values = [[rule.first_value(slot, table.hyper) for slot in slots] for table in tables]
        slot_values = torch.tensor(values, dtype=torch.float64).reshape(len(tables), len(slots))
        self._parameters, self._slot_values = sent(parameters, device), sent(slot_values, device)
        # Seeds change where a checkpoint is adopted.
        self._seeds: tuple[list[int], Tensor] = [], torch.empty(0)

    def tensors(self, seeds: list[int]) -> list[Tensor]:
        """Return what `give` reads beside its arguments: other tensors, where something changed."""
        if self._seeds[0] != seeds:
            self._seeds = list(seeds), sent(torch.tensor(seeds), self._device)
        return [self._parameters, self._slot_values, self._seeds[1]]

    def give(
        self, blocks: RowBlocks, seeds: list[int], rows: Tensor, ids: Tensor, offsets: Tensor, fresh: Tensor, num_fresh: Tensor
    ) -> None:
        """Write them, as the operator `init_rows_` does; `seeds`: of the tables, `fresh`: the positions of fresh rows."""
        parameters, slot_values, seeds_there = self.tensors(seeds)
        init_rows_(
            blocks.weights, blocks.element_slots, blocks.row_slots, blocks.row_ids, blocks.meta, rows, ids, offsets,
            fresh, num_fresh, seeds_there, self._initializer, parameters, slot_values,
        )  # fmt: skip
