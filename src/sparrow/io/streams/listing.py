"""What files lie below a folder, on a local disk or elsewhere, and what tells whether one is still the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

from pyarrow import fs

from sparrow.io.filesystems import Place
from sparrow.io.opening import first_line

# Where there are no folders, only names with slashes: one without files cannot be told from one that is not there.
_FLAT = frozenset({"s3", "s3a", "gcs", "gs", "abfs", "abfss", "az", "memory"})
# What fsspec's filesystems call the time a file was written, in their listings; others are asked file by file.
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated")


class Identity(NamedTuple):
    """What tells whether a file is still the one that was listed. inode: 0 where files have none."""

    num_bytes: int
    mtime_ns: int
    inode: int


class Entry(NamedTuple):
    """A file of a listing. changed_ns: when it last changed by the filesystem's clock; on a local disk also when it got its name."""

    name: str
    identity: Identity
    changed_ns: int


def is_there(root: Place) -> bool:
    """Whether a folder exists, or could: a store without folders has every one. Raises `DataError` where nobody answers."""
    found = root.info().type
    return found == fs.FileType.Directory or (found == fs.FileType.NotFound and _is_flat(root))


def files_below(root: Place, enters: Callable[[str], bool]) -> Iterator[tuple[str, list[Entry]]]:
    """Yield every folder below `root`, as a path within it, and its files, unsorted. Links to folders are not followed.

    enters: whether to look into a folder, by its name.

    Raises `OSError` where `root` cannot be listed: one that is away must not look like one that is empty. Cost: on a local disk one listing
    a folder and one `stat` a file; elsewhere one recursive listing, and a question a file where that does not tell times.
    """
    if root.is_local:
        with os.scandir(root.path):
            pass
        yield from _walk(root.path, "", enters)
        return
    try:
        by_folder = _listed(root)
    except OSError:
        raise
    except Exception as error:  # what a client of fsspec raises, who knows
        raise OSError(first_line(error)) from error
    yield from (one for one in by_folder.items() if all(map(enters, filter(None, one[0].split("/")))))


def identity_of(place: Place) -> Identity:
    """Return what a file is now. Raises `FileNotFoundError`, or `OSError` where nobody answers."""
    if place.is_local:
        return _identity_of_status(os.stat(place.path))
    inner = _fsspec_of(place)
    try:
        if inner is not None:
            inner.invalidate_cache()
            return _identity_of_info(inner, inner.info(place.path))
        info = place.filesystem.get_file_info(place.path)
    except OSError:
        raise
    except Exception as error:
        raise OSError(first_line(error)) from error
    if info.type != fs.FileType.File:
        raise FileNotFoundError(place.shown)
    return Identity(info.size, _known(info.mtime_ns, place.shown), 0)


def is_away(place: Place) -> bool:
    """Whether nobody answers now what a file is: that it is gone, or not to be read by us, is an answer."""
    try:
        identity_of(place)
    except (FileNotFoundError, PermissionError):
        return False
    except OSError:
        return True
    return False


def _walk(root: str, folder: str, enters: Callable[[str], bool]) -> Iterator[tuple[str, list[Entry]]]:
    files: list[Entry] = []
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
    yield folder, files
    for name in filter(enters, folders):
        yield from _walk(root, f"{folder}/{name}" if folder else name, enters)


def _stat(entry: os.DirEntry[str]) -> list[Entry]:
    try:
        status = entry.stat()
    except FileNotFoundError:
        return []
    return [Entry(entry.name, _identity_of_status(status), status.st_ctime_ns)]


def _identity_of_status(status: os.stat_result) -> Identity:
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino)


def _listed(root: Place) -> dict[str, list[Entry]]:
    inner, by_folder = _fsspec_of(root), dict[str, list[Entry]]()
    for path, identity in _of_arrow(root) if inner is None else _of_fsspec(root, inner):
        folder, _, name = path.rpartition("/")
        by_folder.setdefault(folder, []).append(Entry(name, identity, identity.mtime_ns))
    return by_folder


def _of_arrow(root: Place) -> Iterator[tuple[str, Identity]]:
    start = len(root.path.rstrip("/")) + 1 if root.path else 0
    for info in root.filesystem.get_file_info(fs.FileSelector(root.path, allow_not_found=_is_flat(root), recursive=True)):
        if info.type == fs.FileType.File:
            yield info.path[start:], Identity(info.size, _known(info.mtime_ns, info.path), 0)


def _of_fsspec(root: Place, inner: Any) -> Iterator[tuple[str, Identity]]:
    inner.invalidate_cache()  # clients keep listings, and would never see what lands
    path = inner._strip_protocol(root.path).rstrip("/")
    if not _is_flat(root) and not inner.isdir(path):
        raise FileNotFoundError(root.shown)
    for name, info in inner.find(path, detail=True).items():
        yield name[len(path) + 1 :], _identity_of_info(inner, info)


def _identity_of_info(inner: Any, info: dict[str, Any]) -> Identity:
    time = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    if time is None:
        time = inner.modified(info["name"])
    return Identity(int(info["size"]), _as_ns(time), 0)


def _as_ns(time: Any) -> int:
    if isinstance(time, int | float):
        return round(time * 1e9)
    when = datetime.fromisoformat(time.replace("Z", "+00:00")) if isinstance(time, str) else time
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    since = when - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000


def _known(mtime_ns: int | None, shown: str) -> int:
    if mtime_ns is None:
        raise OSError(f"{shown}: the filesystem does not tell when a file was written")
    return mtime_ns


def _fsspec_of(place: Place) -> Any | None:
    handler = getattr(place.filesystem, "handler", None)
    return handler.fs if isinstance(handler, fs.FSSpecHandler) else None


def _is_flat(place: Place) -> bool:
    inner = _fsspec_of(place)
    protocols = [place.filesystem.type_name] if inner is None else inner.protocol
    return not _FLAT.isdisjoint([protocols] if isinstance(protocols, str) else protocols)
