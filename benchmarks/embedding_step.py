"""embedding_step: forward, backward and update of 26 tables of a million rows, beside fbgemm and torch.

    python -m benchmarks embedding_step [--cells "one-hot 16 adam,..."] [--peers NAME,...] [--no-stages] [--huge-malloc]

Sparrow finds arbitrary 64-bit ids in its map; the peers are given row numbers. Everyone agrees with a float64 computation to 1e-6 first.
A sample is six steps of different data. Peers come one at a time, in turn with Sparrow, so that two sets of tables fill the memory.
"lines" is the share of the time in which this machine reads as many random cache lines as the step must reach.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.embedding_peers import PEERS, Sparrow, System
from benchmarks.embedding_workload import NUM_STEPS, Cell, Step, expected, steps_of
from benchmarks.harness import Options, Result, copy_bandwidth, give_memory_back, interleaved
from benchmarks.native_program import random_line_rate
from sparrow.ops.update_rows.rules import RULES

_TOLERANCE = 1e-6
_OPS = {
    "dedup_ids": "dedup", "find": "find", "find_or_insert_": "find", "touch_rows_": "touch", "gather_pool": "gather",
    "pool_backward": "backward", "update_rows_": "update", "pool_update_rows_": "update",
}  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cells", help="cases, by commas, as they are printed; all of them by default")
    parser.add_argument("--peers", help="names or their beginnings, by commas; all that are installed by default")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows a table (dim 64 with Adam: two fifths)")
    parser.add_argument("--batch", type=int, default=8192, help="samples a step")
    parser.add_argument("--tables", type=int, default=26)
    parser.add_argument("--no-stages", action="store_true", help="leave out the milliseconds of each stage")


def _cells(options: Options) -> list[Cell]:
    more = options.more
    cells = []
    for multi in (False, True):
        for dim in (16, 64):
            for rule in ("rowwise_adagrad", "adam"):
                rows = more.rows * 2 // 5 if dim == 64 and rule == "adam" else more.rows
                cells.append(Cell(multi, dim, rule, rows, more.batch, more.tables))
    wanted = more.cells.split(",") if more.cells else [str(cell) for cell in cells]
    unknown = set(wanted) - {str(cell) for cell in cells}
    assert not unknown, f"no cells {sorted(unknown)}; there are {[str(cell) for cell in cells]}"
    return [cell for cell in cells if str(cell) in wanted]


def check(kind: type[System], rule: str) -> None:
    """Compare three steps on small tables with float64 arithmetic. Raises `AssertionError` with the largest difference."""
    cell = Cell(True, 16, rule, rows=500, batch=64, tables=4)
    steps = steps_of(cell, 3)
    system = kind(cell)
    for step, output in zip(steps, expected(cell, steps, eps_of_torch=kind.eps_of_torch), strict=True):
        error = float((system.take(system.prepare(step)).detach().double() - output).abs().max())
        assert error < _TOLERANCE, f"{kind.name}, {rule}: off by {error}"


def run(options: Options) -> Iterable[Result]:
    chosen = [kind for kind in PEERS if not options.more.peers or kind.name.startswith(tuple(options.more.peers.split(",")))]
    for kind in chosen:
        if kind.missing():
            print(f"{kind.missing()} is not installed: {kind.name} is left out", flush=True)
    peers = [kind for kind in chosen if not kind.missing()]
    for cell in _cells(options):
        if cell.rule not in RULES:
            print(f"no update rule {cell.rule!r} yet: {cell} is left out", flush=True)
            continue
        yield from _measure(cell, [kind for kind in peers if cell.rule in kind.rules], options)
        give_memory_back()


def _measure(cell: Cell, peers: list[type[System]], options: Options) -> Iterable[Result]:
    kinds: list[type[System]] = [Sparrow, *peers]
    for kind in kinds:
        check(kind, cell.rule)
    steps = steps_of(cell)
    sparrow = Sparrow(cell)
    mine = _six_steps(sparrow, steps)
    times = []
    for kind in peers:
        times.append((kind.name, interleaved({"sparrow": mine, kind.name: _six_steps(kind(cell), steps)}, options.runs)))
        give_memory_back()
    times.sort(key=lambda pair: pair[1][pair[0]])
    for name, seconds in times or [("", interleaved({"sparrow": mine}, options.runs))]:
        yield from _compared(cell, steps, name, seconds, options, fastest=name == times[0][0] if times else True)
    if not options.more.no_stages:
        yield from _stages(cell, mine, options.runs)


def _six_steps(system: System, steps: list[Step]) -> Callable[[], None]:
    prepared = [system.prepare(step) for step in steps]

    def take() -> None:
        for one in prepared:
            system.take(one)

    return take


def _compared(cell: Cell, steps: list[Step], name: str, seconds: dict[str, float], options: Options, fastest: bool) -> Iterable[Result]:
    samples = cell.batch * len(steps)
    ours, theirs = samples / seconds["sparrow"], samples / seconds[name] if name else None
    mbu = sum(step.must_move_bytes(cell) for step in steps) / seconds["sparrow"] / copy_bandwidth()
    yield Result(str(cell), "throughput", "1/s", ours, name, theirs, ours / theirs if theirs else None, mbu)
    if fastest:
        lines = sum(step.random_lines(cell) for step in steps) / random_line_rate(options.threads) / seconds["sparrow"]
        yield Result(f"{cell}, lines", "share of the bound", "share", lines)


class _OpTimes(TorchDispatchMode):
    """Adds up the seconds of every operator of Sparrow, below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: dict[str, float] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, name = func.name().split("::")
        began = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        if namespace == "sparrow":
            stage = _OPS.get(name, name)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began
        return result


def _stages(cell: Cell, take: Callable[[], None], runs: int) -> Iterable[Result]:
    """Yield the milliseconds a step spends in each operator, and outside of them: of a step nobody looks into, less the operators."""
    whole = interleaved({"sparrow": take}, runs)["sparrow"]
    passes: list[dict[str, float]] = []
    for _ in range(runs):
        with _OpTimes() as times:
            take()
        passes.append(times.seconds)
    spent = {stage: statistics.median(one[stage] for one in passes) for stage in passes[0]}
    for stage, seconds in {**spent, "rest": whole - sum(spent.values())}.items():
        yield Result(f"{cell}, {stage}", "stage", "ms", 1000 * seconds / NUM_STEPS)
