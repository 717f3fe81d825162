"""Tables that are looked up, updated and saved together: one id map, one set of row blocks, one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import ConfigError, TableError
from sparrow.ops import id_map
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.devices import device_of
from sparrow.ops.pool_update_rows.op import pool_update_rows_
from sparrow.ops.touch_rows.op import touch_rows_
from sparrow.ops.update_rows.op import update_rows_
from sparrow.tables import row_transfer
from sparrow.tables.blocks import MAX_ROWS, RowBlocks
from sparrow.tables.device_map import DeviceIdMap
from sparrow.tables.first_values import FirstValues
from sparrow.tables.growth import IdMap
from sparrow.tables.lookup import Lease, Lookup, SinkList, make_sink
from sparrow.tables.options import TableOptions
from sparrow.tables.placement import HOST, fixed, sent
from sparrow.tables.pooling import PooledGradient, Segments, pool
from sparrow.tables.recording import current_recording
from sparrow.types import ALL_SLICES, Chunk, SliceRange


class TableGroup:
    """Tables of equal (dim, dtype, initializer kind, update rule, device).

    A group is tensors and counters: nothing in it depends on an address. It is neither a module nor a parameter, so data
    parallelism does not broadcast it and `.half()` does not cast it. It implements `RowStore`.

    On a device other than the CPU a step (lookup, pool, update) never waits for it: room is made by bounds, what is counted stays there
    (docs/gpu.md). Everything else here may wait.

    Args:
        name: names the group in checkpoints; unique within a model.
        tables: at least one; their order is the order of `table_offsets` in `lookup`.
        rows_per_block: a power of two.

    Attributes:
        step: optimizer steps taken; lookups and updates stamp rows with it. Starts at 0, set by the optimizer and by loading.
        table_steps: updates each table took part in; bias correction counts these.
        sinks: the leaves waiting for gradients.
        device: where all rows live; that of the tables.
    """

    def __init__(self, name: str, tables: Sequence[TableOptions], *, rows_per_block: int = 1 << 20) -> None:
        self.name = name
        self.tables = tuple(tables)
        self._check_tables()
        first = self.tables[0]
        self.dim, self.dtype, self.rule = first.dim, first.dtype, first.update_rule
        self.step = 0
        self.table_steps = [0] * len(self.tables)
        self.seeds = [table.seed for table in self.tables]
        self.sinks = SinkList()
        self.num_leases = 0
        self._inserting = False
        self.device = torch.device(first.device)
        salts = [table.salt for table in self.tables]
        self.map = IdMap(salts) if self.device == HOST else DeviceIdMap(salts, self.device, name, [table.name for table in self.tables])
        self.blocks = RowBlocks(self.dim, self.dtype, self.rule, rows_per_block, self.device)
        self.default_row = torch.zeros(self.dim, dtype=self.dtype, device=self.device)
        # Rows of erased ids: while a lease may still update them, and after.
        self._erased: list[Tensor] = []
        self._retired: list[Tensor] = []
        self.first_values = FirstValues(self.tables, self.rule, self.device)

    def _check_tables(self) -> None:
        if not self.tables:
            raise ConfigError(f"group {self.name!r} has no tables")
        names = [table.name for table in self.tables]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"group {self.name!r}: table {name!r} is declared twice; features share a table by one TableOptions")
        first = self.tables[0]
        for table in self.tables[1:]:
            for what in ("dim", "dtype", "rule", "device"):
                if getattr(table, what) != getattr(first, what):
                    raise ConfigError(
                        f"group {self.name!r}: table {table.name!r} has {what} {getattr(table, what)}, table {first.name!r} has "
                        f"{getattr(first, what)}; tables of one group must agree"
                    )
            if table.initializer.kind != first.initializer.kind:
                raise ConfigError(f"group {self.name!r}: tables {first.name!r} and {table.name!r} have initializers of two kinds")

    @property
    def num_rows(self) -> int:
        """Rows that ids hold, of all tables; those of erased ids that a lease still protects count too."""
        return self.map.num_rows

    def num_ids(self, table: str) -> int:
        """Return how many ids `table` holds."""
        return self.map.num_ids(self.table_index(table))

    def table_index(self, table: str) -> int:
        for index, options in enumerate(self.tables):
            if options.name == table:
                return index
        raise TableError(f"group {self.name!r} has no table {table!r}; it has {[options.name for options in self.tables]}")

    # The step.

    def lookup(
        self,
        ids: Tensor | list[Tensor],
        table_offsets: Tensor,
        *,
        insert: bool,
        tables: tuple[int, ...] | None = None,
        offsets_there: Tensor | None = None,
    ) -> Lookup:
        """Return the rows of `ids`, inserting unknown ids where `insert`, else giving them row -1.

        Args:
            ids: int64 [N], or columns that hold them end to end; table 0's ids first, then table 1's, ...; any values, any duplicates.
            table_offsets: int64 [T + 1], on the CPU wherever the group lives: the host knows how many ids each table gets.
            insert: whether unknown ids get a row and their first values. Also stamps `last_used` and counts occurrences; with grad mode
                on, stamps `last_changed` too, as the rows are about to be trained.
            tables: indices of the tables that take part in this step; None means all.
            offsets_there: int64 [T + 1] on the group's device, not the CPU, where that alone knows how many ids there are: `table_offsets`
                then say how many each table may get at most, and ids beyond the last entry are none.

        On a device there is a row for each of the N ids, -1 beyond those of distinct ones: only the device knows how many these are.
        Cost: one pass to find duplicates, then one random cache line a distinct id (two where it is new).
        """
        columns = [ids] if isinstance(ids, Tensor) else ids
        self._check_devices(columns, table_offsets)
        recording = current_recording()
        if recording is not None:
            recording.looked_up(self, table_offsets, insert)
        offsets = fixed(table_offsets, self.device) if offsets_there is None else offsets_there
        unique_ids, unique_offsets, inverse, counts = dedup_ids(columns, offsets)
        stamps = insert and torch.is_grad_enabled()
        if self.device == HOST:
            unique_ids = unique_ids[: int(unique_offsets[-1])]
        if insert and isinstance(self.map, DeviceIdMap):
            rows = self._insert_on_device(self.map, unique_ids, unique_offsets, table_offsets, counts, stamps)
        elif insert:
            rows = self._insert(unique_ids, unique_offsets, counts, stamps)
        else:
            self._check_whole()
            rows = self.map.find(unique_ids, unique_offsets)
        self.num_leases += 1
        taking_part = tuple(range(len(self.tables))) if tables is None else tables
        return Lookup(rows, inverse, taking_part, self.step, Lease(self._end_lease), unique_offsets, stamps)

    def _check_devices(self, columns: list[Tensor], table_offsets: Tensor) -> None:
        # The operator refuses columns that are not all in one place.
        if columns and columns[0].device != self.device:
            raise TableError(
                f"group {self.name!r} lives on {self.device}, ids on {columns[0].device}; move them with .to({str(self.device)!r})"
            )
        if table_offsets.device != HOST:
            raise TableError(
                f"group {self.name!r}: table_offsets are on {table_offsets.device}, expected on the CPU, which makes room by them"
            )

    def _insert_on_device(
        self, map: DeviceIdMap, ids: Tensor, offsets: Tensor, table_offsets: Tensor, counts: Tensor | None, stamps: bool = False
    ) -> Tensor:
        """As `_insert`, without waiting: `table_offsets`, on the host, say how many ids there are at most."""
        recording = current_recording()
        runs = recording is None or not recording.is_capturing
        if runs:
            self.prepare_insert()
            self.reserve(map.make_room(table_offsets, self.blocks.capacity))
            self._inserting = True
        rows, new_positions, num_new = map.find_or_insert(ids, offsets)
        if runs:
            map.count_later()
        if ids.numel():
            self.first_values.give(self.blocks, self.seeds, rows, ids, offsets, new_positions, num_new)
        self._inserting = False
        if counts is not None:
            clock = None if recording is None else recording.clock(self)
            touch_rows_(self.blocks.meta, rows, counts, offsets[-1:], self.step, stamps, clock)
        return rows

    def prepare_insert(self) -> None:
        """Give back rows of erased ids that nobody updates any more. Raises `TableError` where rows have no first values."""
        self._check_whole()
        self._free_retired()

    def reserve(self, num_rows: int) -> None:
        """Take memory for `num_rows` rows in all. Raises `TableError` where that is more than there may be."""
        if num_rows > MAX_ROWS:
            raise TableError(
                f"group {self.name!r} may come to hold {num_rows} rows; row numbers are int32, so at most {MAX_ROWS}: use two engines"
            )
        self.blocks.reserve(num_rows)

    def _insert(self, ids: Tensor, offsets: Tensor, counts: Tensor | None, stamps: bool = False) -> Tensor:
        """Return the rows of distinct `ids`, new ones initialised. Grows map and blocks. counts: None touches nothing."""
        self._check_whole()
        needed = self.num_rows + ids.numel()
        if needed > MAX_ROWS:
            raise TableError(f"group {self.name!r} would hold {needed} rows; row numbers are int32, so at most {MAX_ROWS}: use two engines")
        self._free_retired()
        self._inserting = True
        rows, new_positions, num_new = self.map.find_or_insert(ids, offsets)
        if int(self.map.counters[id_map.COUNTER_FAILED]):
            raise TableError(
                f"group {self.name!r}: {int(self.map.counters[id_map.COUNTER_FAILED])} ids found no room; "
                f"this is a defect of growth, please report it"
            )
        blocks = self.blocks
        blocks.reserve(self.map.num_rows_ever)
        if int(num_new):
            self.first_values.give(self.blocks, self.seeds, rows, ids, offsets, new_positions, num_new)
        self._inserting = False
        if counts is not None:
            touch_rows_(blocks.meta, rows, counts, offsets[-1:], self.step, stamps)
        return rows

    def _check_whole(self) -> None:
        """Raise `TableError` where an insertion was interrupted: rows without first values must not be read, trained or saved."""
        if self._inserting:
            raise TableError(
                f"group {self.name!r}: an insertion was interrupted before its new rows got their first values; "
                f"build a new model and load the last checkpoint"
            )

    def _end_lease(self) -> None:
        self.num_leases -= 1
        if self.num_leases == 0 and self._erased:
            # A lease may end in the garbage collector, in the middle of anything: the rows are freed at the next insertion or erasure.
            self._retired, self._erased = [*self._retired, *self._erased], []

    def _free_retired(self) -> None:
        retired, self._retired = self._retired, []
        for rows in retired:
            self.map.free(rows)

    def erase(self, table: str, ids: Tensor) -> int:
        """Forget `ids` (int64 [n], any) of `table` and return how many of them it held.

        Their rows are handed out again once no lookup that may still update them is alive, the last erased first. An id inserted again
        gets its first values. On a device this waits for it, and so may the first insertion after the last such lookup.
        """
        offsets = torch.zeros(len(self.tables) + 1, dtype=torch.int64)
        offsets[self.table_index(table) + 1 :] = ids.numel()
        self._check_whole()
        rows = self.map.erase(ids.contiguous().to(self.device), sent(offsets, self.device))
        rows = rows[rows >= 0]
        (self._erased if self.num_leases else self._retired).append(rows)
        self._free_retired()
        return rows.numel()

    def add_table(self, table: TableOptions) -> int:
        """Add a table to the group, rows or not, and return its index."""
        self.tables = (*self.tables, table)
        try:
            self._check_tables()
        except ConfigError:
            self.tables = self.tables[:-1]
            raise
        self.table_steps.append(0)
        self.seeds.append(table.seed)
        if isinstance(self.map, DeviceIdMap):
            self.map.names.append(table.name)
        self.map.add_table(table.salt)
        self.first_values = FirstValues(self.tables, self.rule, self.device)
        return len(self.tables) - 1

    def change_rule(self, rule: str) -> None:
        """Update the rows by another rule from now on; slots both rules have stay, new ones hold their first values."""
        tables = tuple(replace(table, rule=rule, hyper={}) for table in self.tables)
        new = tables[0].update_rule
        self.blocks.change_rule(new, {slot: new.first_value(slot) for slot in (*new.element_slots, *new.row_slots)})
        self.tables, self.rule = tables, new
        self.first_values = FirstValues(self.tables, self.rule, self.device)

    def pool(self, lookup: Lookup, offsets: Tensor, combiners: Tensor, num_samples: int, weights: Tensor | None = None) -> Tensor:
        """Return the pooled rows, [num_samples, F, dim], float32 (float64 of float64 tables).

        Args:
            lookup: whose ids, in order, are the values of F features of `num_samples` rows each.
            offsets: int64 [F * num_samples + 1]: segment `feature * num_samples + sample` pools `ids[offsets[s]:offsets[s + 1]]`.
            combiners: int64 [F]: 0 sum, 1 mean, 2 sqrtn.
            weights: float32 [N], one a position, or None. All of these where the group lives.

        With grad mode on, the gradient reaches the rows through `sinks` (see `Sink`).
        """
        sink = make_sink(lookup, self.dim, self.blocks.slot_dtype)
        segments = Segments(lookup.rows, lookup.inverse, offsets, weights, combiners)
        out = pool(sink, self.blocks.weights, self.default_row, segments, num_samples)
        if out.requires_grad:
            self.sinks.add(sink)
        return out

    def prefetch(self, ids: list[Tensor], table_offsets: Tensor) -> None:
        """Tell the group that a later step will look up `ids`. A no-op while all rows live in memory; it changes no state."""

    def update(self, lookup: Lookup, grad: Tensor, hyper: Tensor) -> None:
        """Apply the group's rule to the rows of `lookup` and release its lease.

        Args:
            grad: [U, dim], summed per row, or still to be summed.
            hyper: float64 [T, 16], one row a table, as `Rule.hyper_row` makes; on the CPU, or where the group lives.
        """
        held, rule, hyper = self.blocks, self.rule, hyper if hyper.device == self.device else sent(hyper, self.device)
        recording = current_recording()
        clock = None if recording is None else recording.clock(self)
        state = (held.weights, held.element_slots, held.row_slots, held.meta, lookup.rows)
        if isinstance(grad, PooledGradient) and not grad.waiting.is_made and lookup.table_offsets is not None:
            pooled, s = grad.waiting.parts()
            stamps = not (lookup.stamped and lookup.step == self.step)
            pool_update_rows_(
                *state, lookup.table_offsets, pooled, s.inverse, s.offsets, s.position_weights, s.combiners, hyper, rule.code, self.step,
                stamps, clock,
            )  # fmt: skip
        else:
            summed = grad.waiting.value() if isinstance(grad, PooledGradient) else grad
            update_rows_(*state, summed.contiguous(), hyper, rule.code, self.step, clock)
        lookup.lease.release()

    # RowStore.

    def describe(self) -> dict[str, Any]:
        """Return what the tables are, as JSON values (see `RowStore.describe`)."""
        return row_transfer.describe(self)

    def adopt(self, description: dict[str, Any]) -> None:
        """Take over seeds, salts and step counts of a saved group of equal tables (see `RowStore.adopt`)."""
        row_transfer.adopt(self, description)

    def export(self, slices: SliceRange = ALL_SLICES, slots: Sequence[str] | None = None, since: int | None = None) -> Iterator[Chunk]:
        """Yield rows by id in canonical order (see `RowStore.export`)."""
        self._check_whole()
        return row_transfer.export(self, slices, slots, since)

    def load(self, chunks: Iterable[Chunk]) -> None:
        """Insert or replace rows by id (see `RowStore.load`)."""
        for chunk in chunks:
            row_transfer.load_chunk(self, chunk)

    def insert_ids(self, table: int, ids: Tensor) -> Tensor:
        """Return the rows, int32 [n], of distinct `ids` of one table, inserting the unknown; no occurrence is counted."""
        offsets = torch.zeros(len(self.tables) + 1, dtype=torch.int64)
        offsets[table + 1 :] = ids.numel()
        if isinstance(self.map, DeviceIdMap):
            rows = self._insert_on_device(self.map, ids.to(self.device), sent(offsets, self.device), offsets, None)
            self.map.settle()  # raises, before anything is written to rows that are none
            return rows
        return self._insert(ids, offsets, None)

    def move(self, device: torch.device | str) -> None:
        """Move all rows to `device`, through host memory a chunk at a time. Optimizers of this group go on with it.

        Raises `TableError`, and moves nothing, while a lookup may still update rows. Memory: rows are on both sides until it is done.
        """
        target = device_of(device, f"group {self.name!r}")
        if target == self.device:
            return
        if self.num_leases:
            raise TableError(
                f"group {self.name!r} cannot move to {target}: {self.num_leases} lookups may still update its rows; step the optimizer, "
                f"or drop what was computed from the tables, and move it then"
            )
        there = TableGroup(self.name, [replace(table, device=target) for table in self.tables], rows_per_block=self.blocks.rows_per_block)
        there.adopt(self.describe())
        there.load(self.export())
        self.device, self.tables, self.map, self.blocks, self.default_row = target, there.tables, there.map, there.blocks, there.default_row
        self._erased, self._retired = [], []
        self.first_values = FirstValues(self.tables, self.rule, self.device)

    def row_ids_of(self, table: int) -> tuple[Tensor, Tensor]:
        """Return (ids, rows) int64 of everything `table` holds, in canonical order."""
        rows = self.map.rows_of(table)
        ids = self.blocks.row_ids[rows]
        order = id_map.canonical_order(ids, self.map.salt(table))
        return ids[order], rows[order]

    def __reduce__(self) -> tuple[Any, ...]:
        """Called by `copy` and `pickle`: rows may fill the memory, so only a group without rows is copied."""
        if self.num_rows:
            raise TableError(
                f"group {self.name!r} holds {self.num_rows} rows and cannot be copied or pickled; "
                f"save it with sparrow.saver.Saver and load it into a new engine"
            )
        return _rebuild, (self.name, self.tables, self.blocks.rows_per_block, self.describe())


def _rebuild(name: str, tables: Sequence[TableOptions], rows_per_block: int, description: dict[str, Any]) -> TableGroup:
    group = TableGroup(name, tables, rows_per_block=rows_per_block)
    group.adopt(description)
    return group


def table_groups(module: nn.Module) -> list[TableGroup]:
    """Return the table groups of every embedding engine inside `module`, in order of registration, each once."""
    held = [group for part in module.modules() for group in getattr(part, "groups", ()) if isinstance(group, TableGroup)]
    return list({id(group): group for group in held}.values())
