"""id_map: ten million ids inserted, Zipf batches found or inserted, uniform ids found, beside C++ hash maps.

    python -m benchmarks id_map [--include DIR ...] [--maps NAME,...] [--huge-malloc] [--rows N]

The maps are those whose headers the compiler finds (see README.md for how to get them). They take one id after another on one thread, timed
by its CPU clock, as Sparrow is on one thread; more threads are timed by the wall. New ids get consecutive row numbers in all of them, and
all must hand out the same. Everyone grows a map twice and is timed the second time: on a virtual machine the first also pays for the host
that fetches the memory, several times what growth costs. Zipf(1.05) runs over 2^56 ranks: about a third of the ids are not among those
inserted before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Options, Result, Sample, give_memory_back, interleaved_samples, zipf_ids
from benchmarks.native_program import compiled
from sparrow.ops import id_map
from sparrow.tables.growth import IdMap

_ZIPF_RANKS = 1 << 56
_NUM_BATCHES = 8
_GOAL_BYTES = 24
_ABSL_LIBRARIES = ("-labsl_raw_hash_set", "-labsl_hash", "-labsl_city", "-labsl_low_level_hash")
MEASURES = {"grow": "insert, growing", "reserved": "insert, reserved", "zipf": "Zipf, find or insert", "find": "uniform, find"}
Figures = dict[str, float]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--include", action="append", default=[], metavar="DIR", help="folder of headers of hash maps; may be repeated")
    parser.add_argument("--maps", help="names of the maps to time, by commas; all that are found by default")
    parser.add_argument("--rows", type=int, default=10_000_000, help="ids inserted")
    parser.add_argument("--batch", type=int, default=262_144, help="ids a batch")


class _Workload:
    """Whole batches of ids: `known` are inserted, `zipf` found or inserted after them, `uniform` are among the known."""

    def __init__(self, num_rows: int, batch: int) -> None:
        self.batch = batch
        generator = torch.Generator().manual_seed(20)
        num_known = max(num_rows // batch, 1) * batch
        self.known = id_map.mix(torch.randperm(num_known, generator=generator) + 1, 0)
        self.zipf = zipf_ids(_NUM_BATCHES * batch, _ZIPF_RANKS, seed=21)
        self.uniform = self.known[torch.randint(num_known, (_NUM_BATCHES * batch,), generator=generator)]

    def save(self, folder: Path) -> None:
        for name in ("known", "zipf", "uniform"):
            getattr(self, name).numpy().tofile(folder / f"{name}.i64")


def _sparrow(workload: _Workload, threads: int) -> Figures:
    """Return seconds, bytes an id and the check sum of all rows, as the C++ program prints them."""
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    offsets = torch.tensor([0, workload.batch])

    def each(ids: Tensor, call: Callable[[Tensor], Tensor]) -> tuple[list[float], list[Tensor]]:
        seconds, rows = [], []
        for batch in ids.split(workload.batch):
            began = clock()
            rows.append(call(batch))
            seconds.append(clock() - began)
        return seconds, rows

    _grow(workload, offsets, clock)
    grow, sizes = _grow(workload, offsets, clock)
    began = clock()
    reserved = IdMap([7])
    reserved.reserve(0, workload.known.numel())
    making = clock() - began
    insert, _ = each(workload.known, lambda batch: reserved.find_or_insert(batch, offsets)[0])
    find, found = each(workload.uniform, lambda batch: reserved.find(batch, offsets))
    zipf, given = each(workload.zipf, lambda batch: reserved.find_or_insert(batch, offsets)[0])
    return {
        "grow": sum(grow),
        "reserved": making + sum(insert),
        "zipf": statistics.median(zipf),
        "find": statistics.median(find),
        "worst": max(grow) / statistics.median(grow),
        "bytes": statistics.mean(sizes),
        "check": _check_sum(torch.cat([*found, *given])),
    }


def _grow(workload: _Workload, offsets: Tensor, clock: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Insert every known id into an empty map; return the seconds of each batch, and the bytes an id at ten sizes."""
    growing, seconds, sizes = IdMap([7]), [], []
    for number, batch in enumerate(workload.known.split(workload.batch), 1):
        began = clock()
        growing.find_or_insert(batch, offsets)
        seconds.append(clock() - began)
        before, after = ((number - earlier) * workload.batch * 10 // workload.known.numel() for earlier in (1, 0))
        if after != before:
            sizes.append(growing.storage_bytes() / (number * workload.batch))
    return seconds, sizes


def _check_sum(rows: Tensor) -> int:
    """Return the C++ program's check sum: every row times a number of its position, modulo 2^64."""
    numbers = (rows.long() + 1).numpy().astype(np.uint64)
    positions = np.arange(numbers.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return int((numbers * positions).sum(dtype=np.uint64))


def _peers(options: Options) -> tuple[Path, list[str]]:
    """Return the program and the maps it was compiled with."""
    includes = [f"-I{folder}" for folder in options.more.include]
    try:
        program = compiled("id_map_peers", [*includes, *_ABSL_LIBRARIES])
    except subprocess.CalledProcessError:
        program = compiled("id_map_peers", includes)  # no absl libraries here: then its headers are not either
    found = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    wanted = options.more.maps.split(",") if options.more.maps else found
    for name in wanted:
        if name not in found:
            print(f"no headers of {name}: it is left out", flush=True)
    return program, [name for name in found if name in wanted]


def _peer(program: Path, folder: Path, name: str, batch: int) -> Figures:
    done = subprocess.run([program, folder, name, str(batch)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def run(options: Options) -> Iterable[Result]:
    workload = _Workload(options.more.rows, options.more.batch)
    program, names = _peers(options)
    mine = {f"sparrow, {threads} thread{'s' * (threads > 1)}": threads for threads in dict.fromkeys([1, options.threads])}
    with tempfile.TemporaryDirectory() as folder:
        workload.save(Path(folder))
        systems: dict[str, Callable[[], Figures]] = {name: partial(_peer, program, Path(folder), name, workload.batch) for name in names}
        systems |= {name: partial(_sparrow, workload, threads) for name, threads in mine.items()}
        # A sample takes seconds and starts from nothing: there is nothing to warm up.
        samples = interleaved_samples(systems, options.runs, before=give_memory_back, warm_up=False)
    checks = {name: {sample.value["check"] for sample in taken} for name, taken in samples.items()}
    assert len(set.union(*checks.values())) == 1, f"rows handed out differ: {checks}"
    yield from _results(workload, samples, list(mine))


def _results(workload: _Workload, samples: dict[str, list[Sample[Figures]]], mine: list[str]) -> Iterable[Result]:
    def median(name: str, measure: str) -> float:
        return statistics.median(sample.value[measure] for sample in samples[name])

    def compared(
        case: str, measure: str, unit: str, name: str, scale: float, *, lower: bool, goal: float | None = None
    ) -> Iterable[Result]:
        """Yield Sparrow's `name` beside every peer, best first; beside the best one only where it is not the first of `mine`."""
        figures = {other: scale * median(other, measure) ** (1 if lower else -1) for other in samples}
        value = figures[name]
        if goal is not None:
            yield Result(case, measure, unit, value, goal=f"<= {goal:g}", met=value <= goal)
        elif not peers:
            yield Result(case, measure, unit, value)
        best = sorted(peers, key=figures.__getitem__, reverse=not lower)
        for peer in best[: None if name == mine[0] else 1]:
            ratio = figures[peer] / value if lower else value / figures[peer]
            yield Result(case, measure, unit, value, peer, figures[peer], ratio)

    items = {"grow": workload.known.numel(), "reserved": workload.known.numel(), "zipf": workload.batch, "find": workload.batch}
    peers = [name for name in samples if name not in mine]
    for measure, what in MEASURES.items():
        for name in mine:
            yield from compared(f"{what}: {name}", measure, "M ids/s", name, items[measure] / 1e6, lower=False)
    for name in mine:
        yield from compared(f"growing, worst over median batch: {name}", "worst", "times", name, 1.0, lower=True)
    yield from compared("bytes an id, mean of ten sizes", "bytes", "bytes", mine[0], 1.0, lower=True, goal=_GOAL_BYTES)
