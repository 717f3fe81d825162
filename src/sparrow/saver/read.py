"""Reading one checkpoint: everything is checked before the first store hears of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from sparrow.errors import CheckpointError, did_you_mean
from sparrow.saver.manifest import ChunkEntry, Manifest, StoreEntry, check_chunk, read_manifest, tables_of
from sparrow.saver.tensor_files import ASK_FOR_ANOTHER, TensorSpec, check_file, read_file, read_specs, read_tensors, spec_of
from sparrow.saver.tree import unflatten
from sparrow.types import Chunk, RowStore

_FIX = "build the model the checkpoint was saved from, or load another checkpoint"


def open_chunks(path: str | PathLike[str], table: str, store: str | None = None) -> Iterator[Chunk]:
    """Yield the rows of one table of the checkpoint folder `path`, in canonical order, one chunk in memory at a time.

    Args:
        store: which store's, where tables of several stores share the name.

    Raises:
        CheckpointError: no such table (with the nearest name), or a damaged file: then the chunks before it were yielded.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    tables = {(entry.name, name): entry for entry in manifest.stores for name in tables_of(entry.description, str(folder))}
    holders = [entry for (owner, name), entry in tables.items() if name == table and store in (None, owner)]
    if not holders:
        inside = "" if store is None else f" in store {store!r}"
        raise CheckpointError(f"{folder}: no table {table!r}{inside}{did_you_mean(table, {name for _, name in tables})}")
    if len(holders) > 1:
        raise CheckpointError(f"{folder}: stores {[entry.name for entry in holders]} each have a table {table!r}; say which by `store`")
    return read_chunks(folder, holders[0], (chunk for chunk in holders[0].chunks if chunk.table == table))


def read_chunks(folder: Path, store: StoreEntry, chunks: Iterable[ChunkEntry]) -> Iterator[Chunk]:
    """Yield `chunks` of `store`, each checked again as it is read."""
    tables = tables_of(store.description, f"{folder}, store {store.name!r}")
    for entry in chunks:
        tensors = read_tensors(folder, entry.file)
        specs = {name: spec_of(tensor) for name, tensor in tensors.items()}
        check_chunk(specs, tables[entry.table], entry.num_rows, str(folder / entry.file.path))
        slots = {name: tensors[f"slot.{name}"] for name in tables[entry.table].slots}
        yield Chunk(entry.table, tensors["ids"], tensors["weights"], slots, tensors["meta"])


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Raise `CheckpointError` unless every file is whole and every chunk holds its table's tensors. Cost: reads all bytes once."""
    for file in manifest.files:
        check_file(folder, file, checksum=True)
    for store in manifest.stores:
        tables = tables_of(store.description, f"{folder}, store {store.name!r}")
        for chunk in store.chunks:
            check_chunk(read_specs(folder, chunk.file), tables[chunk.table], chunk.num_rows, str(folder / chunk.file.path))


def read_state(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the nested state as it was given to `save`."""
    path = folder / manifest.state_tree.path
    try:
        return unflatten(json.loads(read_file(folder, manifest.state_tree)), read_tensors(folder, manifest.state_tensors))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({error}); {ASK_FOR_ANOTHER}") from error
    except CheckpointError as error:
        raise error if str(folder) in str(error) else CheckpointError(f"{path}: {error}; {ASK_FOR_ANOTHER}") from error


def check_stores_fit(folder: Path, manifest: Manifest, stores: Mapping[str, RowStore]) -> None:
    """Raise `CheckpointError` naming store, table and field unless `stores` are empty and can take what the checkpoint holds."""
    saved = {entry.name: entry for entry in manifest.stores}
    _check_same_names(f"{folder}: stores", saved.keys(), stores.keys())
    for name, store in stores.items():
        where = f"{folder}, store {name!r}"
        theirs = tables_of(saved[name].description, where)
        ours = tables_of(store.describe(), f"store {name!r} of the model")
        _check_same_names(f"{where}: tables", theirs.keys(), ours.keys())
        for table, mine in ours.items():
            for field in ("dim", "dtype", "rule", "slots"):
                if getattr(mine, field) != getattr(theirs[table], field):
                    raise CheckpointError(
                        f"{where}: table {table!r} has {field} {getattr(theirs[table], field)} in the checkpoint and "
                        f"{getattr(mine, field)} in the model; {_FIX}"
                    )
            if mine.num_rows:
                raise CheckpointError(f"{where}: table {table!r} of the model already holds {mine.num_rows} rows; load into a new model")


def check_dense_fits(folder: Path, manifest: Manifest, dense: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` naming the tensor unless the checkpoint's dense tensors have the names, shapes and dtypes of `dense`."""
    path = folder / manifest.dense.path
    saved = read_specs(folder, manifest.dense)
    ours: dict[str, TensorSpec] = {name: spec_of(tensor) for name, tensor in dense.items()}
    _check_same_names(f"{path}: dense tensors", saved.keys(), ours.keys())
    for name, spec in ours.items():
        if saved[name] != spec:
            raise CheckpointError(f"{path}: dense tensor {name!r} is {saved[name]} in the checkpoint and {spec} in the model; {_FIX}")


def _check_same_names(what: str, saved: Iterable[str], ours: Iterable[str]) -> None:
    only_saved, only_ours = sorted(set(saved) - set(ours)), sorted(set(ours) - set(saved))
    if only_saved or only_ours:
        raise CheckpointError(
            f"{what} only in the checkpoint: {_first_few(only_saved)}; only in the model: {_first_few(only_ours)}; {_FIX}"
        )


def _first_few(names: list[str]) -> str:
    return (", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")) or "none"
