"""From ids to vectors: all features of a table group in one lookup and one pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.embedding.columns import Plan, concatenate, one_by_one
from sparrow.embedding.embedded import Embedded
from sparrow.embedding.options import COMBINERS, EmbeddingOption
from sparrow.embedding.packed import check_captured, packed, packed_one_by_one
from sparrow.errors import ConfigError, TableError
from sparrow.tables import Lookup, TableGroup, TableOptions
from sparrow.tables.options import stable_seed
from sparrow.tables.placement import sent
from sparrow.tables.recording import current_recording
from sparrow.types import Batch, Ragged


class EmbeddingEngine(nn.Module):
    """Embeds features by dynamic tables: a row for every id ever seen in training, none for others.

    Rows are inserted when the module is in training mode and only read in eval mode, whatever the grad mode; an id without a row
    reads zeros. Tables are neither parameters nor buffers: `parameters()` is empty, `.half()` leaves them alone, and
    `state_dict()` holds a description. `SparseOptimizer(model)` trains them, `Saver` saves them.

    Args:
        options: feature name -> how it is embedded.
        seed: of all first values, mixed with each table's name.
        name: prefix of the group names, unique among the engines of a model.
        rows_per_block: rows allocated at a time, a power of two.

    Attributes:
        groups: the table groups. Tables of equal (dim, dtype, initializer kind, rule, device) form one.
    """

    def __init__(
        self, options: Mapping[str, EmbeddingOption], *, seed: int = 0, name: str = "embedding", rows_per_block: int = 1 << 20
    ) -> None:
        super().__init__()
        if not options:
            raise ConfigError("EmbeddingEngine needs at least one feature")
        self.options = dict(options)
        members: dict[tuple[Any, ...], dict[str, TableOptions]] = {}
        self._group_of_table: dict[str, TableGroup] = {}
        for feature, option in options.items():
            table = _table_options(feature, option, seed)
            key = (table.dim, str(table.dtype).removeprefix("torch."), table.initializer.kind, table.rule, table.device)
            known = next((tables[table.name] for tables in members.values() if table.name in tables), None)
            if known is not None and known != table:
                raise ConfigError(f"feature {feature!r}: table {table.name!r} was declared as {known}, now as {table}; they must agree")
            members.setdefault(key, {})[table.name] = table
        self.groups: list[TableGroup] = []
        for (dim, dtype, kind, rule, device), tables in members.items():
            group_name = f"{name}.dim{dim}.{dtype}.{kind}.{rule}"
            # A checkpoint does not say where tables lived: only where they are divided among devices do these tell groups apart.
            if any(group.name == group_name for group in self.groups):
                group_name += f".{device}"
            self.groups.append(TableGroup(group_name, list(tables.values()), rows_per_block=rows_per_block))
        for group in self.groups:
            self._group_of_table.update({table.name: group for table in group.tables})
        self._plans: dict[tuple[str, ...], list[Plan]] = {}

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, batch: Batch) -> Embedded:
        """Return the vectors of every feature, [rows, dim], rows being those of the feature's batch group. Combiner "tile" gives [rows,
        tile_len, dim]; "none" a `Ragged` of [ids, dim], or for dense ids their shape and dim.

        Columns are integers, widened to int64: dense [rows] (one id each) or [rows, width], or `Ragged` of one level.
        Raises `DataError` naming the feature.
        """
        if torch.is_inference_mode_enabled():
            # What tables and plans keep must serve training later, which refuses tensors made in inference mode.
            with torch.inference_mode(False), torch.no_grad():
                return self._forward(batch)
        return self._forward(batch)

    def _forward(self, batch: Batch) -> Embedded:
        places: dict[str, tuple[Tensor, int]] = {}
        apart: dict[str, Tensor | Ragged] = {}
        plans = self._plans_for(batch)
        if current_recording() is not None:
            check_captured(plans, self.options)
        for plan in plans:
            if plan.pooled:
                pooled = self._embed(plan, batch)
                places.update({feature: (pooled, index) for index, feature in enumerate(plan.features)})
            else:
                apart.update(self._embed_apart(plan, batch))
        return Embedded(places, apart)

    def prefetch(self, batch: Batch) -> None:
        """Announce the ids of a later batch to the tables. A no-op while all rows live in memory."""
        for plan in self._plans_for(batch):
            ids, table_offsets, *_ = concatenate(plan, batch) if plan.pooled else one_by_one(plan, batch, self.options)
            plan.group.prefetch(ids, table_offsets)

    def _embed(self, plan: Plan, batch: Batch) -> Tensor:
        if current_recording() is None:
            (ids, table_offsets, segments, weights), offsets_there = concatenate(plan, batch), None
        else:
            ids, table_offsets, offsets_there, segments, weights = packed(plan, batch)
        lookup = self._lookup(plan, ids, table_offsets, offsets_there)
        num_rows = batch.groups[plan.batch_group].num_rows
        return plan.group.pool(lookup, segments, plan.combiners, num_rows, weights)

    def _lookup(self, plan: Plan, ids: list[Tensor], table_offsets: Tensor, offsets_there: Tensor | None) -> Lookup:
        tables = tuple(sorted(set(plan.tables)))
        return plan.group.lookup(ids, table_offsets, insert=self.training, tables=tables, offsets_there=offsets_there)

    def _embed_apart(self, plan: Plan, batch: Batch) -> dict[str, Tensor | Ragged]:
        if current_recording() is None:
            (ids, table_offsets, segments, parts), offsets_there = one_by_one(plan, batch, self.options), None
        else:
            ids, table_offsets, offsets_there, segments, parts = packed_one_by_one(plan, batch)
        lookup = self._lookup(plan, ids, table_offsets, offsets_there)
        vectors = plan.group.pool(lookup, segments, torch.zeros(1, dtype=torch.int64, device=segments.device), segments.numel() - 1)[:, 0]
        pieces = vectors.split([part.num_segments for part in parts])
        return {feature: part.shaped(piece) for feature, part, piece in zip(plan.features, parts, pieces, strict=True)}

    def _plans_for(self, batch: Batch) -> list[Plan]:
        """Return the plans of each (table group, batch group); remembered by where the batch keeps the features."""
        where = tuple(_batch_group_of(batch, feature) for feature in self.options)
        if where not in self._plans:
            self._plans[where] = [
                plan
                for group in self.groups
                for batch_group in dict.fromkeys(where)
                for pooled in (True, False)
                if (
                    plan := self._plan(
                        group, batch_group, pooled, [f for f, w in zip(self.options, where, strict=True) if w == batch_group]
                    )
                )
            ]
        return self._plans[where]

    def _plan(self, group: TableGroup, batch_group: str, pooled: bool, candidates: list[str]) -> Plan | None:
        chosen = [
            (group.table_index(self._table_of(feature)), feature)
            for feature in candidates
            if self._group_of_table[self._table_of(feature)] is group and self.options[feature].pools == pooled
        ]
        if not chosen:
            return None
        chosen.sort(key=lambda pair: pair[0])  # stable: features of one table keep the order of declaration
        tables, features = zip(*chosen, strict=True)
        combiners = torch.tensor([COMBINERS[self.options[feature].combiner] for feature in features] if pooled else [])
        return Plan(group, batch_group, features, tables, sent(combiners, group.device), pooled)

    def _table_of(self, feature: str) -> str:
        return self.options[feature].table or feature

    # Module semantics.

    def _apply(self, fn: Any, recurse: bool = True) -> EmbeddingEngine:
        """Called by `.to()`, `.cuda()`, `.half()`: tables do not move or change dtype by it."""
        for group in self.groups:
            moved = fn(torch.empty(1, device=group.device))
            if moved.device != group.device:
                raise TableError(
                    f"embedding tables cannot be moved to {moved.device} by .to(); group {group.name!r} lives on {group.device}. Call "
                    f"engine.move_tables({str(moved.device)!r}), or save with sparrow.saver.Saver and load into an engine "
                    f"built for that device"
                )
        moved = fn(torch.empty(1))
        if moved.device.type == "cpu" and moved.is_shared():
            raise TableError("embedding tables cannot be put into shared memory; every process builds its own engine")
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def move_tables(self, device: torch.device | str) -> None:
        """Move the rows of all tables to `device`, as `TableGroup.move` does, with its errors: groups not yet moved then stay."""
        for group in self.groups:
            group.move(device)
        self.options = {feature: replace(option, device=device) for feature, option in self.options.items()}
        self._plans.clear()

    def get_extra_state(self) -> dict[str, Any]:
        """Return the description that `state_dict()` holds in place of rows."""
        return {"groups": [group.describe() for group in self.groups]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Check that `state` describes tables like these. Rows come by `Saver.load`, not by `load_state_dict`."""
        mine = {group.name: {table.name for table in group.tables} for group in self.groups}
        saved = {group["name"]: {table["name"] for table in group["tables"]} for group in state["groups"]}
        if mine != saved:
            raise TableError(f"the state is of tables {saved}, this engine has {mine}; build the model the state was saved from")
        for group, described in zip(self.groups, state["groups"], strict=True):
            num_rows = sum(table["num_rows"] for table in described["tables"])
            if num_rows and not group.num_rows:
                raise TableError(
                    f"the state describes {num_rows} rows of {group.name!r} and holds none of them: a state_dict carries no rows; "
                    f"save with sparrow.saver.Saver and load its checkpoint by Saver.load before load_state_dict"
                )

    def extra_repr(self) -> str:
        return "\n".join(f"{group.name}: {len(group.tables)} tables, {group.num_rows} rows" for group in self.groups)


def _table_options(feature: str, option: EmbeddingOption, seed: int) -> TableOptions:
    name = option.table or feature
    return TableOptions(
        name=name,
        dim=option.dim,
        dtype=option.dtype,
        initializer=option.initializer,
        rule=option.rule,
        hyper=dict(option.hyper),
        seed=stable_seed("table", seed, name),
        device=option.device,
    )


def _batch_group_of(batch: Batch, feature: str) -> str:
    for name, group in batch.groups.items():
        if feature in group.columns:
            return name
    batch.group_of(feature)  # raises, naming the nearest column
    raise AssertionError("group_of raises for a column the batch does not have")
