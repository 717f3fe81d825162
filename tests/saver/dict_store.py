"""A `RowStore` that is obviously right, content that is a function of the step, and what it takes to compare checkpoints."""

import math
from dataclasses import dataclass, field

import torch

from sparrow.saver import Saver
from sparrow.types import ALL_SLICES, Chunk


@dataclass
class Table:
    """rows: id -> (weights [dim], slot name -> float32 (float64 beside such weights) [dim] or [], meta int32 [3])."""

    dim: int = 3
    dtype: torch.dtype = torch.float32
    rule: str = "adam"
    element_slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
    row_slots: tuple[str, ...] = ()
    rows: dict = field(default_factory=dict)
    seed: int = 0


class DictStore:
    """Rows in dicts. Counts how often it was changed, so that a test can tell that it was not."""

    def __init__(self, tables, chunk_rows=4):
        self.tables, self.chunk_rows, self.num_changes = tables, chunk_rows, 0

    def describe(self):
        return {
            "step": 7,
            "tables": [
                {
                    "name": name,
                    "dim": table.dim,
                    "dtype": str(table.dtype).removeprefix("torch."),
                    "initializer": "normal",
                    "rule": table.rule,
                    "slots": [*table.element_slots, *table.row_slots],
                    "seed": table.seed,
                    "salt": -(2**63),
                    "num_rows": len(table.rows),
                    "step": 7,
                }
                for name, table in self.tables.items()
            ],
        }

    def adopt(self, description):
        self.num_changes += 1
        for saved in description["tables"]:
            self.tables[saved["name"]].seed = saved["seed"]

    def export(self, slices=ALL_SLICES, slots=None, since=None):
        for name, table in self.tables.items():
            ids = sorted(table.rows)
            for first in range(0, len(ids), self.chunk_rows):
                part = ids[first : first + self.chunk_rows]
                weights, slot_rows, meta = zip(*(table.rows[id_] for id_ in part), strict=True)
                stacked = {slot: torch.stack([row[slot] for row in slot_rows]) for slot in (*table.element_slots, *table.row_slots)}
                yield Chunk(name, torch.tensor(part), torch.stack(weights), stacked, torch.stack(meta))

    def load(self, chunks):
        self.num_changes += 1
        for chunk in chunks:
            for index, id_ in enumerate(chunk.ids.tolist()):
                slots = {name: slot[index] for name, slot in chunk.slots.items()}
                self.tables[chunk.table].rows[id_] = (chunk.weights[index], slots, chunk.meta[index])


def fill(table, num_rows, seed):
    """Give `table` rows that are a function of the seed, the extreme ids among them."""
    generator = torch.Generator().manual_seed(seed)
    slot_dtype = torch.float64 if table.dtype == torch.float64 else torch.float32
    ids = [0, -1, -(2**63), 2**63 - 1][:num_rows] + [int(torch.randint(1, 2**62, (), generator=generator)) for _ in range(num_rows - 4)]
    for id_ in ids:
        slots = {slot: torch.rand(table.dim, generator=generator, dtype=slot_dtype) for slot in table.element_slots}
        slots |= {slot: torch.rand((), generator=generator, dtype=slot_dtype) for slot in table.row_slots}
        meta = torch.randint(-(2**31), 2**31, (3,), generator=generator).int()
        table.rows[id_] = (torch.randn(table.dim, generator=generator).to(table.dtype), slots, meta)
    return table


def new_stores(seed=None, num_rows=10):
    """Stores of one shape: empty, or filled as a function of the seed."""
    stores = {
        "group": DictStore({"user": Table(), "item/ä": Table(row_slots=("accumulator",), element_slots=())}),
        "wide": DictStore({"user": Table(dim=5, dtype=torch.float64, rule="sgd", element_slots=())}),
    }
    if seed is not None:
        for store in stores.values():
            for place, table in enumerate(store.tables.values()):
                table.seed = seed
                fill(table, num_rows, 10 * seed + place)
    return stores


def new_dense(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "mlp.0.weight": torch.rand(4, 3, generator=generator),
        "mlp.0.bias": torch.rand(4, generator=generator),
        "empty": torch.zeros(0, 2),
    }


def new_state(seed):
    return {"step": seed, "optimizer": {"state": {0: {"exp_avg": torch.full((3,), float(seed))}}, "betas": (0.9, math.inf)}, "reader": None}


def save(folder, step, keep=3):
    return Saver(folder, keep).save(step, new_stores(step), new_dense(step), new_state(step))


def same(a, b):
    """Equality of nested values: types, order of keys, bits of floats (any nan equals any nan) and of tensors."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    return a == b


def rows_of(stores):
    return {name: {table: (rows.seed, rows.rows) for table, rows in store.tables.items()} for name, store in stores.items()}


def check_whole(path):
    """Load a checkpoint made by `save` and compare everything with what was saved at its step; return the step."""
    stores = new_stores()
    loaded = Saver(path.parent).load(path, stores)
    expected = {
        name: {table: (seed, dict(sorted(rows.items()))) for table, (seed, rows) in tables.items()}
        for name, tables in rows_of(new_stores(loaded.step)).items()
    }
    assert same(rows_of(stores), expected)
    assert same(loaded.dense, dict(sorted(new_dense(loaded.step).items())))
    assert same(loaded.state, new_state(loaded.step))
    return loaded.step
