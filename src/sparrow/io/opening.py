"""Opening a file of a dataset as what it is, or saying what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparrow.errors import DataError
from sparrow.io.files import SourceFile
from sparrow.io.formats.compressed import plain_head
from sparrow.io.formats.format import FileTypes, Format, FormatError, OpenFile
from sparrow.io.formats.known import FORMATS, article, describe, format_of_content, format_of_name

# Enough of a compressed file for the first bytes of what it holds.
_RAW_HEAD_BYTES = 1024
_HEAD_BYTES = 64


class StaleError(DataError):
    """The files are not those that the dataset was made with, or its state saved with: never to be skipped."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file and its format."""

    file: OpenFile
    format: Format


@contextmanager
def open_file(file: SourceFile, wanted: Format | None, known: FileTypes | None = None) -> Iterator[Opened]:
    """Give an open file, closed on leaving. Raises `DataError` saying what is wrong with it instead.

    wanted: its format; None lets its first bytes decide. known: the columns of the first file, for formats that infer types.
    """
    with open_source(file) as source:
        raw = _read_at(source, 0, _RAW_HEAD_BYTES)
        head, plain = raw[:_HEAD_BYTES], plain_head(raw, _HEAD_BYTES)
        chosen = wanted or format_of_content(head) or format_of_content(plain) or FORMATS.get(format_of_name(file.name) or "")
        if chosen is not None and chosen.reads_compressed:
            head = plain
        if chosen is None:
            raise DataError(f"{file.path}: {_unknown(head)}")
        try:
            opened = chosen.open(source, known)
        except Exception as error:
            require_unchanged(file)
            raise DataError(f"{file.path}: {_diagnose(source, chosen, head, error)}") from error
        yield Opened(opened, chosen)


@contextmanager
def open_source(file: SourceFile) -> Iterator[Any]:
    """Give pyarrow's open file, closed on leaving. Raises `DataError` where it is gone, not readable, or of another size than before."""
    try:
        source = file.open()
    except FileNotFoundError:
        raise DataError(f"{file.path}: the file is gone since the dataset was made; put it back, or make the dataset anew") from None
    except OSError as error:
        raise DataError(f"{file.path}: cannot be opened ({first_line(error)}); check the path and its permissions") from None
    with source:
        require_unchanged(file)
        yield source


def require_unchanged(file: SourceFile) -> None:
    """Raise `StaleError` where the file has another size or time of change than when the dataset was made; not where it is gone."""
    change = file.change()
    if change is not None:
        raise StaleError(f"{file.path}: changed while in use, {change}; make the dataset anew")


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _read_at(source: Any, begin: int, num_bytes: int) -> bytes:
    source.seek(begin)
    data: bytes = source.read(num_bytes)
    source.seek(0)
    return data


_EMPTY = "the file is empty (0 bytes); write or copy it again"


def _unknown(head: bytes) -> str:
    if not head:
        return _EMPTY
    found = describe(head)
    what = f"is {found}" if found else f"is of no format that is known (it begins with {head[:8]!r})"
    return f"{what}, expected {', '.join(one.name for one in FORMATS.values())}; convert it, or say format="


def _diagnose(source: Any, expected: Format, head: bytes, error: Exception) -> str:
    num_bytes = source.size()
    if num_bytes == 0:
        return _EMPTY
    other = format_of_content(head)
    if expected.matches(head) is False or (other is not None and other.name != expected.name):
        found = describe(head)
        if found is not None:
            return f"is {found}, expected {expected.name}; convert it, or leave format= out"
        return f"is not {article(expected)} {expected.name} file (it begins with {head[:8]!r}); name {expected.name} files, or convert it"
    if isinstance(error, FormatError):
        return str(error)
    what = expected.diagnose(head, _read_at(source, max(0, num_bytes - _HEAD_BYTES), _HEAD_BYTES))
    if what is not None:
        return f"{what} after {num_bytes} bytes; write or copy it again"
    return f"is a damaged {expected.name} file ({first_line(error)}); write or copy it again"
