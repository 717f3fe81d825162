"""What a rank reads of an epoch, piece by piece, from a position on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sparrow.io.opening import StaleError, require_unchanged
from sparrow.io.order import Interval, Shuffle, epoch_files, files_per_deal, intersect, permutation, share, within
from sparrow.io.read import FileReader
from sparrow.io.readers import Readers
from sparrow.io.source import Source, skipping

# Opening a file is waiting, on a remote filesystem above all.
_LISTING_THREADS = 8


@dataclass(frozen=True, slots=True)
class Base:
    """What an epoch's rows were dealt from: all of them, or what ranks of another number had left.

    begun: deals before this one hold only what `left` says.
    left:  deal -> sorted intervals of its order that are still to be read.
    """

    begun: int = 0
    left: dict[int, tuple[Interval, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """The next row of a rank: of its share of deal `deal`, `taken` rows are behind it. `dealt` rows were dealt to all ranks before."""

    epoch: int = 0
    deal: int = 0
    dealt: int = 0
    taken: int = 0
    base: Base = field(default_factory=Base)


class PieceOf(NamedTuple):
    """A piece of a file: its number, and the file's row of its first row."""

    file: int
    number: int
    first_row: int
    num_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows that follow each other in a rank's share of a deal.

    deal, dealt, first: the position before the first of them, `first` being rows of the share.
    dealt_after: rows dealt to all ranks once the deal is dealt; None where that is not known yet, to a rank alone.
    order: the rows, as numbers into the concatenated tasks of the run; None: all of the only task, in order.
    """

    deal: int
    dealt: int
    first: int
    dealt_after: int | None
    order: Any | None


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Rows begin..end of a piece, to be read for a run. table, reader: the piece as Arrow, where it could only be read in order."""

    piece: PieceOf
    begin: int
    end: int
    run: Run
    ends_run: bool
    table: Any | None = None
    reader: FileReader | None = None


