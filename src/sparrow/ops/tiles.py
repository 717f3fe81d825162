"""The tile a program of a kernel over rows works on: by a rule, or as `tune_tiles` measured it on this machine, from a file.

Results do not depend on tiles, to the bit; time does. Nothing here imports Triton before a kernel is launched.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sparrow import knobs
from sparrow.errors import BackendError

# The widest access of a thread; the lanes of a warp (an AMD wave is two), and the rows of a tile by the rule, at most.
VECTOR_BYTES, WARP, MAX_TILE_ROWS = 16, 32, 128
# Values of a row array that a thread holds by the rule: gathering holds one array, updates hold up to four.
_VALUES_A_THREAD, _GATHERED_A_THREAD = 16, 32
_MAX_TILE_VALUES, _MAX_WARPS = 1 << 14, 16
_FORMAT = 1
_tried: dict[str, Tile] = {}


class Tile(NamedTuple):
    """rows, columns: of values, powers of two; columns are those of a row, or more. num_warps: of the program."""

    rows: int
    columns: int
    num_warps: int


def tile_by_rule(kernel: str, dim: int, dtype: torch.dtype) -> Tile:
    """Return the tile of a kernel for rows of `dim` values where nothing was measured: one warp, several whole rows.

    What is computed for each row (where its run begins, which block it is in) is computed by every lane that has a part of the row. So a
    lane takes part in several rows, with a wide access of each: with one access a lane, kernels issue some three times the instructions
    and are bound by them. One warp has no barriers where rows become columns.
    """
    columns = _power_of_two(dim)
    held = _GATHERED_A_THREAD if kernel == "gather_pool" else _VALUES_A_THREAD
    of_warp = WARP * (held // 2 if dtype == torch.float64 else held)
    return Tile(min(MAX_TILE_ROWS, max(1, of_warp // columns)), columns, min(8, max(1, columns // of_warp)))


def candidates(kernel: str, dim: int, dtype: torch.dtype) -> list[Tile]:
    """Return the tiles worth measuring, the rule's first: of fewer and more rows, by as many warps, fewer and more."""
    first = tile_by_rule(kernel, dim, dtype)
    found = [first]
    for rows in (first.rows * factor // 4 for factor in (1, 2, 4, 8, 16)):
        found += [Tile(rows, first.columns, first.num_warps * warps // 2) for warps in (2, 4, 8)]
    return [tile for tile in dict.fromkeys(found) if _is_worth_trying(tile, VECTOR_BYTES // dtype.itemsize)]


def _is_worth_trying(tile: Tile, values_an_access: int) -> bool:
    """Return whether a tile is small enough, and every thread has an access of its own."""
    threads = WARP * tile.num_warps
    enough = tile.num_warps == 1 or tile.rows * tile.columns >= threads * values_an_access
    return tile.rows >= 1 and tile.num_warps <= 8 and enough and tile.rows * tile.columns <= _MAX_TILE_VALUES


def tile_of(kernel: str, dim: int, dtype: torch.dtype, device: torch.device) -> Tile:
    """Return the tile of a shape class: a kernel, with what its cost depends on, on rows of `dim` values of `dtype`."""
    key = key_of(kernel, dim, dtype)
    if key in _tried:
        return _tried[key]
    by_rule = tile_by_rule(kernel, dim, dtype)
    chosen = chosen_tiles(device).get(key, by_rule) if device.type == "cuda" else by_rule
    return chosen if chosen.columns == by_rule.columns else by_rule


def key_of(kernel: str, dim: int, dtype: torch.dtype) -> str:
    return f"{kernel}, {dim} x {str(dtype).removeprefix('torch.')}"


@contextmanager
def trying(key: str, tile: Tile) -> Iterator[None]:
    """Launch the kernels of a shape class with a tile."""
    _tried[key] = tile
    try:
        yield
    finally:
        del _tried[key]


# The file of what was measured: one for a kind of device and a release of Triton, since either changes what is best.


def tiles_file(device: torch.device) -> Path:
    """Return where the measured tiles of a CUDA device are kept; there may be no such file."""
    import triton

    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{torch.cuda.get_device_name(device)} triton {triton.__version__}")
    return knobs.cache_folder() / "tiles" / f"{name}.json"


def chosen_tiles(device: torch.device) -> Mapping[str, Tile]:
    """Return the measured tiles of a CUDA device by shape class, read once a process. A file that is damaged is warned of, and not used."""
    return _chosen_tiles(device.index if device.index is not None else torch.cuda.current_device())


@functools.cache
def _chosen_tiles(index: int) -> Mapping[str, Tile]:
    path = tiles_file(torch.device("cuda", index))
    try:
        return read_tiles(path)
    except BackendError as error:
        warnings.warn(f"{error}; kernels are launched as without it", stacklevel=2)
        return {}


def read_tiles(path: Path) -> dict[str, Tile]:
    """Return the tiles of a file by shape class, none where there is no file. Raises `BackendError` where it holds something else."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BackendError(f"{path}: no file of tiles ({error}); delete it and run `sparrow tune` again") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT or not isinstance(content.get("tiles"), dict):
        raise BackendError(f"{path}: no file of tiles of format {_FORMAT}; delete it and run `sparrow tune` again")
    found = {}
    for key, tile in content["tiles"].items():
        if not _is_tile(tile):
            raise BackendError(
                f"{path}: {key!r} has tile {tile!r}, expected [rows, columns, warps]; delete it and run `sparrow tune` again"
            )
        found[key] = Tile(*tile)
    return found


def write_tiles(path: Path, tiles: Mapping[str, Tile]) -> None:
    """Add tiles to a file, which is whole at any moment; what it held of other shape classes stays."""
    try:
        before = read_tiles(path)
    except BackendError:
        before = {}
    content = {"format": _FORMAT, "tiles": {key: list(tile) for key, tile in sorted({**before, **tiles}.items())}}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=1)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    _chosen_tiles.cache_clear()


def _is_tile(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3 or not all(type(one) is int and one > 0 and one & (one - 1) == 0 for one in value):
        return False
    return value[0] * value[1] <= _MAX_TILE_VALUES and value[2] <= _MAX_WARPS


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()
