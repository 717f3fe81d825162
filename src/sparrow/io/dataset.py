"""Files as an iterable of batches that can stop at any batch and continue with the next unseen row."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, final, get_args

from sparrow.errors import CheckpointError, ConfigError, DataError, did_you_mean
from sparrow.io.batches import cut
from sparrow.io.files import Paths, find_files
from sparrow.io.fingerprint import difference, fingerprint
from sparrow.io.formats.format import Format
from sparrow.io.formats.known import as_format
from sparrow.io.plan import as_specs
from sparrow.io.prefetch import Prefetcher
from sparrow.io.read import Position, Source, read_pieces
from sparrow.io.skipped import SkipLog, Skipped
from sparrow.types import Batch, ColumnSpec

_STATE_VERSION = 2

OnError = Literal["error", "skip"]


@final
class Dataset:
    """Batches of chosen columns of files, in file order, with exact resumption.

    Args:
        paths: a file, a folder (its data files sorted by name, those of partition folders `key=value` in it too), a glob, a URL of one
            of these, or a list of them.
        columns: names, or `ColumnSpec`s that say what a column becomes. Only these are decoded. Keys of partition folders are columns too.
        batch_size: rows a batch, cut across pieces and files; the last batch of an epoch may be short.
        prefetch: pieces a reader thread decodes ahead; 0 decodes in the calling thread. Memory: at most `prefetch + 1` decoded pieces,
            and those that batches still in use were cut from.
        drop_last: leave a short last batch out.
        on_error: what to do with a file or piece that is damaged, cut off, missing, or not as declared: `"error"`, or `"skip"`: leave it
            out and note it in `skipped`. Files that changed since the dataset was made are always an error.
        filesystem: of `pyarrow.fs` or fsspec, for all paths. Default: the local disk, and for URLs what they name.
        format: what the files are: a name such as `"orc"`, or a `Format` with its options. Default: what each file's first bytes say.

    `iter(dataset)` yields the rest of the current epoch and then moves to the start of the next. One iteration runs at a time: a newer
    one, or `load_state_dict`, ends the older with a `ConfigError` at its next batch. Tensors may be kept and written to; one small batch
    that is kept keeps its whole piece. Column dtypes: `docs/data.md`.

    Raises `ConfigError` for arguments that can never be right, `DataError` naming file, column and row for anything wrong with the files:
    the first file that has rows is checked here, the others when they are reached.
    """

    def __init__(
        self,
        paths: Paths,
        columns: Sequence[str | ColumnSpec],
        *,
        batch_size: int,
        prefetch: int = 2,
        drop_last: bool = False,
        format: str | Format | None = None,
        filesystem: Any = None,
        on_error: OnError = "error",
    ) -> None:
        _require_int("batch_size", batch_size, 1)
        _require_int("prefetch", prefetch, 0)
        specs, wanted = as_specs(columns), as_format(format)
        if on_error not in get_args(OnError):
            raise ConfigError(f"on_error is {on_error!r}{did_you_mean(str(on_error), get_args(OnError))}")
        self._skips = SkipLog()
        skips = self._skips if on_error == "skip" else None
        self._source = Source.of(find_files(paths, wanted, filesystem, skips), specs, wanted, skips)
        self._batch_size = batch_size
        self._prefetch = prefetch
        self._drop_last = drop_last
        self._epoch = 0
        self._position = Position(0, 0)
        self._iteration: object = None

    @property
    def epoch(self) -> int:
        """Epochs finished, counted from 0: the epoch that `iter` continues."""
        return self._epoch

    @property
    def batch_size(self) -> int:
        """Rows of a full batch."""
        return self._batch_size

    @property
    def files(self) -> tuple[str, ...]:
        """Paths in reading order, files without rows included."""
        return tuple(file.path for file in self._source.files)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns asked for."""
        return self._source.specs

    @property
    def schema(self) -> dict[str, str]:
        """Name -> Arrow type of every column of the first file that has rows, read or not, and of its partition keys."""
        return {name: str(file_type) for name, file_type in self._source.schema.of_column.items()}

    @functools.cached_property
    def num_rows(self) -> int:
        """Rows of an epoch. Cost: opens every file once, for its footer (files without one are read through); then kept.

        Files that are left out count nothing, pieces that are left out count.
        """
        return sum(self._source.num_rows_of(file) for file in self._source.files)

    @property
    def skipped(self) -> list[Skipped]:
        """What `on_error="skip"` left out so far, in the order it was met, what was read ahead included: path, piece, reason."""
        return self._skips.found

    @property
    def num_skipped(self) -> Counter[str]:
        """How many `"files"` and `"pieces"` were left out so far, and how many `"rows"` these pieces had, where that is known."""
        return self._skips.counts

    def __iter__(self) -> Iterator[Batch]:
        self._iteration = current = object()
        return self._batches(current)

    def _batches(self, current: object) -> Iterator[Batch]:
        self._require_current(current)
        pieces = Prefetcher(functools.partial(read_pieces, self._source, self._position), self._prefetch)
        try:
            for batch, after in cut(pieces, self._batch_size, drop_last=self._drop_last):
                self._position = after
                yield batch
                del batch
                self._require_current(current)
        finally:
            pieces.close()
        self._epoch, self._position, self._iteration = (self._epoch + 1, Position(0, 0), None)

    def _require_current(self, current: object) -> None:
        if self._iteration is not current:
            raise ConfigError(
                "another iteration of this dataset began, or its state was loaded; use one iterator at a time, or make two datasets"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch handed out, whatever was read ahead. JSON-able, at most 70 kB and the column names.

        The position counts rows, so it may be loaded with another batch size or prefetch depth.
        """
        return {
            "version": _STATE_VERSION,
            "epoch": self._epoch,
            "file": self._position.file,
            "row": self._position.row,
            "files": fingerprint(self._source.files),
            "columns": [spec.name for spec in self._source.specs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the next row the saved reader had not handed out.

        Raises, and changes nothing: `CheckpointError` where `state` is none of this class, `DataError` where it belongs to other files,
        `ConfigError` where it belongs to other columns. Folders do not count: the files may have moved.
        """
        epoch, position = _parse(state, len(self._source.files))
        changed = difference(state["files"], self._source.files)
        if changed is not None:
            raise DataError(f"the reader's state belongs to other files: {changed}; give the files it was saved with, or start anew")
        before, now = set(state["columns"]), {spec.name for spec in self._source.specs}
        if before != now:
            words = [
                f"{verb} {', '.join(sorted(names))}" for verb, names in (("without", before - now), ("with new", now - before)) if names
            ]
            raise ConfigError(f"the reader's state belongs to other columns: now {' and '.join(words)}; read the columns it was saved with")
        self._epoch, self._position, self._iteration = epoch, position, None


def _require_int(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _parse(state: dict[str, Any], num_files: int) -> tuple[int, Position]:
    def fail(what: str) -> CheckpointError:
        return CheckpointError(f"the reader's state {what}; load a state that Dataset.state_dict returned")

    if not isinstance(state, dict):
        raise fail(f"is a {type(state).__name__}, expected a dict")
    if state.get("version") != _STATE_VERSION:
        raise fail(f"has version {state.get('version')!r}, expected {_STATE_VERSION}")
    numbers = []
    for key in ("epoch", "file", "row"):
        value = state.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise fail(f"has {key}={value!r}, expected a whole number of at least 0")
        numbers.append(value)
    epoch, file, row = numbers
    columns, files = state.get("columns"), state.get("files")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise fail(f"has columns={columns!r}, expected a list of names")
    if not isinstance(files, dict) or not _is_fingerprint(files):
        raise fail("has no list of files")
    if files["num_files"] == num_files and (file > num_files or (file == num_files and row)):
        raise fail(f"has file={file}, row={row}, but there are {num_files} files")
    return epoch, Position(file, row)


def _is_fingerprint(files: dict[str, Any]) -> bool:
    listed = files.get("listed")
    return (
        isinstance(files.get("digest"), str)
        and isinstance(files.get("num_files"), int)
        and isinstance(listed, list)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in listed)
    )