class Mark(NamedTuple):
    """A deal is over: rows dealt to all ranks so far.

    flushed: to be called once all rows before it were handed out, those that wait to fill a batch too.
    """

    dealt: int
    flushed: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Buffer:
    """Pieces whose rows are ordered together: by the permutation of `key`, or, of one piece, as they are."""

    pieces: tuple[PieceOf, ...]
    key: tuple[int, ...] | None

    @property
    def num_rows(self) -> int:
        return sum(piece.num_rows for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Deals:
    """How the epochs of a source are dealt to `world_size` ranks, and which of them this is."""

    source: Source
    shuffle: Shuffle | None
    rank: int
    world_size: int

    @property
    def num_deals(self) -> int:
        return -(-len(self.source.files) // files_per_deal(self.shuffle))

    def numbers(self, start: Position) -> list[int]:
        """Return the deals from a position on."""
        left = [deal for deal in sorted(start.base.left) if start.deal <= deal < start.base.begun]
        return [*left, *range(max(start.base.begun, start.deal), self.num_deals)]

    def num_rows(self, deal: int, epoch: int) -> int:
        """Return the rows of a whole deal. Cost: opens its files; those that are read in order are read through."""
        with closing(Readers(self.source)) as readers:
            return sum(map(sum, (rows for _, rows, _ in self._listed(self._files(deal, epoch), readers))))

    def tasks(self, start: Position, readers: Readers) -> Generator[Task | Mark, None, None]:
        """Yield what this rank reads from `start` on, and a mark after each deal. Files are listed, and those in order read, on the way."""
        dealt = start.dealt
        for deal in self.numbers(start):
            taken = start.taken if deal == start.deal else 0
            left = start.base.left.get(deal) if deal < start.base.begun else None
            if self.world_size == 1 and self.shuffle is None and left is None:
                yield from self._streamed(deal, start.epoch, taken, readers)
                yield Mark(dealt)
                continue
            listing = self._listed(self._files(deal, start.epoch), readers)
            buffers = self._buffers(listing, deal, start.epoch)
            total = sum(buffer.num_rows for buffer in buffers)
            intervals = ((0, total),) if left is None else left
            if intervals and intervals[-1][1] > total:
                raise StaleError(
                    f"{self.source.files[listing[0][0]].path}: it and the {len(listing) - 1} files read with it have {total} rows, but the "
                    f"saved position knows row {intervals[-1][1] - 1}; the state belongs to other files"
                )
            num_rows = sum(end - begin for begin, end in intervals)
            begin, end = share(self.rank, self.world_size, dealt, num_rows)
            in_order = {index for index, _, is_in_order in listing if is_in_order}
            mine = list(within(intervals, begin + taken, end))
            yield from self._dealt(buffers, mine, Run(deal, dealt, taken, dealt + num_rows, None), in_order)
            dealt += num_rows
            yield Mark(dealt)

    def buffers_of(self, deal: int, epoch: int, readers: Readers) -> list[Buffer]:
        """Return what the rows of a deal are ordered in. Cost: opens its files."""
        return self._buffers(self._listed(self._files(deal, epoch), readers), deal, epoch)

    def whole_buffer(self, buffer: Buffer, at: Run, readers: Readers) -> Iterator[Task]:
        """Yield the tasks of all rows of one buffer, `at` being where it begins."""
        in_order: set[int] = set()
        for index in {piece.file for piece in buffer.pieces}:
            with readers.reading(index) as reader:
                if reader.in_order:
                    in_order.add(index)
        yield from self._dealt([buffer], [(0, buffer.num_rows)], at, in_order)

    def _files(self, deal: int, epoch: int) -> Sequence[int]:
        size = files_per_deal(self.shuffle)
        return epoch_files(len(self.source.files), self.shuffle, epoch)[deal * size : (deal + 1) * size]

    def _listed(self, files: Sequence[int], readers: Readers) -> list[tuple[int, list[int], bool]]:
        """Return, for each file, its place, the rows of its pieces, and whether it is read in order; no pieces where it is left out."""

        def listed(index: int) -> tuple[int, list[int], bool]:
            with skipping(self.source.files[index], self.source.skips), readers.reading(index) as reader:
                return index, reader.piece_rows(), reader.in_order
            return index, [], False

        if len(files) == 1:
            return [listed(files[0])]
        with ThreadPoolExecutor(_LISTING_THREADS, thread_name_prefix="sparrow-lister") as pool:
            return list(pool.map(listed, files))

    # One rank, rows as they are: nothing needs to be known before it is read.

    def _streamed(self, deal: int, epoch: int, taken: int, readers: Readers) -> Iterator[Task]:
        row = 0
        for index in self._files(deal, epoch):
            with skipping(self.source.files[index], self.source.skips):
                for piece, table, reader in self._pieces_of(index, readers):
                    begin = max(0, taken - row)
                    if begin < piece.num_rows and not (reader is not None and table is None):
                        run = Run(deal, 0, row + begin, None, None)
                        yield Task(piece, begin, piece.num_rows, run, True, table, reader)
                    row += piece.num_rows
                    del table
        if row < taken:
            path = self.source.files[self._files(deal, epoch)[0]].path
            raise StaleError(
                f"{path}: the saved position is row {taken} of it and the files read with it, but they have {row}; "
                "the state belongs to other files"
            )

    def _pieces_of(self, index: int, readers: Readers) -> Iterator[tuple[PieceOf, Any | None, FileReader | None]]:
        """Yield the pieces of a file; with table, None for one left out, and reader where it is read in order."""
        with readers.reading(index) as reader:
            if reader.in_order:
                yield from ((piece, table, reader) for piece, table in _pieces(reader))
                require_unchanged(reader.file)
                return
            pieces = [piece for piece, _ in _pieces(reader)]
        # The reader is free now: whoever decodes the first piece takes it.
        yield from ((piece, None, None) for piece in pieces)
        if self.source.files[index].place.is_local:  # of others the last piece asks, in its worker
            require_unchanged(self.source.files[index])

    # Several ranks, or rows in another order.

    def _buffers(self, listing: list[tuple[int, list[int], bool]], deal: int, epoch: int) -> list[Buffer]:
        pieces = [
            PieceOf(index, number, first_row, num_rows)
            for index, rows, _ in listing
            for number, (num_rows, first_row) in enumerate(zip(rows, itertools.accumulate(rows, initial=0), strict=False))
            if num_rows
        ]
        shuffle = self.shuffle
        if shuffle is None:
            return [Buffer((piece,), None) for piece in pieces]
        order = permutation(len(pieces), shuffle.seed, epoch, deal).tolist()
        permuted = [pieces[place] for place in order]
        for index, _, is_in_order in listing:
            if is_in_order:
                places = [place for place, piece in enumerate(permuted) if piece.file == index]
                ascending = sorted(permuted[place] for place in places)
                for place, piece in zip(places, ascending, strict=True):
                    permuted[place] = piece
        starts = range(0, len(permuted), shuffle.buffer_pieces)
        return [
            Buffer(tuple(permuted[first : first + shuffle.buffer_pieces]), (shuffle.seed, epoch, deal, number))
            for number, first in enumerate(starts)
        ]

    def _dealt(self, buffers: list[Buffer], mine: list[Interval], at: Run, in_order: set[int]) -> Iterator[Task]:
        first, begin = at.first, 0
        with closing(_InOrder(self.source, in_order)) as streams:
            for buffer in buffers:
                wanted = [(low - begin, high - begin) for low, high in intersect(mine, begin, begin + buffer.num_rows)]
                # What is wanted of a permuted buffer is one run, so that its pieces are read once.
                for intervals in [wanted] if buffer.key and wanted else [[interval] for interval in wanted]:
                    run = Run(at.deal, at.dealt, first, at.dealt_after, _order(buffer, intervals))
                    for piece in buffer.pieces:
                        rows = (0, piece.num_rows) if buffer.key else intervals[0]
                        table, reader = streams.read(piece) if piece.file in in_order else (None, None)
                        yield Task(piece, *rows, run, piece is buffer.pieces[-1], table, reader)
                        del table
                    first += sum(high - low for low, high in intervals)
                begin += buffer.num_rows
            streams.require_unchanged()


def _order(buffer: Buffer, intervals: list[Interval]) -> Any | None:
    if buffer.key is None:
        return None
    order = permutation(buffer.num_rows, *buffer.key)
    return np.concatenate([order[low:high] for low, high in intervals])


def _pieces(reader: FileReader) -> Iterator[tuple[PieceOf, Any | None]]:
    """Yield the pieces of a file, with their tables where it is read in order; None for one left out."""
    if not reader.in_order:
        rows = reader.piece_rows()
        starts = itertools.accumulate(rows, initial=0)
        yield from ((PieceOf(reader.index, number, *at), None) for number, at in enumerate(zip(starts, rows, strict=False)))
        return
    for number, first_row, table in reader.tables():
        num_rows = reader.rows_of(number, first_row) if table is None else table.num_rows
        yield PieceOf(reader.index, number, first_row, num_rows or 0), table
        del table


class _InOrder:
    """Files of a deal that are read in order, each open from its first piece to the end of the deal."""

    def __init__(self, source: Source, files: Iterable[int]) -> None:
        self._source = source
        self._open: dict[int, tuple[FileReader, Iterator[tuple[PieceOf, Any | None]], list[tuple[PieceOf, Any | None]]]] = {}

    def read(self, piece: PieceOf) -> tuple[Any | None, FileReader | None]:
        """Return a piece's table, None where it is left out. Pieces of a file are asked for in ascending order, the last maybe again."""
        if piece.file not in self._open:
            with skipping(self._source.files[piece.file], self._source.skips):
                opened = FileReader(self._source, piece.file)
                self._open[piece.file] = opened, _pieces(opened), []
            if piece.file not in self._open:
                return None, None
        reader, pieces, last = self._open[piece.file]
        while not last or last[0][0].number < piece.number:
            following = next(pieces, None)
            if following is None:
                break
            last[:] = [following]
        if not last or last[0][0] != piece:
            raise StaleError(f"{reader.file.path}: {reader.name_of(piece.number)} is not what it was a moment ago; make the dataset anew")
        return last[0][1], reader

    def require_unchanged(self) -> None:
        """Raise `StaleError` where one was written to meanwhile."""
        for reader, _, _ in self._open.values():
            require_unchanged(reader.file)

    def close(self) -> None:
        for reader, _, _ in self._open.values():
            reader.close()
