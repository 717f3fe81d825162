"""What has landed in a folder and is whole."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sparrow.errors import DataError

Settle = Literal["rename", "success"]
SUCCESS = "_SUCCESS"
_UNFINISHED = (".tmp", ".inprogress")


class Identity(NamedTuple):
    """What tells whether a file is still the one that was listed."""

    num_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A file that is whole. name: within the folder of its unit."""

    name: str
    path: str
    identity: Identity


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What is read as one: a file, or with `settle="success"` the files of a folder that has its marker.

    folder, name: below the watched folder, "/" between; `name` is "" for a folder. Units are read in the order of this pair.
    landed_ns:    when it became whole, by the file system's clock: the change time of the file, or of the marker.
    written_ns:   when that was written, which renaming does not change.
    """

    folder: str
    name: str
    landed_ns: int
    written_ns: int
    files: tuple[LandedFile, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.folder, self.name

    @property
    def digest(self) -> str:
        """What tells this unit from another of its name: names and sizes of its files."""
        text = "".join(f"{file.name}\0{file.identity.num_bytes}\n" for file in self.files)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def find_units(root: str, settle: Settle, pattern: str) -> list[Unit]:
    """Return the units that are whole now, sorted. Raises `OSError` where the watched folder itself cannot be listed.

    Cost: one listing of every folder below `root`, and one `stat` a file.
    """
    units: list[Unit] = []
    with os.scandir(root):
        pass  # a folder that is away must not look like one that is empty
    for folder, names in _walk(root, ""):
        files = [(name, status) for name, status in names if _is_whole(name) and fnmatch.fnmatch(name, pattern)]
        landed = [LandedFile(name, os.path.join(root, folder, name), identity_of(status)) for name, status in files]
        if settle == "rename":
            units += [Unit(folder, file.name, *_times(status), (file,)) for file, (_, status) in zip(landed, files, strict=True)]
        else:
            units += [Unit(folder, "", *_times(status), tuple(landed)) for name, status in names if name == SUCCESS]
    return sorted(units, key=lambda unit: unit.key)


def _walk(root: str, folder: str) -> Iterator[tuple[str, list[tuple[str, os.stat_result]]]]:
    """Yield every folder below `root`, as a path within it, and its files sorted by name. Links to folders are not followed."""
    files: list[tuple[str, os.stat_result]] = []
    folders: list[str] = []
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file():
                    files += _stat(entry)
    except FileNotFoundError:
        return  # deleted since its parent was listed
    yield folder, sorted(files, key=lambda file: file[0])
    for name in sorted(folders):
        if _is_whole(name):
            yield from _walk(root, f"{folder}/{name}" if folder else name)


def _stat(entry: os.DirEntry[str]) -> list[tuple[str, os.stat_result]]:
    try:
        return [(entry.name, entry.stat())]
    except FileNotFoundError:
        return []


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_ctime_ns, status.st_mtime_ns


def _is_whole(name: str) -> bool:
    return name[0] not in "._" and not name.endswith(_UNFINISHED)


def identity_of(status: os.stat_result) -> Identity:
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino)


def require_same(file: LandedFile) -> None:
    """Raise `DataError` where a file is no longer the one that was listed."""
    try:
        now = identity_of(os.stat(file.path))
    except FileNotFoundError:
        raise DataError(f"{file.path}: is gone before all of it was read; delete files only once they are consumed") from None
    if now != file.identity:
        raise DataError(
            f"{file.path}: changed while it was read ({file.identity.num_bytes} bytes before, {now.num_bytes} now); "
            "write files under another name and rename them when they are whole, and never replace one"
        )
