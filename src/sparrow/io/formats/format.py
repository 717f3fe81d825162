"""What a file format must tell and do for the reader: one module a format implements this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class FormatError(Exception):
    """What is wrong with a file, and what to do about it, in words that follow the file's name."""


@dataclass(frozen=True, slots=True)
class FileTypes:
    """The columns of a file: name -> Arrow type, and the names that stand there more than once.

    note: what to say behind the name of a column that is not there.
    """

    of_column: dict[str, Any]
    repeated: frozenset[str]
    note: str = ""

    @staticmethod
    def of(schema: Any) -> FileTypes:
        """Take an Arrow schema apart, now: a damaged file may fail at any name."""
        names = list(schema.names)
        types = {field.name: field.type for field in schema}
        for file_type in types.values():
            str(file_type)
        return FileTypes(types, frozenset(name for name, count in Counter(names).items() if count > 1))


class OpenFile(Protocol):
    """An open file, cut into pieces that decode on their own: stripes, row groups, record batches, blocks.

    Methods may raise anything where the file is damaged: the reader says which file and piece it was.
    """

    @property
    def types(self) -> FileTypes:
        """The columns of the file."""
        ...

    @property
    def num_pieces(self) -> int | None:
        """Number of pieces; None where only reading to the end tells."""
        ...

    def rows_of(self, piece: int) -> int | None:
        """Return the rows of a piece without decoding it; None where only reading tells.

        Where `num_pieces` is None, those of the last piece asked for may be known, whether or not it could be read: reading can go on then.
        """
        ...

    def read(self, piece: int, names: Sequence[str]) -> Any | None:
        """Return the columns `names` of a piece as an Arrow table or record batch of exactly its rows, None after the last piece.

        Where `num_pieces` is None, pieces are asked for from 0 on, in order, all with the same names. The names are columns of `types`.
        """
        ...

    def count_rows(self) -> int:
        """Return the number of rows of the file. Cost: where `num_pieces` is None, it reads the file; nothing can be read from it then."""
        ...


class Format(Protocol):
    """A file format.

    name:     as in messages, such as "ORC".
    piece:    the word for a piece, such as "stripe".
    suffixes: how names of such files end; the content decides, these choose the files of a folder.
    reads_compressed: whether a whole file may be gzip or zlib data.
    """

    @property
    def name(self) -> str: ...

    @property
    def piece(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    @property
    def reads_compressed(self) -> bool: ...

    def matches(self, head: bytes) -> bool | None:
        """Return whether a file that begins with `head` (at most 64 bytes) is one of this format, None where a beginning never tells."""
        ...

    def open(self, source: Any, known: FileTypes | None) -> OpenFile:
        """Open a file.

        source: pyarrow's random-access file, which the caller closes.
        known:  the columns of the first file, None for that file itself: a format that infers types keeps to these.

        Raises anything where the file is damaged; a `FormatError` where it has better words for it than that.
        """
        ...

    def diagnose(self, head: bytes, tail: bytes) -> str | None:
        """Return what is wrong with a file that does not open, by its first and last bytes (at most 64), in words; None where unknown."""
        ...
