"""Names inside a folder of checkpoints. `docs/checkpoints.md` gives the reason of each."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from sparrow.errors import CheckpointError

MANIFEST = "manifest.json"
DENSE = "dense.safetensors"
STATE_TREE = "state.json"
STATE_TENSORS = "state.safetensors"

_PUBLISHED = re.compile(r"step-(\d{8,})")
_REPLACED = re.compile(r"(step-(\d{8,}))\.replaced")
_TEMPORARY = re.compile(r"step-\d{8,}\.tmp-(\d+)-[0-9a-f]+")
_UNSAFE = re.compile(rb"[^A-Za-z0-9_.-]")
_MAX_NAME_BYTES = 150
_ADVICE = {
    errno.ENOSPC: "the disk is full; free space or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up; free space or choose a folder on another disk",
    errno.EFBIG: "a file would pass the size limit of this process or file system; raise the limit (ulimit -f) or choose another folder",
    errno.EEXIST: "there is a file of that name; choose another folder",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "the folder may not be written by this user; change its permissions or choose another folder",
    errno.EPERM: "the folder may not be written by this user; change its permissions or choose another folder",
}


def published_name(step: int) -> str:
    return f"step-{step:08d}"


def replaced_name(step: int) -> str:
    """Name of a published checkpoint while another of the same step takes its place."""
    return f"{published_name(step)}.replaced"


def temporary_name(step: int) -> str:
    return f"{published_name(step)}.tmp-{os.getpid()}-{secrets.token_hex(4)}"


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """Return step -> readable checkpoint, ascending. One pushed aside counts while nothing has taken its place."""
    published: dict[int, Path] = {}
    replaced: dict[int, Path] = {}
    for path in _entries(folder):
        if match := _PUBLISHED.fullmatch(path.name):
            published[int(match[1])] = path
        elif match := _REPLACED.fullmatch(path.name):
            replaced[int(match[2])] = path
    return dict(sorted({**replaced, **published}.items()))


def clean(folder: Path) -> None:
    """Finish or undo what a killed save left: remove temporaries whose process is gone, settle checkpoints pushed aside."""
    for path in _entries(folder):
        if match := _TEMPORARY.fullmatch(path.name):
            if int(match[1]) == os.getpid() or not _is_alive(int(match[1])):
                shutil.rmtree(path)
        elif match := _REPLACED.fullmatch(path.name):
            published = folder / match[1]
            if published.exists():
                remove_checkpoint(path, int(match[2]))
            else:
                path.rename(published)


def remove_checkpoint(path: Path, step: int) -> None:
    """Remove a checkpoint so that no reader sees a part of it: it loses its name first."""
    doomed = path.with_name(temporary_name(step))
    path.rename(doomed)
    shutil.rmtree(doomed)


def write_failure(folder: Path, error: OSError) -> CheckpointError:
    """Return the error of a save into `folder` that the system stopped."""
    advice = _ADVICE.get(error.errno or 0, "check the folder and its disk")
    return CheckpointError(
        f"{folder}: cannot save a checkpoint here ({error.strerror or error}): {advice}; checkpoints saved before are still readable"
    )


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """Return name -> a file name for it, one for one: of safe characters, short, and different even where case is ignored.

    Bytes of UTF-8 other than A-Z a-z 0-9 _ - and inner dots become %XX. Names too long, or equal but for case, end in a hash of the name.
    """
    stems: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        encoded = name.encode("utf-8", "surrogatepass")
        stem = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], encoded).decode("ascii") or "%"
        if stem.startswith("."):
            stem = "%2E" + stem[1:]
        if len(stem) > _MAX_NAME_BYTES or stem.lower() in used:
            stem = f"{stem[: _MAX_NAME_BYTES - 40]}~{hashlib.blake2b(encoded, digest_size=16).hexdigest()}"
        used.add(stem.lower())
        stems[name] = stem
    return stems


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot list checkpoints ({error.strerror}); expected a folder that can be read") from error


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
