"""A folder in which files land, as an iterable of batches that reads each file once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any, final

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.io.agreement import Agreement
from sparrow.io.cutting import Cost
from sparrow.io.filesystems import Locator
from sparrow.io.grouping import Sharing, specs_to_read
from sparrow.io.opening import first_line
from sparrow.io.pieces import Piece
from sparrow.io.plan import as_specs
from sparrow.io.row_work import Filter, RowWork, Transform, WorkError, error_of_columns
from sparrow.io.streams.backlog import Backlog, Found
from sparrow.io.streams.file_rows import FileRows, read_file
from sparrow.io.streams.folder_state import SavedRank, merged_shapes, resume
from sparrow.io.streams.in_step import StreamTail
from sparrow.io.streams.landing import RULES, Settle, Settling, Unit, find_units, require_same
from sparrow.io.streams.ledger import Key, Ledger, Look, PartRead, owner
from sparrow.io.streams.listing import is_away, is_there
from sparrow.io.streams.liveness import Liveness
from sparrow.io.streams.rows import Batcher, Handout, Mark, Place
from sparrow.io.streams.stream import AbstractStream, End, OnError, in_step_of, require_one_of, require_seconds
from sparrow.types import ColumnSpec

_LOG = logging.getLogger(__name__)


@final
class WatchedFolder(AbstractStream):
    """Batches of the rows of files as they land in a folder or below it, each file once.

    Args:
        path: the folder, or its URL; it must exist. Hourly folders below it (`ds=20261101/hour=05/`) are looked into.
        columns: names, or `ColumnSpec`s that say what a column becomes.
        batch_size: rows a batch, cut across files.
        cost: a further bound of a batch, by the number of values in it.
        where, transform, also_read: which rows to read, and what to make of them, as of a `Dataset`.
        settle: when a file is whole: `"rename"`, as soon as it has its name (written as `.x`, `_x`, `x.tmp` or `x.inprogress`, or in a
            folder of such a name, then renamed), for local folders; `"success"`, once its folder holds `_SUCCESS`; `"stable"`, once it was
            left alone for `stable_seconds`.
        stable_seconds: longer than a writer ever pauses, and than an upload takes, where its time is that of its beginning (S3).
        pattern: names of files to read.
        poll_seconds: between looks at the folder.
        flush_seconds: a part-filled batch is handed out this long after its first row was read, once no file waits.
        end: `"never"`, or `"now"`: the iteration ends with the last file there was when it began.
        on_error: a file that is damaged, of other columns, changed or vanished while it was read, or in doubt, ends the iteration
            (`"error"`), or the rest of it is left out and counted (`"skip"`).
        late_seconds: after a restart, a file that landed since but was written longer before is in doubt: it may be new, or consumed and
            touched since.
        groups: columns that many samples share, once in a batch, as of a `Dataset`; with `Requests` a row is a request of several samples.
        rank, world_size: this reads the files that a hash of folder and name gives to `rank`.
        agree, tail: with `end="now"`, how ranks end at one step, as of `KafkaDataset`.
        filesystem: of `pyarrow.fs` or fsspec. Default: the local disk, or what the URL says.
        prefetch: batches made ahead by a thread. Memory: these, a stripe, and the names of the files there.

    Files are read by folder and name among those there at a look. Consumed files may be deleted, never changed. While the folder cannot be
    listed the iteration waits and `stalled_seconds` grows.

    Raises `ConfigError` for arguments that can never be right, `DataError` where the folder does not exist, and naming the file when a
    bad one is reached.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str | ColumnSpec],
        *,
        batch_size: int,
        cost: Cost | None = None,
        where: Filter | None = None,
        transform: Transform | None = None,
        also_read: Sequence[str] = (),
        settle: Settle = "rename",
        stable_seconds: float = 60.0,
        pattern: str = "*.orc",
        poll_seconds: float = 5.0,
        flush_seconds: float = 5.0,
        end: End = "never",
        on_error: OnError = "error",
        late_seconds: float = 86_400.0,
        groups: Sharing | None = None,
        rank: int = 0,
        world_size: int = 1,
        agree: Agreement | None = None,
        tail: StreamTail = "short",
        filesystem: Any = None,
        prefetch: int = 2,
    ) -> None:
        specs, work = specs_to_read(as_specs(columns), groups), RowWork.of(where, transform, also_read)
        in_step = in_step_of(agree, tail, end, rank, world_size)
        super().__init__(specs=specs, batch_size=batch_size, cost=cost, work=work, in_step=in_step, prefetch=prefetch, groups=groups)
        require_seconds("poll_seconds", poll_seconds)
        require_seconds("flush_seconds", flush_seconds)
        require_seconds("late_seconds", late_seconds)
        require_seconds("stable_seconds", stable_seconds)
        require_one_of("settle", settle, RULES)
        require_one_of("end", end, ("never", "now"))
        require_one_of("on_error", on_error, ("error", "skip"))
        self._root = root = Locator(filesystem).place(os.fspath(path))
        if settle == "rename" and not root.is_local:
            raise ConfigError(
                f'{root.shown}: settle="rename" needs a local folder, since elsewhere no time tells when a file got its name; take '
                '"success" or "stable"'
            )
        if not is_there(root):
            raise DataError(f"{root.shown}: no such folder; make it before it is watched, or check the path")
        self._rank, self._world_size = rank, world_size
        self._settling = Settling(settle, round(stable_seconds * 1e9) if settle == "stable" else 0)
        self._pattern, self._late_seconds = pattern, late_seconds
        self._poll_seconds, self._flush_seconds = poll_seconds, flush_seconds
        self._end, self._on_error = end, on_error
        self._ledger = Ledger()
        self._shapes: dict[str, str] = {}
        self._liveness = Liveness()

    @property
    def stalled_seconds(self) -> float:
        """Seconds the folder could not be listed while an iteration went on, those of now included."""
        return self._liveness.stalled_seconds

    @property
    def counters(self) -> dict[str, float]:
        """What was left out or waited for, for logs: `skipped` files, since this was made, `filtered_rows`, `stalled_seconds`."""
        return {"skipped": self.skipped, "filtered_rows": self.num_filtered, "stalled_seconds": round(self.stalled_seconds, 3)}

    # Reading, in the reader's thread.

    def _read(self, stopping: threading.Event) -> Generator[Handout, None, None]:
        backlog = Backlog(self._ledger, self._late_seconds, self._world_size)
        batcher = Batcher(self._batch_size, self._cost)
        parts = dict(self._ledger.parts)
        self._liveness.answered()
        try:
            began_ns, units = self._look(stopping)
            found = backlog.first(units)
            keys = {unit.key for unit in units}
            for part in parts.values():
                if part.key not in keys and not stopping.is_set():
                    self._refuse(DataError(f"{self._where(part.key)}: is gone, and only a part of it was read; put it back"))
                    batcher.add(None, [_end_of(part, num_skipped=1)])
            yield from self._consume(found, parts, batcher, stopping)
            while not stopping.is_set():
                found = backlog.next(units, began_ns)
                yield from self._consume(found, {}, batcher, stopping)
                if self._end == "now" and not found.num_postponed:
                    yield from batcher.rest()
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
                units = find_units(self._root, self._settling, self._pattern, began_ns)
            except OSError as error:
                if not self._liveness.is_lost:
                    _LOG.warning("%s cannot be listed (%s); waiting until it can", self._root.shown, error)
                self._liveness.lost()
                stopping.wait(self._poll_seconds)
            else:
                self._liveness.answered()
                return began_ns, [unit for unit in units if owner(unit.key, self._world_size) == self._rank]
        return 0, []

    def _wait(self, batcher: Batcher, stopping: threading.Event) -> Iterator[Handout]:
        """Wait for the next look; hand out what falls due meanwhile."""
        until = time.monotonic() + self._poll_seconds
        yield from batcher.empty_parts()
        while batcher.oldest is not None and batcher.oldest + self._flush_seconds <= until:
            if stopping.wait(max(0.0, batcher.oldest + self._flush_seconds - time.monotonic())):
                return
            yield from batcher.rest()
        stopping.wait(max(0.0, until - time.monotonic()))

    def _consume(self, found: Found, parts: dict[Key, PartRead], batcher: Batcher, stopping: threading.Event) -> Iterator[Handout]:
        for unit in found.doubtful:
            batcher.add(None, [_end_of(None, num_skipped=1)])
            self._refuse(
                DataError(
                    f"{self._where(unit.key)}: landed since the state was saved, but was written over {self._late_seconds:g} s before: "
                    "it may be new, or consumed and touched; move it away, under a new name if it is new, or raise late_seconds"
                )
            )
        if found.look is not None and found.units:
            batcher.add(None, [_end_of(found.look)])
        for unit in found.units:
            for mark, piece in self._rows_of(unit, parts.get(unit.key), stopping):
                if stopping.is_set():
                    return
                batcher.add(piece, [mark])
                del piece
                yield from batcher.full()
                # Where a filter leaves nothing for long, the place moves all the same.
                yield from batcher.empty_parts()

    def _rows_of(self, unit: Unit, part: PartRead | None, stopping: threading.Event) -> Iterator[tuple[Mark, Piece | None]]:
        """Yield the rows of a file that are not consumed, and at its end a mark that says so."""
        is_ended, num_skipped = False, 0
        path, row, failed_at = unit.place.shown, 0 if part is None else part.row, -1
        while not stopping.is_set():
            try:
                if part is not None and part.num_bytes != unit.identity.num_bytes:
                    raise DataError(f"{path}: changed since a part of it was read; files must not change once they landed")
                for piece, is_ended in self._rows_of_file(unit, row):
                    mark = Mark(unit, None, path, piece.first_row, piece.num_rows, is_ended, time.monotonic(), rows=piece.rows)
                    row = mark.row_after(piece.num_rows)
                    yield mark, piece
                    del piece
                break
            except WorkError:
                raise
            except DataError as error:
                # A file is bad only where its filesystem answers, and elsewhere than on a local disk twice at the same row.
                if not self._waited_for(unit, stopping) and (unit.place.is_local or failed_at == row):
                    self._refuse(error)
                    num_skipped = 1
                    break
                failed_at = row
        if not is_ended and not stopping.is_set():
            yield _end_of(unit, num_skipped), None

    def _waited_for(self, unit: Unit, stopping: threading.Event) -> bool:
        """Return whether the filesystem of a file was away; if so, wait until it answers."""
        was_away = is_away(unit.place)
        if was_away:
            _LOG.warning("%s cannot be read, nobody answers; waiting", unit.place.shown)
        while is_away(unit.place) and not stopping.is_set():
            self._liveness.lost()
            stopping.wait(self._poll_seconds)
        self._liveness.answered()
        return was_away

    def _rows_of_file(self, unit: Unit, first_row: int) -> Iterator[FileRows]:
        path = unit.place.shown
        try:
            require_same(unit)
            shapes, pieces = read_file(unit.place, unit.identity.num_bytes, self._specs, first_row, self._work)
            self._require_shapes(shapes, path)
            for rows in pieces:
                if unit.place.is_local or rows.is_last:  # elsewhere each question is a round trip
                    require_same(unit)
                yield rows
                del rows
        except (DataError, ConfigError):
            raise
        except Exception as error:
            if unit.place.is_local:
                raise
            # What a client of fsspec raises, who knows.
            raise DataError(f"{path}: cannot be read ({first_line(error)}); look whether its filesystem answers") from error

    def _require_shapes(self, shapes: dict[str, str], path: str) -> None:
        for name, shape in shapes.items():
            expected = self._shapes.setdefault(name, shape)
            if shape != expected:
                raise error_of_columns(self._work)(
                    f"{path}: column {name!r} would be {shape}, but the files before gave {expected}; write all alike, or ask for one kind "
                    "and dtype in a ColumnSpec"
                )

    def _refuse(self, error: DataError) -> None:
        """Raise `error` unless what is bad is left out."""
        if self._on_error == "error":
            raise DataError(f'{error}; or leave the rest of such files out with on_error="skip"') from error.__cause__

    def _where(self, key: tuple[str, str]) -> str:
        return "/".join(filter(None, (self._root.shown.rstrip("/"), *key)))

    # State, in the caller's thread.

    def _advance(self, after: dict[Any, Place]) -> None:
        for source, (_, row) in after.items():
            if source is None:
                continue
            if isinstance(source, Look):
                self._ledger.begin(source)
            elif isinstance(source, PartRead):
                self._ledger.give_up(source)
            elif row is None:
                self._ledger.finish(source)
            else:
                self._ledger.read(source, row)

    def state_dict(self) -> dict[str, Any]:
        """Return which files of this rank are consumed as of the last batch handed out. JSON-able, under 100 kB however many there are.

        Of files that landed within seconds of the last look the names are kept; of all others, up to what time and name they are consumed.
        `where` and `transform` are no part of it: a stream that goes on from it must be given the same.
        """
        names = tuple(spec.name for spec in self._specs)
        return SavedRank(
            self._settling, self._pattern, self._rank, self._world_size, self._epoch, names, dict(self._shapes), self._ledger
        ).to_json()

    def load_state_dict(self, state: dict[str, Any] | Sequence[dict[str, Any]]) -> None:
        """Continue with the next row the saved ranks had not handed out. The folder may have been moved, its files may not have been.

        state: one state, or a list of those of all ranks, in any order; the list is needed where the number of ranks changed.

        Raises, and changes nothing: `CheckpointError` where `state` is none of this class, `ConfigError` where it belongs to other columns
        or another rank, files were found by other rules, the states are not of one run, or one is missing.
        """
        saved = [SavedRank.of_json(one) for one in (state if isinstance(state, list | tuple) else [state])]
        if not saved:
            raise CheckpointError("the list of states is empty; load what WatchedFolder.state_dict returned")
        names = {spec.name for spec in self._specs}
        for one in saved:
            if set(one.columns) != names:
                raise ConfigError(f"the state belongs to columns {sorted(one.columns)}, not {sorted(names)}; read what it was saved with")
            if (one.settling, one.pattern) != (self._settling, self._pattern):
                raise ConfigError(
                    f"the state was saved with {_words(one.settling, one.pattern)}, but this reads with "
                    f"{_words(self._settling, self._pattern)}: other files would pass for consumed; read as before, or start anew"
                )
        ledger, shapes = resume(saved, self._rank, self._world_size), merged_shapes(saved)
        self._forget_iteration()
        self._epoch, self._ledger, self._shapes = max(one.epoch for one in saved), ledger, shapes


def _end_of(source: Look | Unit | PartRead | None, num_skipped: int = 0) -> Mark:
    """Return a mark without rows that says a source is consumed; None moves nothing."""
    return Mark(source, None, "", 0, 0, True, time.monotonic(), num_skipped)


def _words(settling: Settling, pattern: str) -> str:
    stable = f", stable_seconds={settling.stable_ns / 1e9:g}" if settling.rule == "stable" else ""
    return f"settle={settling.rule!r}{stable}, pattern={pattern!r}"
