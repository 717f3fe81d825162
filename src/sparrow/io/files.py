"""Which files a dataset reads."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyarrow import fs

from sparrow.errors import ConfigError, DataError
from sparrow.io.filesystems import Locator, Place
from sparrow.io.formats.format import Format
from sparrow.io.formats.known import FORMATS, format_of_name, has_suffix
from sparrow.io.partitions import is_partition
from sparrow.io.skipped import SkipLog

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class MissingError(DataError):
    """A path stands for no file."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a dataset, as it was when the dataset was made.

    place:      where it lies.
    name:       its name, partition folders included.
    num_bytes:  its size; None where the filesystem does not tell.
    changed_ns: its time of change, in ns since 1970; None where the filesystem does not tell.
    """

    place: Place
    name: str
    num_bytes: int | None
    changed_ns: int | None

    @property
    def path(self) -> str:
        """As in messages."""
        return self.place.shown

    def open(self) -> Any:
        """Return the file open for random access by pyarrow, which reads without the GIL. Raises `OSError`."""
        return self.place.filesystem.open_input_file(self.place.path)

    def change(self) -> str | None:
        """Return how the file differs from what it was when the dataset was made, in words, or None where it does not or is gone."""
        info = self.place.info()
        if info.type == fs.FileType.NotFound:
            return None
        if info.size != self.num_bytes:
            return f"{self.num_bytes} bytes before, {info.size} now"
        return None if info.mtime_ns == self.changed_ns else "it was written to since"


def find_files(paths: Paths, wanted: Format | None = None, filesystem: Any = None, skips: SkipLog | None = None) -> tuple[SourceFile, ...]:
    """Return the files `paths` stands for, in reading order.

    paths: a file (whatever its name), a folder (its files with the suffix of a format, sorted by name; names that start with `.` or `_`
    are left out; those of partition folders `key=value` in it, at any depth, too), a glob (its files, sorted), or a list of these, read in
    the order of the list. Each may be a URL.
    wanted: the format of all files; None takes the files of any format from a folder, but of one.
    filesystem: pyarrow's or fsspec's, for all paths; None: the local disk, or what the URL says.
    skips: where to note paths that stand for nothing, while others stand for something; None makes that an error.

    Raises `DataError` where one stands for nothing, or a folder mixes formats, `ConfigError` where a file would be read twice.
    Cost: one listing a folder; no file is opened.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ConfigError("paths is empty; name a file, a folder, a glob, or a list of these")
    locator = Locator(filesystem)
    found: list[SourceFile] = []
    seen: set[object] = set()
    missing: MissingError | None = None
    for one in given:
        place = locator.place(os.fspath(one))
        try:
            files = _expand(place, wanted)
        except MissingError as error:
            if skips is None:
                raise
            skips.add(place.shown, None, error)
            missing, files = missing or error, []
        for file in files:
            identity = _identity(file.place)
            if identity in seen:
                raise ConfigError(f"paths names {file.path} twice, so its rows would be read twice; name it once")
            seen.add(identity)
            found.append(file)
    if missing is not None and not found:
        raise missing
    return tuple(found)


def _identity(place: Place) -> object:
    if not place.is_local:
        return place.shown
    status = os.stat(place.path)
    return status.st_dev, status.st_ino


def _expand(place: Place, wanted: Format | None) -> list[SourceFile]:
    info = place.info()
    if info.type == fs.FileType.Directory:
        return _files_of_folder(place, wanted)
    if info.type != fs.FileType.NotFound:
        return [_source_file(place, info, os.path.basename(place.path))]
    if glob.has_magic(place.path):
        matches = place.matches()
        if not matches:
            raise MissingError(f"{place.shown}: no file matches this pattern; check the folder and the pattern")
        fixed = re.split(r"[*?\[]", place.path)[0].rpartition("/")[0]
        return [_source_file(place.at(match.path), match, match.path[len(fixed) :].lstrip("/")) for match in matches]
    raise MissingError(f"{place.shown}: no such file or folder{_nearest(place)}")


def _source_file(place: Place, info: Any, name: str) -> SourceFile:
    return SourceFile(place, name, info.size, info.mtime_ns)


def _files_of_folder(folder: Place, wanted: Format | None) -> list[SourceFile]:
    entries = folder.listing()
    if any(entry.type == fs.FileType.Directory and is_partition(entry.base_name) for entry in entries):
        entries = folder.listing(recursive=True)
    start = len(folder.path.rstrip("/")) + 1
    by_name = {entry.path[start:]: entry for entry in entries if entry.type == fs.FileType.File}
    names = sorted((name for name in by_name if _is_data(name)), key=lambda name: name.split("/"))
    return [_source_file(folder.at(by_name[name].path), by_name[name], name) for name in _choose(folder.shown, names, wanted)]


def _is_data(name: str) -> bool:
    *folders, last = name.split("/")
    return last[0] not in "._" and all(map(is_partition, folders))


def _choose(folder: str, names: list[str], wanted: Format | None) -> list[str]:
    """Return the names of files that are data: those with a format's suffix, or, where none has one, those without any suffix."""
    formats = FORMATS.values() if wanted is None else [wanted]
    suffixes = list(dict.fromkeys(suffix for one in formats for suffix in one.suffixes))
    chosen = [name for name in names if has_suffix(name, suffixes)]
    found = {format_of_name(name): name for name in reversed(chosen)}
    if wanted is None and len(found) > 1:
        examples = " and ".join(sorted(found.values()))
        raise DataError(f"{folder}: the folder mixes formats, such as {examples}; say format=, or name the files by a glob")
    chosen = chosen or [name for name in names if "." not in os.path.basename(name)]
    if not chosen:
        held = f"it holds {len(names)} other files, such as {names[0]}" if names else "it holds no files"
        raise DataError(
            f"{folder}: the folder has no files of a known suffix ({held}; known: {', '.join(suffixes)}); name one that has, or a glob"
        )
    return chosen


def _nearest(place: Place) -> str:
    folder = os.path.dirname(place.path) or "."
    while place.at(folder).info().type != fs.FileType.Directory:
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent or "."
    shown = os.path.abspath(folder) if place.is_local else place.at(folder).shown
    return f"; the nearest folder that exists is {shown}"
