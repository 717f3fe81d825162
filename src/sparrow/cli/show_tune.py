"""What `sparrow tune` does and prints."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch
from rich.console import Console

from sparrow.errors import ConfigError, did_you_mean
from sparrow.ops.devices import device_of
from sparrow.ops.tiles import Tile, tiles_file, write_tiles
from sparrow.ops.tune_tiles import seconds_on_gpu, tune
from sparrow.ops.update_rows.rules import RULES

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def tune_device(device: str, dims: Sequence[int], dtypes: Sequence[str], rules: Sequence[str]) -> None:
    """Measure the tiles of these rows on a CUDA device, print what was found, and keep each as soon as it is known."""
    for name, values, known in (("--dtype", dtypes, _DTYPES), ("--rule", rules, RULES)):
        for value in values:
            if value not in known:
                raise ConfigError(f"{name} {value}: not known{did_you_mean(value, known)}; expected one of {', '.join(known)}")
    for dim in dims:
        if not 1 <= dim <= 4096:
            raise ConfigError(f"--dim {dim}: expected 1 to 4096 values a row")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: torch finds no CUDA device here, and there is nothing to tune on a CPU")
    place = device_of(device, "sparrow tune")
    if place.type != "cuda":
        raise ConfigError(f"--device {device}: tiles are of kernels of a GPU; on a CPU there is nothing to choose")
    if importlib.util.find_spec("triton") is None:
        raise ConfigError("triton is not installed; install the release that belongs to this torch")
    console, path = Console(), tiles_file(place)
    with torch.cuda.device(place):
        for found in tune(place, dims, [_DTYPES[name] for name in dtypes], rules, measure=seconds_on_gpu):
            write_tiles(path, {found.key: found.best})
            gain = (
                f"{found.rule_seconds / found.best_seconds:.2f} times as fast as {_text(found.rule)}"
                if found.best != found.rule
                else "the rule"
            )
            console.print(f"{found.key}: {_text(found.best)}, {found.best_seconds * 1e6:.1f} us, {gain}", highlight=False, soft_wrap=True)
    console.print(f"tiles: {path}; every process that runs on such a device reads them", highlight=False, soft_wrap=True)


def _text(tile: Tile) -> str:
    return f"{tile.rows} rows by {tile.num_warps} warp{'s' * (tile.num_warps > 1)}"
