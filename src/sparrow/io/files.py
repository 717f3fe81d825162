"""Which files a dataset reads, and how it knows them again after a restart."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from sparrow.errors import ConfigError, DataError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a dataset: its path, and its size when the dataset was made."""

    path: str
    num_bytes: int

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def find_files(paths: Paths, *, suffix: str = ".orc") -> tuple[SourceFile, ...]:
    """Return the files `paths` stands for, in reading order.

    paths: a file (whatever its name), a folder (its `*.orc` files sorted by name; names that start with `.` or `_` are left out), a glob
    (its files, sorted), or a list of these, read in the order of the list. Raises `DataError` where one stands for nothing, `ConfigError`
    where a file would be read twice.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise ConfigError("paths is empty; name a file, a folder, a glob, or a list of these")
    found: list[SourceFile] = []
    seen: set[tuple[int, int]] = set()
    for one in given:
        for path in _expand(os.fspath(one), suffix):
            status = os.stat(path)
            inode = (status.st_dev, status.st_ino)
            if inode in seen:
                raise ConfigError(f"paths names {path} twice, so its rows would be read twice; name it once")
            seen.add(inode)
            found.append(SourceFile(path, status.st_size))
    return tuple(found)


def _expand(path: str, suffix: str) -> list[str]:
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] not in "._" and entry.is_file())
        chosen = [os.path.join(path, name) for name in names if name.endswith(suffix)]
        if not chosen:
            held = f"it holds {len(names)} other files, such as {names[0]}" if names else "it holds no files"
            raise DataError(f"{path}: the folder has no *{suffix} files ({held}); name a folder or a glob that has some")
        return chosen
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        matches = sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))
        if not matches:
            raise DataError(f"{path}: no file matches this pattern; check the folder and the pattern")
        return matches
    raise DataError(f"{path}: no such file or folder{_nearest(path)}")


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
