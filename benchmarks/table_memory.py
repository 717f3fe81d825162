"""table_memory: what a table of ten million rows, dim 32, Adam, takes of the memory of a fresh process.

    python -m benchmarks table_memory [--rows N] [--dim N] [--rule NAME]

The payload is weights and optimizer state of the rows; the map is what finding them takes. Ids and stamps beside the rows, and whatever
blocks, growth and the allocator hold too much, is overhead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable

import torch

from benchmarks.harness import ROOT, Options, Result, give_memory_back, resident_bytes
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.ops import id_map
from sparrow.ops.update_rows.rules import RULES
from sparrow.tables import Constant
from sparrow.types import Batch

_GOAL = 1.1
_BATCH = 65_536
_MIB = 1 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--rule", default="adam", choices=sorted(RULES))


def fill(num_rows: int, dim: int, rule: str) -> None:
    """Print, as JSON, the bytes that a table of `num_rows` rows added to this process, and its parts."""
    engine = EmbeddingEngine({"f": EmbeddingOption(dim=dim, rule=rule, initializer=Constant(0.01))})
    with torch.no_grad():
        engine(Batch.of({"f": torch.arange(64)}))  # what any first call takes: threads, code
    give_memory_back()
    before = resident_bytes()
    with torch.no_grad():
        for first in range(0, num_rows, _BATCH):
            engine(Batch.of({"f": id_map.mix(torch.arange(first + 1, min(first + _BATCH, num_rows) + 1), 0)}))
    give_memory_back()
    (group,) = engine.groups
    blocks = group.blocks
    parts = {
        "weights": blocks.weights,
        "element slots": blocks.element_slots,
        "row slots": blocks.row_slots,
        "ids": [blocks.row_ids],
        "stamps": [blocks.meta],
    }
    sizes = {name: sum(tensor.numel() * tensor.element_size() for tensor in tensors) for name, tensors in parts.items()}
    print(json.dumps({"resident": resident_bytes() - before, "map": group.map.storage_bytes(), **sizes}))


def run(options: Options) -> Iterable[Result]:
    more = options.more
    code = f"from benchmarks.table_memory import fill; fill({more.rows}, {more.dim}, {more.rule!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    sizes = json.loads(done.stdout)
    rule = RULES[more.rule]
    payload = more.rows * 4 * (more.dim * (1 + len(rule.element_slots)) + len(rule.row_slots))
    whole = payload + sizes["map"]
    case = f"{more.rows:,} rows, dim {more.dim}, {more.rule}"
    ratio = sizes["resident"] / whole
    yield Result(f"{case}: resident", "memory", "MiB", sizes.pop("resident") / _MIB, "payload + map", whole / _MIB)
    # Set for Adam at dim 32: a row of few bytes has the same ids and stamps beside it.
    held = ratio <= _GOAL if (more.rule, more.dim) == ("adam", 32) else None
    yield Result(f"{case}: resident / (payload + map)", "memory", "times", ratio, goal=f"<= {_GOAL}", met=held)
    yield Result(f"{case}: payload", "memory", "MiB", payload / _MIB)
    for part, size in sizes.items():
        yield Result(f"{case}: {part}", "memory", "MiB", size / _MIB)
