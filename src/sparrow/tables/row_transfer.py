"""How rows leave and enter a group, by id: the `RowStore` of `TableGroup`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from sparrow.errors import CheckpointError
from sparrow.ops import id_map
from sparrow.ops.update_rows.rules import Rule
from sparrow.tables.blocks import META_LAST_CHANGED, RowBlocks
from sparrow.tables.growth import IdMap
from sparrow.tables.options import TableOptions
from sparrow.types import NUM_SLICES, Chunk, SliceRange

_CHUNK_BYTES = 64 << 20


class TransferableGroup(Protocol):
    """What moving rows needs of a `TableGroup`."""

    name: str
    dim: int
    dtype: torch.dtype
    rule: Rule
    tables: tuple[TableOptions, ...]
    seeds: list[int]
    step: int
    table_steps: list[int]
    map: IdMap
    blocks: RowBlocks

    @property
    def num_rows(self) -> int: ...
    def table_index(self, table: str) -> int: ...
    def insert_ids(self, table: int, ids: Tensor) -> Tensor: ...
    def row_ids_of(self, table: int) -> tuple[Tensor, Tensor]: ...


def describe(group: TransferableGroup) -> dict[str, Any]:
    tables = [
        {
            "name": options.name,
            "dim": options.dim,
            "dtype": str(options.dtype).removeprefix("torch."),
            "initializer": options.initializer.kind,
            "initializer_parameters": list(options.initializer.parameters(options.dim)),
            "rule": options.rule,
            "slots": [*group.rule.element_slots, *group.rule.row_slots],
            "seed": group.seeds[index],
            "salt": group.map.salt(index),
            "num_rows": group.map.num_ids(index),
            "step": group.table_steps[index],
        }
        for index, options in enumerate(group.tables)
    ]
    return {"name": group.name, "step": group.step, "tables": tables}


def adopt(group: TransferableGroup, description: dict[str, Any]) -> None:
    if group.num_rows:
        raise CheckpointError(
            f"group {group.name!r} already holds {group.num_rows} rows; load a checkpoint before training, into a new engine"
        )
    saved = {table["name"]: table for table in description["tables"]}
    own = {options.name for options in group.tables}
    if saved.keys() != own:
        raise CheckpointError(
            f"group {group.name!r}: tables only in the checkpoint: {sorted(saved.keys() - own)}, "
            f"only in the model: {sorted(own - saved.keys())}; build the model the checkpoint was saved from"
        )
    for options in group.tables:
        mine = {
            "dim": options.dim,
            "dtype": str(options.dtype).removeprefix("torch."),
            "rule": options.rule,
            # Ids yet unseen must draw what the first run would have drawn.
            "initializer": options.initializer.kind,
            "initializer_parameters": list(options.initializer.parameters(options.dim)),
        }
        for key, value in mine.items():
            if saved[options.name][key] != value:
                raise CheckpointError(
                    f"table {options.name!r}: the checkpoint has {key} {saved[options.name][key]!r}, the model {value!r}; "
                    f"build the model the checkpoint was saved from"
                )
    group.step = description["step"]
    group.table_steps = [saved[options.name]["step"] for options in group.tables]
    # The stored seed decides the first values of ids yet unseen: the resumed run must draw what the first run would have.
    group.seeds = [saved[options.name]["seed"] for options in group.tables]
    group.map.set_salts([saved[options.name]["salt"] for options in group.tables])


def export(group: TransferableGroup, slices: SliceRange, slots: Sequence[str] | None, since: int | None) -> Iterator[Chunk]:
    known = [*group.rule.element_slots, *group.rule.row_slots]
    for slot in slots or []:
        if slot not in known:
            raise CheckpointError(f"group {group.name!r} has no slot {slot!r}; it has {known}")
    row_bytes = group.dim * (1 + len(group.rule.element_slots)) * group.dtype.itemsize + 4 * len(group.rule.row_slots) + 20
    chunk_rows = max(1, _CHUNK_BYTES // row_bytes)
    for index, options in enumerate(group.tables):
        ids, rows = group.row_ids_of(index)
        wanted = torch.ones_like(ids, dtype=torch.bool)
        if (slices.begin, slices.end) != (0, NUM_SLICES):
            slice_of_id = id_map.slice_of(ids, group.map.salt(index))
            wanted &= (slice_of_id >= slices.begin) & (slice_of_id < slices.end)
        if since is not None:
            wanted &= group.blocks.meta[rows, META_LAST_CHANGED] >= since
        ids, rows = ids[wanted], rows[wanted]
        for first in range(0, ids.numel(), chunk_rows):
            chosen = slice(first, first + chunk_rows)
            weights, all_slots, meta = group.blocks.gather(rows[chosen])
            kept = {name: value.cpu() for name, value in all_slots.items() if slots is None or name in slots}
            yield Chunk(options.name, ids[chosen].contiguous().cpu(), weights.cpu(), kept, meta.cpu())


def load_chunk(group: TransferableGroup, chunk: Chunk) -> None:
    index = group.table_index(chunk.table)
    num_ids = chunk.ids.numel()
    if chunk.weights.shape != (num_ids, group.dim) or chunk.weights.dtype != group.dtype:
        raise CheckpointError(
            f"table {chunk.table!r}: a chunk of {num_ids} ids has weights {list(chunk.weights.shape)} {chunk.weights.dtype}, "
            f"expected [{num_ids}, {group.dim}] {group.dtype}"
        )
    if num_ids and chunk.ids.unique().numel() != num_ids:
        raise CheckpointError(f"table {chunk.table!r}: a chunk holds an id twice; the checkpoint is damaged")
    rows = group.insert_ids(index, chunk.ids)
    device = rows.device
    # The row may have been there before: slots the chunk does not bring start anew.
    fresh = {
        name: torch.full(shape, group.rule.first_value(name, group.tables[index].hyper), dtype=group.blocks.slot_dtype, device=device)
        for names, shape in ((group.rule.element_slots, (num_ids, group.dim)), (group.rule.row_slots, (num_ids,)))
        for name in names
        if name not in chunk.slots
    }
    slots = {name: value.to(device) for name, value in chunk.slots.items()}
    group.blocks.scatter(rows.long(), chunk.weights.to(device), {**slots, **fresh}, chunk.meta.to(device))
