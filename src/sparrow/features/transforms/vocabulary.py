"""Values to their places in a list of known ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sparrow.errors import ConfigError
from sparrow.features.transforms.element_wise import ElementWise, Lane
from sparrow.features.transforms.ids import require_count
from sparrow.ops.map_values import steps


@dataclass(frozen=True, slots=True)
class Vocabulary(ElementWise):
    """Strings or integers to their places in `keys`, counted from 0. Exact: a string is compared byte for byte.

    keys:        all strings, or all integers of 64 bits; none twice.
    missing:     the id of a value that is not among them; None refuses it.
    oov_buckets: instead, so many ids after the last place, chosen by the value's FarmHash.
    """

    keys: tuple[str, ...] | tuple[int, ...] = field(repr=False)
    missing: int | None = None
    oov_buckets: int = 0
    kind: ClassVar[str] = "vocabulary"
    takes: ClassVar[str] = "ids or strings"
    makes: ClassVar[str] = "ids"
    can_refuse: ClassVar[bool] = True

    @staticmethod
    def of(keys: Any, missing: int | str | None, oov_buckets: int, ids: bool = False) -> Vocabulary:
        """Make one of a list, or of the lines of a text file; `missing` `"error"` refuses other values, as None does.

        ids: the lines of the file are integers of 64 bits, not strings.
        """
        if not isinstance(ids, bool):
            raise ConfigError(f"vocabulary: ids is {ids!r}, expected True where the lines of the file are integers, else False")
        known: tuple[Any, ...]
        if isinstance(keys, str | os.PathLike):
            known = _lines(Path(keys), ids)
        elif ids:
            raise ConfigError("vocabulary: ids=True says what the lines of a file are; a list holds integers or strings itself")
        elif isinstance(keys, Iterable) and not isinstance(keys, bytes):
            known = tuple(keys)
        else:
            raise ConfigError(f"vocabulary: keys are {keys!r}, expected a list, or the path of a text file")
        if missing == "error" and oov_buckets:
            raise ConfigError("vocabulary: missing='error' and oov_buckets exclude each other")
        return Vocabulary(known, None if missing == "error" else missing, oov_buckets)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigError("vocabulary: there are no keys")
        if not (all(isinstance(key, str) for key in self.keys) or all(type(key) is int for key in self.keys)):
            raise ConfigError("vocabulary: keys must be all strings or all integers")
        if len(set(self.keys)) < len(self.keys):
            seen: set[Any] = set()
            twice = next(key for key in self.keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise ConfigError(f"vocabulary: the key {twice!r} comes twice")
        for key in self.keys:
            if type(key) is int and not -(2**63) <= key < 2**63:
                raise ConfigError(f"vocabulary: the key {key} is no integer of 64 bits")
            if isinstance(key, str) and not key.isascii() and not _is_unicode(key):
                raise ConfigError(f"vocabulary: the key {key!r} has no UTF-8: it holds half a surrogate pair")
        require_policy(self.missing, self.oov_buckets)

    @property
    def _of_strings(self) -> bool:
        return isinstance(self.keys[0], str)

    def check(self, lane: Lane) -> None:
        if lane.holds == "numbers":
            raise ConfigError("vocabulary takes strings or integers, the column holds numbers; bucketize it instead")
        if self._of_strings != (lane.dtype is None):
            raise ConfigError(f"vocabulary has keys of {'strings' if self._of_strings else 'integers'}, the column holds {lane.holds}")

    def steps(self, lane: Lane) -> tuple[steps.Step, ...]:
        if lane.dtype is None:
            keys = tuple(key.encode() for key in self.keys if isinstance(key, str))
            return (steps.VocabularyOfBytes(keys, self.missing, self.oov_buckets),)
        return (steps.VocabularyOfInts(self.keys, self.missing, self.oov_buckets),)

    def refused(self, value: float | str) -> str:
        shown = f"{value[:80]!r}..." if isinstance(value, str) and len(value) > 80 else repr(value)
        return f"{shown} is not in the vocabulary of {len(self.keys)} keys; give missing= or oov_buckets="


def require_policy(missing: object, oov_buckets: object) -> None:
    """Raise `ConfigError` for what does not say what becomes of values out of a vocabulary."""
    if missing is not None and (isinstance(missing, bool) or not isinstance(missing, int) or not -(2**63) <= missing < 2**63):
        raise ConfigError(f"vocabulary: missing is {missing!r}, expected a number of 64 bits or 'error'")
    if oov_buckets != 0:
        require_count("vocabulary: oov_buckets", oov_buckets, below=2**62)
        if missing is not None:
            raise ConfigError("vocabulary: missing and oov_buckets exclude each other")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path, ids: bool) -> tuple[str, ...] | tuple[int, ...]:
    """Return the lines of a text file, as integers where they are `ids`. Raises `ConfigError` naming file and line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"vocabulary: {path}: cannot be read: {error.strerror}") from None
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    known: dict[str | int, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            key = _id_of(line.removesuffix(b"\r")) if ids else line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"vocabulary: {path}, line {number}: no UTF-8: {error.reason}") from None
        except ValueError as error:
            raise ConfigError(f"vocabulary: {path}, line {number}: {error}") from None
        if key in known:
            raise ConfigError(f"vocabulary: {path}, line {number}: the key {key!r} comes twice, first in line {known[key]}")
        known[key] = number
    if not known:
        raise ConfigError(f"vocabulary: {path} is empty; it must hold a key a line")
    return tuple(known)  # type: ignore[return-value]


def _id_of(line: bytes) -> int:
    """Return the integer that a line holds, and nothing else. Raises `ValueError`."""
    # Not left to int(): it reads "1_000", digits of other scripts, and blanks around them.
    if not re.fullmatch(rb"-?[0-9]{1,19}", line) or not -(2**63) <= int(line) < 2**63:
        shown = line[:80].decode(errors="replace")
        raise ValueError(f"{shown!r} is no integer of 64 bits, as ids=True wants them; without it lines are strings")
    return int(line)
