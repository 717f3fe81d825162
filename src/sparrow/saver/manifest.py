"""What a checkpoint holds, in one JSON file that can be checked against itself."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import torch

from sparrow.errors import CheckpointError
from sparrow.saver.layout import MANIFEST
from sparrow.saver.tensor_files import ASK_FOR_ANOTHER, DTYPES, FileEntry, TensorSpec

FORMAT = "sparrow-checkpoint"
VERSION = 1

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class TableEntry:
    """What the saver must know of a table; the rest of its description passes through unread."""

    name: str
    dim: int
    dtype: torch.dtype
    rule: str
    slots: tuple[str, ...]
    num_rows: int


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One file of rows of one table."""

    table: str
    num_rows: int
    file: FileEntry


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """One row store: its `describe()`, word for word, and its chunks in the order they were exported."""

    name: str
    description: dict[str, Any]
    chunks: tuple[ChunkEntry, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a checkpoint holds but the bytes of tensors."""

    step: int
    stores: tuple[StoreEntry, ...]
    dense: FileEntry
    state_tree: FileEntry
    state_tensors: FileEntry

    @property
    def files(self) -> list[FileEntry]:
        return [self.dense, self.state_tree, self.state_tensors, *(chunk.file for store in self.stores for chunk in store.chunks)]


def render(manifest: Manifest) -> bytes:
    """Return the bytes of `manifest.json`: its last key is the checksum of the same text without it."""
    content = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    return _text({**content, "crc32": zlib.crc32(_text(content))})


def read_manifest(checkpoint: Path) -> Manifest:
    """Return the manifest of the folder `checkpoint`.

    Raises:
        CheckpointError: names the folder or file and the key: not a checkpoint, a format this Sparrow does not know, a byte changed.
    """
    path = checkpoint / MANIFEST
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{checkpoint}: no checkpoint here (no {MANIFEST}); name a folder like step-00001000") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk") from error
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({error}); {ASK_FOR_ANOTHER}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: key 'format' is not {FORMAT!r}: this is not a checkpoint of Sparrow, or it is damaged")
    if type(content.get("version")) is not int or content["version"] != VERSION:
        raise CheckpointError(
            f"{path}: key 'version' is {content.get('version')!r}, this Sparrow reads {VERSION}; use the Sparrow that saved it"
        )
    _check_text(path, raw, content)
    return _parse(path, content)


def tables_of(description: dict[str, Any], where: str) -> dict[str, TableEntry]:
    """Return table name -> entry of a store's description. Raises `CheckpointError` naming `where` and the key that is wrong."""
    tables: dict[str, TableEntry] = {}
    for index, table in enumerate(_field(description, "tables", list, where)):
        inside = f"{where}, table {index}"
        entry = TableEntry(
            name=_field(table, "name", str, inside),
            dim=_field(table, "dim", int, inside),
            dtype=_dtype(_field(table, "dtype", str, inside), inside),
            rule=_field(table, "rule", str, inside),
            slots=tuple(_field(table, "slots", list, inside)),
            num_rows=_field(table, "num_rows", int, inside),
        )
        if entry.name in tables:
            raise CheckpointError(f"{where}: two tables are called {entry.name!r}; names must be unique within a store")
        if not all(type(slot) is str for slot in entry.slots):
            raise CheckpointError(f"{inside}: key 'slots' is {list(entry.slots)!r}; expected a list of names")
        tables[entry.name] = entry
    return tables


def check_chunk(found: dict[str, TensorSpec], table: TableEntry, num_rows: int, where: str) -> None:
    """Raise `CheckpointError` naming `where` and the tensor unless these are the tensors of `num_rows` rows of `table`."""
    expected: dict[str, list[TensorSpec]] = {
        "ids": [TensorSpec(torch.int64, (num_rows,))],
        "weights": [TensorSpec(table.dtype, (num_rows, table.dim))],
        "meta": [TensorSpec(torch.int32, (num_rows, 3))],
    }
    slot_dtype = torch.float64 if table.dtype == torch.float64 else torch.float32
    for slot in table.slots:
        # A slot is element-wise or row-wise; which, only the update rule knows.
        expected[f"slot.{slot}"] = [TensorSpec(slot_dtype, shape) for shape in ((num_rows, table.dim), (num_rows,))]
    if found.keys() != expected.keys():
        raise CheckpointError(f"{where}: holds tensors {sorted(found)}, expected {sorted(expected)} of table {table.name!r}")
    for name, choices in expected.items():
        if found[name] not in choices:
            raise CheckpointError(
                f"{where}: tensor {name!r} is {found[name]}, expected {' or '.join(map(str, choices))} of table {table.name!r}"
            )


def _text(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii")


def _check_text(path: Path, raw: bytes, content: dict[str, Any]) -> None:
    try:
        without = {key: value for key, value in content.items() if key != "crc32"}
        holds = _text(content) == raw and zlib.crc32(_text(without)) == content.get("crc32")
    except (ValueError, RecursionError):
        holds = False
    if not holds:
        raise CheckpointError(f"{path}: key 'crc32' does not fit the rest of the file: it was edited or {ASK_FOR_ANOTHER}")


def _parse(path: Path, content: dict[str, Any]) -> Manifest:
    where = str(path)
    stores: list[StoreEntry] = []
    for store in _field(content, "stores", list, where):
        name = _field(store, "name", str, f"{where}, a store")
        inside = f"{where}, store {name!r}"
        chunks = tuple(
            ChunkEntry(_field(chunk, "table", str, inside), _field(chunk, "num_rows", int, inside), _file(chunk, "file", inside))
            for chunk in _field(store, "chunks", list, inside)
        )
        entry = StoreEntry(name, _field(store, "description", dict, inside), chunks)
        check_row_counts(entry, inside)
        stores.append(entry)
    if len({store.name for store in stores}) != len(stores):
        raise CheckpointError(f"{where}: two stores share a name; {ASK_FOR_ANOTHER}")
    return Manifest(
        step=_field(content, "step", int, where),
        stores=tuple(stores),
        dense=_file(content, "dense", where),
        state_tree=_file(content, "state_tree", where),
        state_tensors=_file(content, "state_tensors", where),
    )


def check_row_counts(store: StoreEntry, where: str) -> None:
    """Raise `CheckpointError` unless the chunks of each table hold as many rows as its description says."""
    tables = tables_of(store.description, where)
    num_rows = dict.fromkeys(tables, 0)
    for chunk in store.chunks:
        if chunk.table not in tables:
            raise CheckpointError(
                f"{where}: a chunk belongs to table {chunk.table!r}, which the description lacks; it has {sorted(tables)}"
            )
        num_rows[chunk.table] += chunk.num_rows
    for name, table in tables.items():
        if num_rows[name] != table.num_rows:
            raise CheckpointError(f"{where}, table {name!r}: chunks hold {num_rows[name]} rows, the description says {table.num_rows}")


def _field(mapping: Any, key: str, kind: type[_Kind], where: str) -> _Kind:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    # `type(...) is`, because True is an int.
    if type(value) is not kind or (kind is int and value < 0):  # type: ignore[operator]
        raise CheckpointError(f"{where}: key {key!r} is {json.dumps(value, default=repr)[:60]}, expected a JSON {kind.__name__}")
    return value


def _file(mapping: Any, key: str, where: str) -> FileEntry:
    value = _field(mapping, key, dict, where)
    inside = f"{where}, {key}"
    entry = FileEntry(_field(value, "path", str, inside), _field(value, "num_bytes", int, inside), _field(value, "crc32", int, inside))
    path = PurePosixPath(entry.path)
    if path.is_absolute() or ".." in path.parts or "\0" in entry.path or not path.parts:
        raise CheckpointError(f"{inside}: key 'path' is {entry.path!r}; expected a path inside the checkpoint")
    return entry


def _dtype(name: str, where: str) -> torch.dtype:
    if name not in DTYPES:
        raise CheckpointError(f"{where}: key 'dtype' is {name!r}; expected one of {sorted(DTYPES)}")
    return DTYPES[name]
