"""Where files lie: a local disk, what pyarrow opens (S3, GCS, HDFS, Azure), or what fsspec opens, all as pyarrow filesystems."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import fs

from sparrow.errors import ConfigError, DataError

_URL = re.compile(r"[A-Za-z][\w.+:-]*://")
# A ? is a pattern, but for one that begins the options of a URL: s3://bucket/key?region=...
_OPTIONS = re.compile(r"\?\w+=")


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a filesystem.

    filesystem: pyarrow's.
    path:       as the filesystem takes it.
    shown:      as the user wrote it; it ends as `path` does.
    """

    filesystem: Any
    path: str
    shown: str

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def at(self, path: str) -> Place:
        """Return another path of the filesystem, shown alike."""
        head = self.shown[: len(self.shown) - len(self.path)] if self.shown.endswith(self.path) else ""
        return Place(self.filesystem, path, head + path)

    def info(self) -> Any:
        """Return pyarrow's `FileInfo`: type, size, time of change. Raises `DataError` where the filesystem does not answer."""
        return self._ask(self.path)

    def listing(self, *, recursive: bool = False) -> list[Any]:
        """Return the `FileInfo` of what is in this folder, in no order; nothing where there is no such folder."""
        found: list[Any] = self._ask(fs.FileSelector(self.path, allow_not_found=True, recursive=recursive))
        return found

    def _ask(self, what: Any) -> Any:
        try:
            return self.filesystem.get_file_info(what)
        except (OSError, pa.ArrowException, ImportError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:
                raise DataError(f"{self.shown}: {os.strerror(error.errno)}; check the path and its permissions") from error
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{self.shown}: cannot be listed ({reason}); check the path, the network and the credentials") from error

    def matches(self) -> list[Any]:
        """Return the `FileInfo` of the files that this path, a pattern, matches, sorted by path. `**` stands for folders at any depth."""
        if self.is_local:
            found = self.filesystem.get_file_info(sorted(glob.glob(self.path, recursive=True)))
        else:
            found = sorted(self._expand(), key=lambda info: info.path)
        return [info for info in found if info.type == fs.FileType.File]

    def _expand(self) -> list[Any]:
        parts = self.path.split("/")
        first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        base, parts = self.at("/".join(parts[:first])), parts[first:]
        if "**" in parts:
            start = len(base.path) + 1 if base.path else 0
            return [info for info in base.listing(recursive=True) if _fits(info.path[start:].split("/"), parts)]
        # Folder by folder: what lies beside the pattern is not listed.
        folders, infos = [base], []
        for part in parts:
            infos = [info for folder in folders for info in folder.listing() if _fits([info.base_name], [part])]
            folders = [self.at(info.path) for info in infos if info.type == fs.FileType.Directory]
        return infos


def _fits(names: list[str], parts: list[str]) -> bool:
    """Whether a path matches a pattern, by the rules of `glob`: hidden names only where the pattern begins with a dot too."""
    if not parts:
        return not names
    hidden = bool(names) and names[0][:1] == "."
    if parts[0] == "**":
        return _fits(names, parts[1:]) or (bool(names) and not hidden and _fits(names[1:], parts))
    if not names or (hidden and parts[0][:1] != ".") or not fnmatch.fnmatchcase(names[0], parts[0]):
        return False
    return _fits(names[1:], parts[1:])


class Locator:
    """Paths and URLs to places. One filesystem is made for each host or bucket, however many files it has."""

    def __init__(self, filesystem: Any = None) -> None:
        self._given = None if filesystem is None else _as_pyarrow(filesystem)
        self._local = fs.LocalFileSystem()
        self._roots: dict[tuple[str, str], tuple[Any, str]] = {}

    def place(self, path: str) -> Place:
        """Return the place of a path. Raises `ConfigError` where nothing installed opens such a URL."""
        url = _URL.match(path)
        if self._given is not None:
            return Place(self._given, path[url.end() :] if url else path, path)
        if url is None:
            return Place(self._local, path, path)
        options = _OPTIONS.search(path)
        end = options.start() if options else len(path)
        authority, _, key = path[url.end() : end].partition("/")
        root, query = f"{url[0]}{authority}/", path[end:]
        if (root, query) not in self._roots:
            self._roots[root, query] = _open_root(root, query)
        filesystem, head = self._roots[root, query]
        return Place(filesystem, head + key, root + key)


def _open_root(root: str, query: str) -> tuple[Any, str]:
    """Return the filesystem of a URL, and what goes before the keys in it. pyarrow is asked first, then fsspec."""
    probe = f"{root}x{query}"
    try:
        filesystem, path = fs.FileSystem.from_uri(probe)
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        filesystem, path = _from_fsspec(probe, str(error).splitlines()[0])
    return filesystem, path.removesuffix("x")


def _from_fsspec(url: str, pyarrow_says: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        import fsspec
    except ImportError:
        raise ConfigError(f"{scheme}://: pyarrow does not open it ({pyarrow_says}); install fsspec and its package for {scheme}") from None
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except Exception as error:
        fsspec_says = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{scheme}://: neither pyarrow ({pyarrow_says}) nor fsspec ({fsspec_says}) opens it; check the URL") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def _as_pyarrow(filesystem: Any) -> Any:
    if isinstance(filesystem, fs.FileSystem):
        return filesystem
    if not all(hasattr(filesystem, name) for name in ("info", "find", "open")):
        raise ConfigError(f"filesystem is a {type(filesystem).__name__}; expected one of pyarrow.fs or of fsspec")
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem))
