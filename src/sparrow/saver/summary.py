"""What a checkpoint holds, without reading its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from sparrow.saver.manifest import StoreEntry, check_chunk, read_manifest, tables_of
from sparrow.saver.tensor_files import check_file, read_specs


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table of a checkpoint. num_rows: its ids. total_bytes: of its files: ids, weights, slots, metadata and headers."""

    store: str
    name: str
    dim: int
    dtype: str
    rule: str
    num_rows: int
    weights_bytes: int
    slots_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class DenseSummary:
    """One dense tensor of a checkpoint."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True, slots=True)
class CheckpointSummary:
    """A checkpoint at a glance. state_bytes: of the two files of nested state. total_bytes: of all files but the manifest."""

    path: Path
    step: int
    tables: tuple[TableSummary, ...]
    dense: tuple[DenseSummary, ...]
    state_bytes: int
    total_bytes: int


def describe_checkpoint(path: str | PathLike[str]) -> CheckpointSummary:
    """Return what the checkpoint folder `path` holds.

    Raises:
        CheckpointError: names the file and key: not a checkpoint, or a file that is missing or of another size. Checksums of
            tensors are not checked; `Saver.load` does that.

    Cost: reads the manifest and the header of every file.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    for file in manifest.files:
        check_file(folder, file, checksum=False)
    dense = tuple(
        DenseSummary(name, str(spec.dtype).removeprefix("torch."), spec.shape, spec.num_bytes)
        for name, spec in sorted(read_specs(folder, manifest.dense).items())
    )
    return CheckpointSummary(
        path=folder,
        step=manifest.step,
        tables=tuple(table for store in manifest.stores for table in _tables(folder, store)),
        dense=dense,
        state_bytes=manifest.state_tree.num_bytes + manifest.state_tensors.num_bytes,
        total_bytes=sum(file.num_bytes for file in manifest.files),
    )


def _tables(folder: Path, store: StoreEntry) -> list[TableSummary]:
    summaries: list[TableSummary] = []
    for table in tables_of(store.description, f"{folder}, store {store.name!r}").values():
        weights_bytes = slots_bytes = total_bytes = 0
        for chunk in store.chunks:
            if chunk.table != table.name:
                continue
            specs = read_specs(folder, chunk.file)
            check_chunk(specs, table, chunk.num_rows, str(folder / chunk.file.path))
            weights_bytes += specs["weights"].num_bytes
            slots_bytes += sum(specs[f"slot.{slot}"].num_bytes for slot in table.slots)
            total_bytes += chunk.file.num_bytes
        dtype = str(table.dtype).removeprefix("torch.")
        summaries.append(
            TableSummary(store.name, table.name, table.dim, dtype, table.rule, table.num_rows, weights_bytes, slots_bytes, total_bytes)
        )
    return summaries
