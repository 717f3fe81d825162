"""The formats there are, and which of them a file is: its bytes say, not its name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sparrow.errors import ConfigError, did_you_mean
from sparrow.io.formats.csv import Csv
from sparrow.io.formats.format import Format
from sparrow.io.formats.ipc import Ipc
from sparrow.io.formats.orc import Orc
from sparrow.io.formats.parquet import Parquet
from sparrow.io.formats.tfrecord import TFRecord

# By the name that `format=` takes.
FORMATS: dict[str, Format] = {
    "orc": Orc(),
    "parquet": Parquet(),
    "ipc": Ipc(),
    "csv": Csv(),
    "tsv": Csv(delimiter="\t"),
    "tfrecord": TFRecord(),
}
# How names of files end, where it is not what the format says.
_SUFFIXES = {"csv": (".csv", ".txt"), "tsv": (".tsv",)}
# What is often found where data is expected.
_OTHERS = {b"\x1f\x8b": "gzip data", b"PK\x03\x04": "a zip archive", b"Obj\x01": "an Avro file"}
# Writers number the parts of a set behind the suffix: train.tfrecord-00000-of-00010.
_PART = re.compile(r"-\d+-of-\d+$")


def as_format(wanted: str | Format | None) -> Format | None:
    """Return the format that `format=` means, None where contents decide. Raises `ConfigError` for an unknown name."""
    if not isinstance(wanted, str):
        return wanted
    if wanted not in FORMATS:
        raise ConfigError(f"format is {wanted!r}{did_you_mean(wanted, FORMATS)}")
    return FORMATS[wanted]


def has_suffix(name: str, suffixes: Iterable[str]) -> bool:
    """Return whether the name of a file ends with one of `suffixes`, whatever its case; ".gz" and the numbers of parts may follow."""
    plain = _PART.sub("", name.lower().removesuffix(".gz"))
    return plain.endswith(tuple(suffixes))


def format_of_name(name: str) -> str | None:
    """Return the key of `FORMATS` whose suffix the name of a file has, None where none has."""
    return next((key for key, one in FORMATS.items() if has_suffix(name, _SUFFIXES.get(key, one.suffixes))), None)


def format_of_content(head: bytes) -> Format | None:
    """Return the format of a file that begins with `head`, None where the bytes do not tell."""
    return next((one for one in FORMATS.values() if one.matches(head)), None)


def describe(head: bytes) -> str | None:
    """Return what a file is that begins with `head`, in words, None where unknown."""
    one = format_of_content(head)
    if one is not None:
        return f"{article(one)} {one.name} file"
    return next((words for magic, words in _OTHERS.items() if head.startswith(magic)), None)


def article(one: Format) -> str:
    """Return "an" or "a", whichever goes before the name of a format."""
    return "an" if one.name[0] in "AEIO" else "a"
