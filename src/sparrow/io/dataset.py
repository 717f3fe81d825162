"""Files as an iterable of batches that can stop at any batch and continue with the next unseen row."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, final, get_args

import torch

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.io.agreement import Agreement, agreed
from sparrow.io.chunks import Handed
from sparrow.io.cutting import Cost, Cutting, Tail, cut, extra_batch
from sparrow.io.deals import Deals, Mark, Position, Task
from sparrow.io.device_batches import DeviceBatches
from sparrow.io.files import Paths, find_files
from sparrow.io.fingerprint import difference, fingerprint
from sparrow.io.formats.format import Format
from sparrow.io.formats.known import as_format
from sparrow.io.grouping import Sharing, share_rows, specs_to_read
from sparrow.io.order import Shuffle
from sparrow.io.plan import as_specs
from sparrow.io.position import SavedRank, resume
from sparrow.io.prefetch import Prefetcher
from sparrow.io.read import some_piece
from sparrow.io.readers import Readers
from sparrow.io.row_work import Filter, RowWork, Transform
from sparrow.io.skipped import SkipLog, Skipped
from sparrow.io.source import Source, nothing_left
from sparrow.io.work_queue import Leases, WorkQueue, acknowledging
from sparrow.io.worker import Decoded, PieceWorker
from sparrow.ops.devices import device_of
from sparrow.types import Batch, ColumnSpec

OnError = Literal["error", "skip"]


@final
class Dataset:
    """Batches of chosen columns of files, in file order or shuffled, of all rows or a rank's share, with exact resumption.

    Args:
        paths: a file, a folder (its data files sorted by name, those of partition folders `key=value` in it too), a glob, a URL of one
            of these, or a list of them.
        columns: names, or `ColumnSpec`s that say what a column becomes. Only these are decoded. Keys of partition folders are columns too.
        batch_size: rows a batch, cut across pieces and files.
        cost: a further bound of a batch, by the number of values in it.
        shuffle: the order of rows; None: that of the files.
        where: which rows to read: an expression of `pyarrow.compute`, or a function of a `pyarrow.RecordBatch` that returns a truth value a
            row. Others are left out and counted in `num_filtered`. It runs in the reader threads, before anything becomes a tensor.
        transform: a function of a record batch that returns one of as many rows, with other columns: `columns` are then those that it
            returns. It is called with no rows once a file, for its types.
        also_read: columns of the files that `where` and `transform` need beside `columns`.
        groups: columns that many samples share (a user's), once in a batch: `SharedRows` finds them in flat rows, `Requests` reads them
            from files that store them so, a row of which, and so of `batch_size`, is a request of several samples.
        rank, world_size: this reads every row that is dealt to `rank`. Ranks get equally many rows, but for one, whatever the files are.
        tail: what becomes of the rows that fill no batch at the end of an epoch. All ranks end at the same step: `"short"`: a short batch,
            empty on a rank that has no rows left; `"drop"`: left out, and of ranks with a full batch more that batch too; `"pad"`: a full
            batch, the end of which does not count (`Batch.num_padding`); `"repeat"`: a full batch, with rows of this rank again.
        agree: how ranks learn where all end where they cannot compute it: with `on_error="skip"`, `where` or `cost`, and `world_size > 1`.
        queue: where ranks that do not step together lease pieces, instead of being dealt rows. There is no position to save then.
        prefetch: pieces (stripes, row groups) decoded ahead; 0 decodes in the calling thread. Memory: at most `prefetch` decoded pieces,
            those that batches still in use were cut from, and with `shuffle` those of two buffers.
        num_threads: that decode. They share the pieces of a file; a file that can only be read in order (CSV, TFRecord, IPC streams) is
            parsed by one at a time.
        on_error: what to do with a file or piece that is damaged, cut off, missing, or not as declared: `"error"`, or `"skip"`: leave it
            out and note it in `skipped`. Files that changed since the dataset was made are always an error.
        pin_memory: hand out batches in one buffer of page-locked memory each, which `Batch.to` copies to a CUDA device at once.
        device: where batches are made, such as `"cuda"`; None: on the CPU. Reader threads send decoded pieces there ahead of time, and
            batches are cut, joined and shuffled there (`docs/data.md` says of which columns). Memory of the device: as `prefetch` says of
            decoded pieces. Tensors may be used on the stream that is current where batches are asked for, the same for all.
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
        cost: Cost | None = None,
        shuffle: Shuffle | None = None,
        where: Filter | None = None,
        transform: Transform | None = None,
        also_read: Sequence[str] = (),
        groups: Sharing | None = None,
        rank: int = 0,
        world_size: int = 1,
        tail: Tail = "short",
        agree: Agreement | None = None,
        queue: WorkQueue | None = None,
        prefetch: int = 2,
        num_threads: int = 1,
        pin_memory: bool = False,
        device: torch.device | str | None = None,
        format: str | Format | None = None,
        filesystem: Any = None,
        on_error: OnError = "error",
    ) -> None:
        _check_numbers(batch_size=(batch_size, 1), prefetch=(prefetch, 0), num_threads=(num_threads, 1), world_size=(world_size, 1))
        if not isinstance(rank, int) or not 0 <= rank < world_size:
            raise ConfigError(f"rank is {rank!r}, world_size {world_size}; ranks count from 0 to {world_size - 1}")
        _check_kinds(shuffle=(shuffle, Shuffle), cost=(cost, Cost), agree=(agree, Agreement), queue=(queue, WorkQueue))
        if pin_memory and device is not None:
            place = f"device={str(device)!r}"
            raise ConfigError(f"pin_memory=True is for batches that the caller sends, and {place} says where they are: leave one out")
        self._device = None if device is None else device_of(device, "Dataset")
        if pin_memory and not torch.cuda.is_available():
            raise ConfigError("pin_memory=True is for a CUDA device, and torch sees none: leave it out")
        specs, wanted = specs_to_read(as_specs(columns), groups), as_format(format)
        _require_choice("on_error", on_error, get_args(OnError))
        _require_choice("tail", tail, get_args(Tail))
        self._work = RowWork.of(where, transform, also_read)
        unplanned = {"cost": cost is not None, "where": where is not None, 'on_error="skip"': on_error == "skip"}
        is_planned = not any(unplanned.values())
        if world_size > 1 and not is_planned and agree is None and queue is None:
            raise _needs_agreement(unplanned)
        _check_tail(tail, batch_size, cost, agree, queue)
        self._skips = SkipLog()
        skips = self._skips if on_error == "skip" else None
        self._source = source = Source.of(find_files(paths, wanted, filesystem, skips), specs, wanted, skips, self._work)
        if cost is not None:
            cost.require_read(specs)
        self._deals = Deals(source, shuffle, rank, world_size)
        some = functools.cache(functools.partial(some_piece, source))
        self._cutting = Cutting(batch_size, cost, tail, rank, world_size, is_planned, source.empty_columns, some)
        self._agree = None if is_planned or world_size == 1 else agree
        self._queue = queue
        self._prefetch, self._num_threads, self._groups, self._pin_memory = prefetch, num_threads, groups, pin_memory
        self._position = Position()
        self._iteration: object = None

    @property
    def epoch(self) -> int:
        """Epochs finished, counted from 0: the epoch that `iter` continues."""
        return self._position.epoch

    @property
    def batch_size(self) -> int:
        """Rows of a full batch."""
        return self._cutting.batch_size

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
        """Rows of an epoch, of all ranks. Cost: opens every file once, for its footer (files without one are read through); then kept.

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

    @property
    def num_filtered(self) -> int:
        """How many rows `where` left out so far, those read ahead included, and once more each time they are read again."""
        return 0 if self._work is None else self._work.num_filtered.value

    @property
    def counters(self) -> dict[str, int]:
        """What was left out so far, for logs: skipped files, pieces and rows, filtered rows."""
        skipped = self.num_skipped
        return {**{f"skipped_{what}": skipped[what] for what in ("files", "pieces", "rows")}, "filtered_rows": self.num_filtered}

    def __iter__(self) -> Iterator[Batch]:
        self._iteration = current = object()
        return self._batches(current)

    def _batches(self, current: object) -> Iterator[Batch]:
        self._require_current(current)
        start = self._position
        end = Handed(self._deals.num_deals, 0, 0)
        readers = Readers(self._source)
        leases = None if self._queue is None else Leases(self._queue, self._deals, start.epoch)
        tasks = functools.partial(self._deals.tasks, start, readers) if leases is None else functools.partial(leases.tasks, readers)
        there = self._batches_on_device()
        worker = functools.partial(PieceWorker, readers, there.sender if there else None)
        items = Prefetcher[Task | Mark, Decoded | Mark](tasks, worker, self._prefetch, self._num_threads)
        batches = cut(items, start, self._cutting, end)
        if leases is not None:
            batches = acknowledging(batches, leases)
        if self._agree is not None:
            exchange = self._agree.begin(self._deals.rank, self._deals.world_size)
            batches = agreed(batches, exchange, self._cutting.tail, lambda: (extra_batch(self._cutting), end))
        is_empty = True
        try:
            for taken, after in batches:
                is_empty = False
                batch = None if there else taken.batch()
                if leases is None:
                    self._position = Position(start.epoch, *after, start.base)
                if batch is None:
                    assert there is not None
                    batch = there.batch(taken)
                elif self._groups is not None:
                    batch = share_rows(batch, self._groups)
                del taken
                yield batch.packed(pin_memory=True) if self._pin_memory else batch
                del batch
                self._require_current(current)
        finally:
            items.close()
            readers.close()
            if leases is not None:
                leases.close()
        is_whole = start == Position(start.epoch) and self._deals.world_size == 1 and leases is None and self._cutting.tail != "drop"
        if is_empty and is_whole and self._skips.found:
            raise nothing_left(self._skips)
        self._position, self._iteration = Position(start.epoch + 1), None

    def _batches_on_device(self) -> DeviceBatches | None:
        if self._device is None or self._device.type == "cpu":
            return None
        names = [spec.name for spec in self._source.specs]
        return DeviceBatches(self._device, names, self._groups, self._deals.shuffle is not None)

    def _require_current(self, current: object) -> None:
        if self._iteration is not current:
            raise ConfigError(
                "another iteration of this dataset began, or its state was loaded; use one iterator at a time, or make two datasets"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch handed out, whatever was read ahead. JSON-able, at most 70 kB and the column names.

        It counts rows, so it may be loaded with another batch size, number of threads or prefetch depth. Every rank saves its own.
        """
        if self._queue is not None:
            raise ConfigError("a dataset that leases pieces from a queue has no position to save: what is done is in the queue's store")
        names = tuple(spec.name for spec in self._source.specs)
        deals = self._deals
        return SavedRank(deals.rank, deals.world_size, self._position, deals.shuffle, fingerprint(self._source.files), names).to_json()

    def load_state_dict(self, state: dict[str, Any] | Sequence[dict[str, Any]]) -> None:
        """Continue with the next row the saved readers had not handed out.

        state: one state, or a list of those of all ranks, in any order; the list is needed where the number of ranks changed. What the
        saved ranks had left is then dealt anew.

        Raises, and changes nothing: `CheckpointError` where `state` is none of this class, or states are not of one step, `DataError` where
        they belong to other files, `ConfigError` where they belong to other columns or another shuffle, or one is missing. Folders do not
        count: the files may have moved. Cost: with another number of ranks, the files that were being read are opened.
        """
        saved = [SavedRank.from_json(one) for one in (state if isinstance(state, list | tuple) else [state])]
        if not saved:
            raise ConfigError("the list of the readers' states is empty; give those of all ranks")
        for one in saved:
            self._require_same(one)
        self._position, self._iteration = resume(saved, self._deals), None

    def _require_same(self, saved: SavedRank) -> None:
        changed = difference(saved.files, self._source.files)
        if changed is not None:
            raise DataError(f"the reader's state belongs to other files: {changed}; give the files it was saved with, or start anew")
        before, now = set(saved.columns), {spec.name for spec in self._source.specs}
        if before != now:
            words = [
                f"{verb} {', '.join(sorted(names))}" for verb, names in (("without", before - now), ("with new", now - before)) if names
            ]
            raise ConfigError(f"the reader's state belongs to other columns: now {' and '.join(words)}; read the columns it was saved with")
        if saved.shuffle != self._deals.shuffle:
            raise ConfigError(
                f"the reader's state belongs to shuffle={saved.shuffle}, but this reads with {self._deals.shuffle}: rows would be read "
                "twice and others never; read with that of the state, or start anew"
            )


