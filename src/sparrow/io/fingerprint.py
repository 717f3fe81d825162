"""How a dataset knows its files again after a restart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sparrow.io.files import SourceFile

# Names of the first files are kept as they are, so that a mismatch can be named; the digest covers all. This bounds the state.
_MAX_LISTED = 256
_MAX_LISTED_BYTES = 60_000


def fingerprint(files: Sequence[SourceFile]) -> dict[str, object]:
    """Return what tells one list of files from another: names (data may move) and sizes. JSON-able, at most 60 kB and one name.

    The name of a file in partition folders begins with these.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.num_bytes}\n".encode("utf-8", "surrogateescape"))
    listed: list[list[object]] = []
    num_bytes = 0
    for file in files[:_MAX_LISTED]:
        if num_bytes > _MAX_LISTED_BYTES:
            break
        listed.append([file.name, file.num_bytes])
        num_bytes += len(json.dumps(listed[-1])) + 2
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
    return f"a file after the first {len(old)} has another name or size"


def is_fingerprint(files: dict[str, object]) -> bool:
    """Whether a loaded dict is what `fingerprint` returns."""
    listed = files.get("listed")
    return (
        isinstance(files.get("digest"), str)
        and isinstance(files.get("num_files"), int)
        and isinstance(listed, list)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in listed)
    )
