"""The device a benchmark runs on: its name, the bandwidth its maker names and the one a copy reaches, and its caches."""

from __future__ import annotations

import functools
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

# Bytes a second of device memory by the makers' data sheets, by the names that torch reports. A name may go on behind these words.
PEAKS = {
    "NVIDIA A100-SXM4-80GB": 2.04e12,
    "NVIDIA A100 80GB PCIe": 1.94e12,
    "NVIDIA H20": 4.0e12,
    "NVIDIA H100 80GB HBM3": 3.35e12,
    "NVIDIA H100 PCIe": 2.0e12,
    "NVIDIA H200": 4.8e12,
    "AMD Instinct MI300X": 5.3e12,
}
_COPY_BYTES = {"cpu": 1 << 28, "cuda": 1 << 30}
# More than the last-level cache of any GPU, and long enough to write that a dozen launches are queued meanwhile.
_FLUSH_BYTES = 1 << 30
_RUNS = 7


@functools.cache
def device_name(device: str) -> str:
    """Return what the device is called, e.g. "NVIDIA H200"; of a CPU its model."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def peak_bandwidth(device: str) -> float | None:
    """Return the data sheet's bytes a second, or None where it is not known, as of a CPU: what its sockets hold is not to be seen."""
    return None if device == "cpu" else peak_of(device_name(device))


def peak_of(name: str) -> float | None:
    """Return the data sheet's bytes a second of a device by its name."""
    return next((peak for known, peak in PEAKS.items() if name == known or name.startswith(f"{known} ")), None)


@functools.cache
def copy_bandwidth(device: str = "cpu") -> float:
    """Return bytes a second, read and written, of a plain copy of 256 MB (1 GiB on a GPU): the denominator of MBU.

    On a GPU the better of a copy by the driver and one by a kernel that loads and stores.
    """
    source = torch.ones(_COPY_BYTES["cpu" if device == "cpu" else "cuda"] // 4, device=device)
    target = torch.empty_like(source)
    ways: list[Callable[[], Tensor]] = [lambda: target.copy_(source)]
    if device != "cpu":
        ways.append(lambda: torch.neg(source, out=target))
    return 2 * source.numel() * 4 / min(_median_seconds(way, device) for way in ways)


def _median_seconds(function: Callable[[], object], device: str) -> float:
    seconds = []
    for _ in range(_RUNS + 1):
        _finish(device)
        began = time.perf_counter()
        function()
        _finish(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _finish(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def flush(device: str) -> None:
    """Fill the caches of a GPU with something else. Nothing waits for it."""
    _filler(device).zero_()


@functools.cache
def _filler(device: str) -> Tensor:
    return torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device=device)
