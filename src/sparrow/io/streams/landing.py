"""What has landed in a folder and is whole."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from sparrow.errors import DataError
from sparrow.io.filesystems import Place
from sparrow.io.streams.listing import Entry, Identity, files_below, identity_of

Settle = Literal["rename", "success", "stable"]
RULES: tuple[Settle, ...] = get_args(Settle)
SUCCESS = "_SUCCESS"
_UNFINISHED = (".tmp", ".inprogress")


@dataclass(frozen=True, slots=True)
class Settling:
    """When a file is whole, as `WatchedFolder` says. stable_ns: how long a file must have stayed as it is, 0 where that does not tell."""

    rule: Settle
    stable_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A file that is whole. Units are read in the order of their keys.

    folder, name: below the watched folder, "/" between.
    landed_ns:    when it became whole, by the file system's clock: its time of change, or that of the folder's marker where it is later, or
                  `stable_ns` after it.
    written_ns:   the same by times of writing, which renaming and changes of permissions leave alone.
    """

    folder: str
    name: str
    landed_ns: int
    written_ns: int
    place: Place
    identity: Identity

    @property
    def key(self) -> tuple[str, str]:
        return self.folder, self.name


def find_units(root: Place, settling: Settling, pattern: str, now_ns: int) -> list[Unit]:
    """Return the files that are whole at `now_ns`, sorted. Raises `OSError` where the watched folder itself cannot be listed."""
    units: list[Unit] = []
    for folder, entries in files_below(root, _is_whole):
        marker = next((entry for entry in entries if entry.name == SUCCESS), None)
        if settling.rule == "success" and marker is None:
            continue
        for entry in entries:
            if _is_whole(entry.name) and fnmatch.fnmatch(entry.name, pattern):
                units += _unit_of(root, folder, entry, settling, marker, now_ns)
    return sorted(units, key=lambda unit: unit.key)


def _unit_of(root: Place, folder: str, entry: Entry, settling: Settling, marker: Entry | None, now_ns: int) -> Iterator[Unit]:
    landed_ns, written_ns = entry.changed_ns, entry.identity.mtime_ns
    if settling.rule == "success" and marker is not None:
        # A file that comes after the marker is as late as it is, or it would pass for consumed.
        landed_ns, written_ns = max(landed_ns, marker.changed_ns), max(written_ns, marker.identity.mtime_ns)
    elif settling.rule == "stable":
        landed_ns, written_ns = landed_ns + settling.stable_ns, written_ns + settling.stable_ns
        if landed_ns > now_ns:
            return
    within = f"{folder}/{entry.name}" if folder else entry.name
    place = root.at(f"{root.path.rstrip('/')}/{within}" if root.path else within)
    yield Unit(folder, entry.name, landed_ns, written_ns, place, entry.identity)


def _is_whole(name: str) -> bool:
    return name[0] not in "._" and not name.endswith(_UNFINISHED)


def require_same(unit: Unit) -> None:
    """Raise `DataError` where a file is no longer the one that was listed."""
    path = unit.place.shown
    try:
        now = identity_of(unit.place)
    except FileNotFoundError:
        raise DataError(f"{path}: is gone before all of it was read; delete files only once they are consumed") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read now ({error}); look whether its filesystem answers, and go on from the state") from None
    if now != unit.identity:
        raise DataError(
            f"{path}: changed while it was read ({unit.identity.num_bytes} bytes before, {now.num_bytes} now); "
            "write files under another name and rename them when they are whole, and never replace one"
        )
