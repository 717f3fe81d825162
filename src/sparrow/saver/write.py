"""Writing one checkpoint into a folder of its own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sparrow.errors import CheckpointError
from sparrow.saver import layout
from sparrow.saver.manifest import ChunkEntry, Manifest, StoreEntry, check_chunk, check_row_counts, render, tables_of
from sparrow.saver.tensor_files import spec_of, write_file, write_tensors
from sparrow.saver.tree import flatten
from sparrow.types import Chunk, RowStore


def write_checkpoint(
    folder: Path, step: int, stores: Mapping[str, RowStore], dense: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Fill the new folder `folder`; every byte and name is on the disk when this returns. The manifest comes last.

    Raises `CheckpointError` naming what cannot be stored, or `OSError`; the folder is then useless.
    """
    tree, state_tensors = flatten(state)
    for name, tensor in dense.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"dense {name!r} is a {type(tensor).__name__}, expected a tensor; put other values into `state`")
    folder.mkdir()
    stems = layout.file_stems(stores)
    entries = tuple(_write_store(folder, f"tables/{stems[name]}", name, store) for name, store in stores.items())
    manifest = Manifest(
        step=step,
        stores=entries,
        dense=write_tensors(folder, layout.DENSE, dense),
        state_tree=write_file(folder, layout.STATE_TREE, (json.dumps(tree, allow_nan=False) + "\n").encode("ascii")),
        state_tensors=write_tensors(folder, layout.STATE_TENSORS, state_tensors),
    )
    write_file(folder, layout.MANIFEST, render(manifest))
    for inside, _, _ in os.walk(folder):
        sync_folder(Path(inside))


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on the disk. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_store(folder: Path, path: str, name: str, store: RowStore) -> StoreEntry:
    where = f"store {name!r}"
    try:
        description: dict[str, Any] = json.loads(json.dumps(store.describe(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{where}: its description is no JSON ({error}); expected finite numbers, strings, lists and dicts"
        ) from error
    tables = tables_of(description, where)
    stems = layout.file_stems(tables)
    (folder / path).mkdir(parents=True)
    num_chunks: Counter[str] = Counter()
    chunks: list[ChunkEntry] = []
    for chunk in store.export():
        if chunk.table not in tables:
            raise CheckpointError(f"{where}: exported rows of table {chunk.table!r}, which its description lacks; it has {sorted(tables)}")
        tensors = _tensors_of(chunk)
        check_chunk({key: spec_of(tensor) for key, tensor in tensors.items()}, tables[chunk.table], chunk.ids.numel(), f"{where}, a chunk")
        file = f"{path}/{stems[chunk.table]}-{num_chunks[chunk.table]:05d}.safetensors"
        chunks.append(ChunkEntry(chunk.table, chunk.ids.numel(), write_tensors(folder, file, tensors)))
        num_chunks[chunk.table] += 1
    entry = StoreEntry(name, description, tuple(chunks))
    check_row_counts(entry, f"{where}, rows changed while they were saved")
    return entry


def _tensors_of(chunk: Chunk) -> dict[str, Tensor]:
    slots = {f"slot.{name}": slot for name, slot in chunk.slots.items()}
    return {"ids": chunk.ids, "weights": chunk.weights, **slots, "meta": chunk.meta}
