"""A folder in which files land, as an iterable of batches that reads each file once."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any, final

from sparrow.errors import ConfigError, DataError
from sparrow.io.plan import as_specs
from sparrow.io.streams.file_rows import FileRows, read_file
from sparrow.io.streams.landing import LandedFile, Settle, Unit, find_units, require_same
from sparrow.io.streams.ledger import STATE_VERSION, Backlog, Found, Ledger, Look, PartRead, unknown
from sparrow.io.streams.liveness import Liveness
from sparrow.io.streams.rows import Batcher, Handout, Mark, Place
from sparrow.io.streams.shapes import pack, unpack
from sparrow.io.streams.stream import AbstractStream, End, OnError, require_one_of, require_seconds
from sparrow.types import Column, ColumnSpec

MAX_STATE_BYTES = 100_000


@final
class WatchedFolder(AbstractStream):
    """Batches of the rows of files as they land in a folder or below it, each file once.

    Args:
        path: the folder; it must exist. Hourly folders below it (`ds=20261101/hour=05/`) are looked into.
        columns: names, or `ColumnSpec`s that say what a column becomes.
        batch_size: rows a batch, cut across files.
        settle: when a file is whole: `"rename"`, as soon as it has its name (written as `.x`, `_x`, `x.tmp` or `x.inprogress`, or in a
            folder of such a name, then renamed); `"success"`, once its folder holds `_SUCCESS`.
        pattern: names of files to read.
        poll_seconds: between looks at the folder.
        flush_seconds: a part-filled batch is handed out this long after its first row was read, once no file waits.
        end: `"never"`, or `"now"`: the iteration ends with the last file there was when it began.
        on_error: a file that is damaged, of other columns, changed or vanished while it was read, or in doubt, ends the iteration
            (`"error"`), or the rest of it is left out and counted (`"skip"`).
        late_seconds: after a restart, a file that landed since but was written longer before is in doubt: it may be new, or consumed and
            touched since.
        prefetch: batches made ahead by a thread. Memory: these, a stripe, and the names of the files there.

    Files are read by folder and name among those there at a look. Consumed files may be deleted, never changed. One process reads all:
    ranks are not supported. While the folder cannot be listed the iteration waits and `stalled_seconds` grows.

    Raises `ConfigError` for arguments that can never be right, `DataError` where the folder does not exist, and naming the file when a
    bad one is reached.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str | ColumnSpec],
        *,
        batch_size: int,
        settle: Settle = "rename",
        pattern: str = "*.orc",
        poll_seconds: float = 5.0,
        flush_seconds: float = 5.0,
        end: End = "never",
        on_error: OnError = "error",
        late_seconds: float = 86_400.0,
        prefetch: int = 2,
    ) -> None:
        super().__init__(batch_size=batch_size, prefetch=prefetch)
        require_seconds("poll_seconds", poll_seconds)
        require_seconds("flush_seconds", flush_seconds)
        require_seconds("late_seconds", late_seconds)
        require_one_of("settle", settle, ("rename", "success"))
        require_one_of("end", end, ("never", "now"))
        require_one_of("on_error", on_error, ("error", "skip"))
        self._path = os.fspath(path)
        if not os.path.isdir(self._path):
            raise DataError(f"{self._path}: no such folder; make it before it is watched, or check the path")
        self._specs = as_specs(columns)
        self._settle, self._pattern, self._late_seconds = settle, pattern, late_seconds
        self._poll_seconds, self._flush_seconds = poll_seconds, flush_seconds
        self._end, self._on_error = end, on_error
        self._ledger = Ledger()
        self._shapes: dict[str, str] = {}
        self._liveness = Liveness()

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns asked for."""
        return self._specs

    @property
    def stalled_seconds(self) -> float:
        """Seconds the folder could not be listed while an iteration went on, those of now included."""
        return self._liveness.stalled_seconds

    @property
    def counters(self) -> dict[str, float]:
        """What went otherwise than hoped: `skipped` files, since this was made, and `stalled_seconds`."""
        return {"skipped": self.skipped, "stalled_seconds": round(self.stalled_seconds, 3)}

    # Reading, in the reader's thread.

    def _read(self, stopping: threading.Event) -> Generator[Handout, None, None]:
        backlog = Backlog(self._ledger, self._late_seconds)
        batcher = Batcher()
        part = self._ledger.part
        self._liveness.answered()
        try:
            began_ns, units = self._look(stopping)
            found = backlog.first(units)
            if part is not None and part.key not in {unit.key for unit in found.units} and not stopping.is_set():
                self._refuse(DataError(f"{self._where(part.key)}: is gone, and only a part of it was read; put it back"))
                batcher.add({}, [_end_of(part, num_skipped=1)])
            yield from self._consume(found, part, batcher, stopping)
            while not stopping.is_set():
                found = backlog.next(units, began_ns)
                yield from self._consume(found, None, batcher, stopping)
                if self._end == "now" and not found.num_postponed:
                    yield from _flush(batcher)
                    return
                yield from self._wait(batcher, stopping)
                began_ns, units = self._look(stopping)
        finally:
            self._liveness.answered()

    def _look(self, stopping: threading.Event) -> tuple[int, list[Unit]]:
        """Return when a look at the folder began and what it found, trying until the folder can be listed or `stopping`."""
        while not stopping.is_set():
            began_ns = time.time_ns()
            try:
                units = find_units(self._path, self._settle, self._pattern)
            except OSError:
                self._liveness.lost()
                stopping.wait(self._poll_seconds)
            else:
                self._liveness.answered()
                return began_ns, units
        return 0, []

    def _wait(self, batcher: Batcher, stopping: threading.Event) -> Iterator[Handout]:
        """Wait for the next look; hand out what falls due meanwhile."""
        until = time.monotonic() + self._poll_seconds
        while batcher.oldest is not None and batcher.oldest + self._flush_seconds <= until:
            if stopping.wait(max(0.0, batcher.oldest + self._flush_seconds - time.monotonic())):
                return
            yield from _flush(batcher)
        stopping.wait(max(0.0, until - time.monotonic()))

    def _consume(self, found: Found, part: PartRead | None, batcher: Batcher, stopping: threading.Event) -> Iterator[Handout]:
        for unit in found.doubtful:
            batcher.add({}, [_end_of(None, num_skipped=1)])
            self._refuse(
                DataError(
                    f"{self._where(unit.key)}: landed since the state was saved, but was written over {self._late_seconds:g} s before: "
                    "it may be new, or consumed and touched; move it away, under a new name if it is new, or raise late_seconds"
                )
            )
        if found.look is not None and found.units:
            batcher.add({}, [_end_of(found.look)])
        for unit in found.units:
            for mark, columns in self._rows_of(unit, part if part is not None and part.key == unit.key else None):
                if stopping.is_set():
                    return
                batcher.add(columns, [mark])
                del columns
                while batcher.num_rows >= self._batch_size:
                    yield batcher.take(self._batch_size)

    def _rows_of(self, unit: Unit, part: PartRead | None) -> Iterator[tuple[Mark, dict[str, Column]]]:
        """Yield the rows of a unit that are not consumed, and at its end a mark that says so."""
        is_ended = False
        num_skipped = 0
        if part is not None and part.digest != unit.digest:
            num_skipped += 1
            self._refuse(DataError(f"{self._where(unit.key)}: changed since a part of it was read; files must not change once they landed"))
        else:
            for file in unit.files:
                first_row = part.row if part is not None and file.name == part.file else 0
                if part is None or file.name >= part.file:
                    try:
                        for rows in self._rows_of_file(file, first_row):
                            is_ended = rows.is_last and file is unit.files[-1]
                            mark = Mark(unit, file.name, file.path, rows.first_row, rows.num_rows, is_ended, time.monotonic(), num_skipped)
                            num_skipped = 0
                            yield mark, rows.columns
                            del rows
                    except DataError as error:
                        self._refuse(error)
                        num_skipped += 1
        if not is_ended:
            yield _end_of(unit, num_skipped), {}

    def _rows_of_file(self, file: LandedFile, first_row: int) -> Iterator[FileRows]:
        require_same(file)
        shapes, pieces = read_file(file.path, file.identity.num_bytes, self._specs, first_row)
        self._require_shapes(shapes, file.path)
        for rows in pieces:
            require_same(file)
            yield rows
            del rows

    def _require_shapes(self, shapes: dict[str, str], path: str) -> None:
        for name, shape in shapes.items():
            expected = self._shapes.setdefault(name, shape)
            if shape != expected:
                raise DataError(
                    f"{path}: column {name!r} would be {shape}, but the files before gave {expected}; write all alike, or ask for one kind "
                    "and dtype in a ColumnSpec"
                )

    def _refuse(self, error: DataError) -> None:
        """Raise `error` unless what is bad is left out."""
        if self._on_error == "error":
            raise DataError(f'{error}; or leave the rest of such files out with on_error="skip"') from error.__cause__

    def _where(self, key: tuple[str, str]) -> str:
        return os.path.join(self._path, *filter(None, key))

    # State, in the caller's thread.

    def _advance(self, after: dict[Any, Place]) -> None:
        for source, (file, row) in after.items():
            if source is None:
                continue
            if isinstance(source, Look):
                self._ledger.begin(source)
            elif isinstance(source, PartRead):
                self._ledger.give_up_part()
            elif row is None:
                self._ledger.finish(source)
            else:
                self._ledger.part = PartRead(source.key, source.digest, file, row)

    def state_dict(self) -> dict[str, Any]:
        """Return which files are consumed as of the last batch handed out. JSON-able, under 100 kB however many there are.

        Of files that landed within seconds of the last look the names are kept; of all others, up to what time and name they are consumed.
        """
        names = [spec.name for spec in self._specs]
        shapes = pack(dict(self._shapes), names)
        state = {"version": STATE_VERSION, "epoch": self._epoch, "columns": names, "shapes": shapes, **self._ledger.to_json()}
        num_bytes = len(json.dumps(state))
        if num_bytes > MAX_STATE_BYTES:
            raise ConfigError(
                f"the state of {len(names)} columns takes {num_bytes} bytes, at most {MAX_STATE_BYTES}; read fewer, or shorten names"
            )
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the next row the saved stream had not handed out. The folder may have been moved, its files may not have been.

        Raises, and changes nothing: `CheckpointError` where `state` is none of this class, `ConfigError` where it belongs to other columns.
        """
        if not isinstance(state, dict):
            raise unknown(f"is a {type(state).__name__}, expected a dict")
        if state.get("version") != STATE_VERSION:
            raise unknown(f"has version {state.get('version')!r}, expected {STATE_VERSION}")
        epoch, columns = state.get("epoch"), state.get("columns")
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
            raise unknown(f"has epoch={epoch!r}, expected a whole number of at least 0")
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise unknown(f"has columns={columns!r}, expected a list of names")
        names = {spec.name for spec in self._specs}
        if set(columns) != names:
            raise ConfigError(f"the state belongs to columns {sorted(columns)}, not {sorted(names)}; read what it was saved with")
        try:
            shapes = unpack(state.get("shapes"), columns)
        except ValueError as error:
            raise unknown(str(error)) from None
        ledger = Ledger.of_json(state)
        self._forget_iteration()
        self._epoch, self._ledger, self._shapes = epoch, ledger, shapes


def _end_of(source: Look | Unit | PartRead | None, num_skipped: int = 0) -> Mark:
    """Return a mark without rows that says a source is consumed; None moves nothing."""
    return Mark(source, "", "", 0, 0, True, time.monotonic(), num_skipped)


def _flush(batcher: Batcher) -> Iterator[Handout]:
    handout = batcher.take(batcher.num_rows)
    if handout.after:
        yield handout
