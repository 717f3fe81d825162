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
    """

    threads: int = 2
    device: str = "cpu"
    data: Path = dataclasses.field(default_factory=knobs.data_folder)
    runs: int = 7
    more: argparse.Namespace = dataclasses.field(default_factory=argparse.Namespace)


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of a benchmark.

    ratio: how many times better Sparrow is. mbu: bytes the operation must move / time / copy bandwidth.
    goal: what the figure should be, for people; met: whether it is. A benchmark with a goal missed exits with 1.
    """

    case: str
    metric: str
    unit: str
    sparrow: float
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    mbu: float | None = None
    goal: str = ""
    met: bool | None = None

    def as_line(self, options: Options) -> dict[str, object]:
        """Return what a JSON line holds: the result, and where it was measured."""
        versions = {"sparrow": __version__, "torch": torch.__version__, "python": platform.python_version()}
        return {**dataclasses.asdict(self), "threads": options.threads, "device": options.device, "versions": versions, "commit": commit()}


def rate(case: str, items: int, seconds: dict[str, float], *, unit: str = "M/s", scale: float = 1e6, must_move_bytes: int = 0) -> Result:
    """Return the result of a throughput: `seconds` holds "sparrow" and at most one peer, each for `items` items."""
    peers = [name for name in seconds if name != "sparrow"]
    mine = items / seconds["sparrow"] / scale
    theirs = items / seconds[peers[0]] / scale if peers else None
    mbu = must_move_bytes / seconds["sparrow"] / copy_bandwidth() if must_move_bytes else None
    return Result(case, "throughput", unit, mine, peers[0] if peers else "", theirs, mine / theirs if theirs else None, mbu)


@dataclasses.dataclass(frozen=True)
class Sample(Generic[T]):
    """One timed call. others: cores that other processes used meanwhile."""

    value: T
    seconds: float
    others: float


def interleaved(
    functions: Mapping[str, Callable[[], object]], runs: int, *, before: Callable[[], object] | None = None
) -> dict[str, float]:
    """Return the median seconds of each function: one sample of each in turn, after one warm-up each, so that drift hits all alike.

    before: called untimed before every sample. Samples taken while others kept the cores busy are measured again; where the machine stays
    busy, the quietest are used.
    """
    # What a function returns is dropped at once, as a step drops it: kept, it would make every sample wait for fresh memory.
    dropping = {name: functools.partial(_run, function) for name, function in functions.items()}
    samples = interleaved_samples(dropping, runs, before=before)
    return {name: statistics.median(sample.seconds for sample in taken) for name, taken in samples.items()}


def _run(function: Callable[[], object]) -> None:
    function()


def interleaved_samples(
    functions: Mapping[str, Callable[[], T]], runs: int, *, before: Callable[[], object] | None = None, warm_up: bool = True
) -> dict[str, list[Sample[T]]]:
    """Return the `runs` quietest samples of each function, taken as `interleaved` takes them."""
    samples: dict[str, list[Sample[T]]] = {name: [] for name in functions}
    for attempt in range(0 if warm_up else 1, 3 * runs + 1):
        for name, function in functions.items():
            if sum(sample.others <= _NOISY_CORES for sample in samples[name]) >= runs:
                continue
            if before is not None:
                before()
            sample = timed(function)
            if attempt > 0:
                samples[name].append(sample)
    return {name: sorted(taken, key=lambda sample: sample.others)[:runs] for name, taken in samples.items()}


def timed(function: Callable[[], T]) -> Sample[T]:
    busy, own, began = _busy_seconds(), _own_seconds(), time.perf_counter()
    value = function()
    seconds = time.perf_counter() - began
    return Sample(value, seconds, max(0.0, (_busy_seconds() - busy) - (_own_seconds() - own)) / max(seconds, 1e-9))


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


@functools.cache
def copy_bandwidth() -> float:
    """Return bytes a second, read and written, of a plain copy of 256 MB: the denominator of MBU."""
    source = torch.ones(1 << 26)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / interleaved({"copy": lambda: target.copy_(source)}, 7)["copy"]


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
