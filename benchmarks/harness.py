"""What every benchmark shares: options, results, interleaved timing, the machine's copy bandwidth."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import functools
import gc
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from benchmarks.devices import copy_bandwidth as copy_bandwidth
from benchmarks.devices import device_name, flush, peak_bandwidth
from sparrow import __version__, knobs

ROOT = Path(__file__).parents[1]
# A sample during which other processes used more than this many cores is measured again, up to three times as many in all.
_NOISY_CORES = 0.2
# What glibc must be told, before a process starts, to keep the pages it frees and to take huge ones.
HUGE_MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asked for.

    data: folder of real data sets. runs: samples a median is taken of. more: options of one benchmark alone (its `arguments`).
    quick: tiny inputs, to see that everything runs and agrees; the figures then mean nothing, and no goal is looked at.
    """

    threads: int = 2
    device: str = "cpu"
    data: Path = dataclasses.field(default_factory=knobs.data_folder)
    runs: int = 7
    more: argparse.Namespace = dataclasses.field(default_factory=argparse.Namespace)
    quick: bool = False


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a throughput should reach on a GPU: MBU against the measured copy, how many times plain PyTorch, units a second."""

    mbu: float | None = None
    ratio: float | None = None
    value: float | None = None

    def __str__(self) -> str:
        parts = [
            None if self.mbu is None else f"MBU {self.mbu:.2f}",
            None if self.ratio is None else f"{self.ratio:g}x",
            None if self.value is None else f"{self.value:g}",
        ]
        return ", ".join(filter(None, parts))

    def met_by(self, result: Result) -> bool:
        pairs = ((self.mbu, result.mbu), (self.ratio, result.ratio), (self.value, result.sparrow))
        return all(wanted is None or (got is not None and got >= wanted) for wanted, got in pairs)


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of a benchmark.

    sparrow: None where nothing was measured; `note` then says why. ratio: how many times better Sparrow is.
    mbu: bytes the operation must move / time / copy bandwidth. mbu_of_peak: the same by the bandwidth that the device's maker names.
    goal: what the figure should be, for people; met: whether it is. A benchmark with a goal missed exits with 1.
    bytes: what the operation must move. seconds, peer_seconds: of one call.
    """

    case: str
    metric: str
    unit: str
    sparrow: float | None
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    mbu: float | None = None
    goal: str = ""
    met: bool | None = None
    bytes: int | None = None
    seconds: float | None = None
    peer_seconds: float | None = None
    mbu_of_peak: float | None = None
    note: str = ""

    def as_line(self, options: Options) -> dict[str, object]:
        """Return what a JSON line holds: the result, and where it was measured."""
        versions = {"sparrow": __version__, "torch": torch.__version__, "python": platform.python_version()}
        return {
            **dataclasses.asdict(self),
            "threads": options.threads,
            "device": options.device,
            "device_name": device_name(options.device),
            "versions": versions,
            "commit": commit(),
        }


def rate(
    case: str,
    items: int,
    seconds: dict[str, float],
    *,
    unit: str = "M/s",
    scale: float = 1e6,
    must_move_bytes: int = 0,
    device: str = "cpu",
) -> Result:
    """Return the result of a throughput: `seconds` holds "sparrow" and at most one peer, each for `items` items."""
    peers = [name for name in seconds if name != "sparrow"]
    own, their = seconds["sparrow"], seconds[peers[0]] if peers else None
    mine, theirs = items / own / scale, items / their / scale if their else None
    peak = peak_bandwidth(device)
    return Result(
        case,
        "throughput",
        unit,
        mine,
        peers[0] if peers else "",
        theirs,
        mine / theirs if theirs else None,
        must_move_bytes / own / copy_bandwidth(device) if must_move_bytes else None,
        bytes=must_move_bytes or None,
        seconds=own,
        peer_seconds=their,
        mbu_of_peak=must_move_bytes / own / peak if must_move_bytes and peak else None,
    )


def compared(
    options: Options,
    case: str,
    items: int,
    functions: Mapping[str, Callable[[], object]],
    *,
    unit: str = "M/s",
    must_move_bytes: int = 0,
    before: Callable[[], object] | None = None,
    goal: Goal | None = None,
) -> Result:
    """Time "sparrow" and at most one peer on the device of `options`; return the throughput of `items` items, in millions.

    before: called untimed before every sample. goal: looked at on a GPU alone.
    """
    seconds = interleaved(functions, options.runs, before=before, device=options.device)
    result = rate(case, items, seconds, unit=unit, must_move_bytes=must_move_bytes, device=options.device)
    if goal is None or options.device == "cpu" or options.quick:
        return result
    return dataclasses.replace(result, goal=str(goal), met=goal.met_by(result))


