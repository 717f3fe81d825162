"""Which files a dataset reads, and how it knows them again after a restart."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparrow.errors import ConfigError, DataError
from sparrow.io.formats.format import Format
from sparrow.io.formats.known import FORMATS, format_of_name, has_suffix

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a dataset: its path, and its size and time of change when the dataset was made."""

    path: str
    num_bytes: int
    changed_ns: int

    def open(self) -> Any:
        """Return the file open for random access by pyarrow, which reads without the GIL. Raises `OSError`."""
        return pa.OSFile(self.path)

    def change(self) -> str | None:
        """Return how the file differs from what it was when the dataset was made, in words, or None where it does not or is gone."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        if status.st_size != self.num_bytes:
            return f"{self.num_bytes} bytes before, {status.st_size} now"
        return None if status.st_mtime_ns == self.changed_ns else "it was written to since"

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def find_files(paths: Paths, wanted: Format | None = None) -> tuple[SourceFile, ...]:
    """Return the files `paths` stands for, in reading order.

    paths: a file (whatever its name), a folder (its files with the suffix of a format, sorted by name; names that start with `.` or `_`
    are left out), a glob (its files, sorted), or a list of these, read in the order of the list.
    wanted: the format of all files; None takes the files of any format from a folder, but of one.

    Raises `DataError` where one stands for nothing, `ConfigError` where a file would be read twice or a folder mixes formats.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ConfigError("paths is empty; name a file, a folder, a glob, or a list of these")
    found: list[SourceFile] = []
    seen: set[tuple[int, int]] = set()
    for one in given:
        for path in _expand(os.fspath(one), wanted):
            status = os.stat(path)
            inode = (status.st_dev, status.st_ino)
            if inode in seen:
                raise ConfigError(f"paths names {path} twice, so its rows would be read twice; name it once")
            seen.add(inode)
            found.append(SourceFile(path, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _expand(path: str, wanted: Format | None) -> list[str]:
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] not in "._" and entry.is_file())
        return [os.path.join(path, name) for name in _choose(path, names, wanted)]
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        matches = sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))
        if not matches:
            raise DataError(f"{path}: no file matches this pattern; check the folder and the pattern")
        return matches
    raise DataError(f"{path}: no such file or folder{_nearest(path)}")


def _choose(folder: str, names: list[str], wanted: Format | None) -> list[str]:
    """Return the names of files that are data: those with a format's suffix, or, where none has one, those without any suffix."""
    formats = list(FORMATS.values()) if wanted is None else [wanted]
    chosen = [name for name in names if has_suffix(name, formats)]
    found = {format_of_name(name): name for name in reversed(chosen)}
    if wanted is None and len(found) > 1:
        examples = " and ".join(sorted(found.values()))
        raise DataError(f"{folder}: the folder mixes formats, such as {examples}; say format=, or name the files by a glob")
    chosen = chosen or [name for name in names if "." not in name]
    if not chosen:
        held = f"it holds {len(names)} other files, such as {names[0]}" if names else "it holds no files"
        suffixes = ", ".join(f"*{suffix}" for one in formats for suffix in one.suffixes)
        raise DataError(f"{folder}: the folder has no files of a known suffix ({held}; known: {suffixes}); name one that has, or a glob")
    return chosen


def _nearest(path: str) -> str:
    folder = os.path.dirname(path) or "."
    while folder and not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent or "."
    return f"; the nearest folder that exists is {os.path.abspath(folder)}"


# Names of the first files are kept as they are, so that a mismatch can be named; the digest covers all. This bounds the state.
_NUM_LISTED = 256


def fingerprint(files: Sequence[SourceFile]) -> dict[str, object]:
    """Return what tells one list of files from another: names without folders (data may move) and sizes. JSON-able, at most 70 kB."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.num_bytes}\n".encode("utf-8", "surrogateescape"))
    listed = [[file.name, file.num_bytes] for file in files[:_NUM_LISTED]]
    return {"num_files": len(files), "listed": listed, "digest": digest.hexdigest()}


def difference(saved: dict[str, object], files: Sequence[SourceFile]) -> str | None:
    """Return how the files of a saved fingerprint differ from `files`, in words, or None where they are the same."""
    present = fingerprint(files)
    if saved["digest"] == present["digest"]:
        return None
    old, new = saved["listed"], present["listed"]
    assert isinstance(old, list)
    assert isinstance(new, list)
    for index, (before, now) in enumerate(zip(old, new, strict=False)):
        if before[0] != now[0]:
            return f"file {index} was {before[0]}, now it is {now[0]}"
        if before[1] != now[1]:
            return f"{files[index].path} had {before[1]} bytes, now it has {now[1]}"
    if saved["num_files"] != present["num_files"]:
        return f"there were {saved['num_files']} files, now there are {present['num_files']}"
    return f"a file after the first {_NUM_LISTED} has another name or size"
