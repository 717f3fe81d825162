"""What a reader thread does: pieces of files to columns."""

from __future__ import annotations

from typing import final

from sparrow.errors import DataError
from sparrow.io.deals import Mark, Task
from sparrow.io.opening import StaleError
from sparrow.io.pieces import Piece
from sparrow.io.read import FileReader
from sparrow.io.readers import Readers
from sparrow.io.row_work import WorkError
from sparrow.io.sending import Sender
from sparrow.io.source import skipping


class Decoded(list[Piece]):
    """The rows of a task, in pieces of Arrow's making; fewer than the task's where damage or a filter left some out."""

    def __init__(self, task: Task, pieces: list[Piece]) -> None:
        super().__init__(pieces)
        self.task = task


@final
class PieceWorker:
    """Reads and decodes tasks, and sends what comes of them to a device where there is a `sender`."""

    def __init__(self, readers: Readers, sender: Sender | None = None) -> None:
        self._readers, self._source, self._sender = readers, readers.source, sender

    def __call__(self, task: Task | Mark) -> Decoded | Mark:
        """Return the rows of a task. Raises `DataError`, or leaves a damaged piece out and notes it, as the source says."""
        if isinstance(task, Mark):
            return task
        file = self._source.files[task.piece.file]
        pieces: list[Piece] = []
        with skipping(file, self._source.skips):
            if task.reader is not None:
                pieces = self._read(task.reader, task)
            else:
                with self._readers.reading(task.piece.file) as reader:
                    pieces = self._read(reader, task)
        if self._sender is not None:
            for piece in pieces:
                self._sender.send(piece)
        return Decoded(task, pieces)

    def _read(self, reader: FileReader, task: Task) -> list[Piece]:
        piece, skips = task.piece, self._source.skips
        if task.reader is not None and task.table is None:
            return []  # noted where it was read
        reader.decoding()
        try:
            table = task.table
            if table is None:
                table = reader.read(piece.number, piece.first_row)
                reader.require_unchanged(piece.number)
            return reader.decode(table, piece.number, piece.first_row, task.begin, task.end)
        except (StaleError, WorkError):
            raise
        except DataError as error:
            if skips is None:
                raise
            skips.add(reader.file.path, reader.name_of(piece.number), error, piece.num_rows)
            return []

    def close(self) -> None:
        """The readers are closed by whoever made them."""