@dataclasses.dataclass(frozen=True)
class Sample(Generic[T]):
    """One timed call. others: cores that other processes used meanwhile."""

    value: T
    seconds: float
    others: float


def interleaved(
    functions: Mapping[str, Callable[[], object]], runs: int, *, before: Callable[[], object] | None = None, device: str = "cpu"
) -> dict[str, float]:
    """Return the median seconds of each function: one sample of each in turn, after one warm-up each, so that drift hits all alike.

    before: called untimed before every sample. Samples taken while others kept the cores busy are measured again; where the machine stays
    busy, the quietest are used. On "cuda" a sample is the time between two events, from caches filled with something else.
    """
    # What a function returns is dropped at once, as a step drops it: kept, it would make every sample wait for fresh memory.
    dropping = {name: functools.partial(_run, function) for name, function in functions.items()}
    samples = interleaved_samples(dropping, runs, before=before, device=device)
    return {name: statistics.median(sample.seconds for sample in taken) for name, taken in samples.items()}


def _run(function: Callable[[], object]) -> None:
    function()


def interleaved_samples(
    functions: Mapping[str, Callable[[], T]],
    runs: int,
    *,
    before: Callable[[], object] | None = None,
    warm_up: bool = True,
    device: str = "cpu",
) -> dict[str, list[Sample[T]]]:
    """Return the `runs` quietest samples of each function, taken as `interleaved` takes them."""
    samples: dict[str, list[Sample[T]]] = {name: [] for name in functions}
    for attempt in range(0 if warm_up else 1, 3 * runs + 1):
        for name, function in functions.items():
            if sum(sample.others <= _NOISY_CORES for sample in samples[name]) >= runs:
                continue
            if before is not None:
                before()
            sample = timed(function) if device == "cpu" else timed_on_gpu(function, device)
            if attempt > 0:
                samples[name].append(sample)
    return {name: sorted(taken, key=lambda sample: sample.others)[:runs] for name, taken in samples.items()}


def timed(function: Callable[[], T]) -> Sample[T]:
    busy, own, began = _busy_seconds(), _own_seconds(), time.perf_counter()
    value = function()
    seconds = time.perf_counter() - began
    return Sample(value, seconds, max(0.0, (_busy_seconds() - busy) - (_own_seconds() - own)) / max(seconds, 1e-9))


def timed_on_gpu(function: Callable[[], T], device: str) -> Sample[T]:
    """Time the work `function` gives the GPU. Its launches are queued while the caches are filled, so what they cost the host is hidden."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    flush(device)
    start.record()
    value = function()
    end.record()
    end.synchronize()
    return Sample(value, start.elapsed_time(end) / 1000, 0.0)


def _busy_seconds() -> float:
    try:
        fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, *rest = fields
    return (user + nice + system + irq + softirq + (rest[0] if rest else 0)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def zipf_ranks(num_ids: int, num_distinct: int, *, alpha: float = 1.05, seed: int = 0) -> Tensor:
    """Return ranks int64 [num_ids] in [1, num_distinct], drawn with a chance that falls as rank^-alpha."""
    uniform = torch.rand(num_ids, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    power = 1.0 - alpha
    ranks = ((((num_distinct + 1.0) ** power) - 1.0) * uniform + 1.0) ** (1.0 / power)
    return ranks.long().clamp(1, num_distinct)


def zipf_ids(num_ids: int, num_distinct: int, *, alpha: float = 1.05, seed: int = 0) -> Tensor:
    """Return int64 ids [num_ids] whose popularity falls as rank^-alpha over `num_distinct` ids, spread over all 64 bits."""
    from sparrow.ops import id_map

    return id_map.mix(zipf_ranks(num_ids, num_distinct, alpha=alpha, seed=seed), 0)


def resident_bytes() -> int:
    """Return the memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_memory_back() -> None:
    """Free what nothing refers to, and return the pages the allocator keeps."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@functools.cache
def commit() -> str:
    """Return the commit of the checkout, or an empty string outside one."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
