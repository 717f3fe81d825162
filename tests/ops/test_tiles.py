"""Tiles of kernels over rows: whatever the tile, the bits are the same; what was measured is kept in a file and used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparrow import knobs
from sparrow.errors import BackendError
from sparrow.ops import tiles
from sparrow.ops.tiles import Tile, candidates, key_of, read_tiles, tile_by_rule, tile_of, write_tiles
from tests_support import run_python
from triton_support import ON_GPU

GPU = torch.device("cuda", 0)
KEY = key_of("update_rows, 2+0 slots by float32", 64, torch.float32)

# On a GPU the calls are timed; in the interpreter the tile with the most rows is made the fastest, so that what is chosen can be told.
_TUNE = """
import torch
from sparrow.ops.tune_tiles import seconds_on_gpu, tune
from sparrow.ops import tiles

asked = []

class Tried(dict):
    def __contains__(self, key):
        asked.append(key)
        return super().__contains__(key)

tiles._tried = Tried()

def measure(run):
    asked.clear()
    run()
    ((key, tile),) = tiles._tried.items()
    assert key in asked, f"the body asked for tiles of {asked}, not of {key}"
    return 1 / tile.rows + tile.num_warps / 10**6

on_gpu = torch.cuda.is_available()
for found in tune(torch.device("cuda" if on_gpu else "cpu"), [5], [torch.bfloat16], ["adam", "adamw", "rowwise_adagrad"],
                  measure=seconds_on_gpu if on_gpu else measure, num_rows=2**16 if on_gpu else 64):
    print(found.key, *found.best, sep="|")
"""


def test_every_tile_of_a_triton_body_gives_the_same_bits_and_the_fastest_is_found() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its bodies cannot run")
    # It raises where bits differ.
    lines = run_python(_TUNE, **({} if ON_GPU else {"TRITON_INTERPRET": "1"})).splitlines()
    found = {key: Tile(*map(int, tile)) for key, *tile in (line.split("|") for line in lines)}
    narrow = ["gather_pool"]
    for slots in ("2+0 slots", "0+1 slots"):
        narrow += [f"init_rows, {slots}", f"update_rows, {slots} by bfloat16"]
    wide = ["pool_backward", *(f"pool_update_rows, {slots} slots by bfloat16" for slots in ("2+0", "0+1"))]
    dtypes = {key_of(kernel, 5, dtype): dtype for kernels, dtype in ((narrow, torch.bfloat16), (wide, torch.float32)) for kernel in kernels}
    assert set(found) == set(dtypes)
    for key, tile in found.items():
        of_class = candidates(key.split(",")[0], 5, dtypes[key])
        most = max(one.rows for one in of_class)
        assert tile in of_class
        assert ON_GPU or tile == Tile(most, 8, min(one.num_warps for one in of_class if one.rows == most))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["gather_pool", "pool_backward"])
@pytest.mark.parametrize("dim", [1, 2, 3, 16, 100, 128, 1000, 4096])
def test_candidates_hold_whole_rows(kernel: str, dim: int, dtype: torch.dtype) -> None:
    found = candidates(kernel, dim, dtype)
    assert found[0] == tile_by_rule(kernel, dim, dtype)
    assert len(set(found)) == len(found)
    for tile in found:
        assert dim <= tile.columns < 2 * max(dim, 1)
        assert all(one & (one - 1) == 0 for one in tile)
        assert tile.rows >= 1
        assert 1 <= tile.num_warps <= 8


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the first GPU, which need not be there: nothing is launched."""
    path = tmp_path / "tiles" / "gpu.json"
    monkeypatch.setattr(tiles, "tiles_file", lambda device: path)
    tiles._chosen_tiles.cache_clear()
    yield path
    tiles._chosen_tiles.cache_clear()


def test_what_was_measured_is_used(file: Path) -> None:
    by_rule = tile_by_rule("update_rows", 64, torch.float32)
    assert tile_of("update_rows, 2+0 slots by float32", 64, torch.float32, GPU) == by_rule
    other = Tile(by_rule.rows * 2, 64, 2)
    write_tiles(file, {KEY: other})
    assert tile_of("update_rows, 2+0 slots by float32", 64, torch.float32, GPU) == other
    assert tile_of("update_rows, 2+0 slots by float32", 64, torch.float32, torch.device("cpu")) == by_rule
    assert tile_of("update_rows, 2+0 slots by float32", 64, torch.bfloat16, GPU) == tile_by_rule("update_rows", 64, torch.bfloat16)
    assert tile_of("update_rows, 1+0 slots by float32", 64, torch.float32, GPU) == by_rule


def test_a_tile_narrower_than_a_row_is_not_used(file: Path) -> None:
    write_tiles(file, {KEY: Tile(8, 32, 1)})
    assert tile_of("update_rows, 2+0 slots by float32", 64, torch.float32, GPU) == tile_by_rule("update_rows", 64, torch.float32)


def test_what_is_written_joins_what_was_there(file: Path) -> None:
    write_tiles(file, {"a": Tile(1, 2, 4), "b": Tile(8, 8, 1)})
    write_tiles(file, {"b": Tile(16, 8, 1)})
    assert read_tiles(file) == {"a": Tile(1, 2, 4), "b": Tile(16, 8, 1)}
    assert os.listdir(file.parent) == [file.name]


def test_a_failed_write_leaves_the_file_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiles(file, {"a": Tile(1, 2, 4)})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_tiles(file, {"a": Tile(2, 2, 4)})
    assert read_tiles(file) == {"a": Tile(1, 2, 4)}
    assert os.listdir(file.parent) == [file.name]


def test_a_damaged_file_is_warned_of_and_not_used(file: Path) -> None:
    write_tiles(file, {KEY: Tile(64, 64, 8)})
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.warns(UserWarning, match=f"{file}.*no file of tiles.*sparrow tune"):
        assert tile_of("update_rows, 2+0 slots by float32", 64, torch.float32, GPU) == tile_by_rule("update_rows", 64, torch.float32)
    write_tiles(file, {KEY: Tile(4, 64, 2)})
    assert tile_of("update_rows, 2+0 slots by float32", 64, torch.float32, GPU) == Tile(4, 64, 2)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-4, 2**20) | st.floats() | st.text(max_size=3),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(max_size=3), some, max_size=3),
    max_leaves=8,
)


@given(content=st.one_of(anything, st.fixed_dictionaries({"format": st.sampled_from([1, 2]), "tiles": anything})))
def test_a_file_of_something_else_is_refused(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    path.write_text(json.dumps(content))
    try:
        found = read_tiles(path)
    except BackendError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.startswith(f"{path}: ")
        return
    assert content == {"format": 1, "tiles": {key: list(tile) for key, tile in found.items()}}
    for rows, columns, num_warps in found.values():
        assert all(one > 0 and one & (one - 1) == 0 for one in (rows, columns, num_warps))
        assert rows * columns <= 2**14
        assert num_warps <= 16


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARROW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert knobs.cache_folder() == tmp_path / "sparrow"
    monkeypatch.setenv("SPARROW_CACHE", str(tmp_path / "mine"))
    assert knobs.cache_folder() == tmp_path / "mine"