def _require_choice(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}{did_you_mean(str(value), known)}")


def _check_numbers(**numbers: tuple[object, int]) -> None:
    """Raise `ConfigError` for a number that is none, or less than its least."""
    for name, (value, least) in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _check_kinds(**options: tuple[object, type]) -> None:
    """Raise `ConfigError` for an option that is given and of another kind."""
    for name, (value, kind) in options.items():
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{name} is {value!r}; give a {kind.__name__} of sparrow.io, or leave it out")


def _needs_agreement(unplanned: dict[str, bool]) -> ConfigError:
    why = " and ".join(name for name, is_given in unplanned.items() if is_given)
    return ConfigError(
        f"with {why} the ranks may have different numbers of batches, and would wait for each other for ever: "
        "give agree=Agreement(store, name), by which they end together"
    )


def _check_tail(tail: Tail, batch_size: int, cost: Cost | None, agree: Agreement | None, queue: WorkQueue | None) -> None:
    if queue is not None and (tail != "short" or agree is not None):
        raise ConfigError("with queue every rank ends by itself, when all is read: leave tail and agree out")
    if cost is not None and tail in ("pad", "repeat"):
        raise ConfigError(f'tail={tail!r} fills batches of {batch_size} rows, but cost cuts others: use "short" or "drop"')
