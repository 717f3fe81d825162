"""Partition folders, Hive's way: `ds=20261101/hour=03/part-0.orc` gives every row of the file the columns `ds` and `hour`."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from sparrow.errors import DataError
from sparrow.io.formats.format import FileTypes
from sparrow.types import ColumnSpec

# What Hive and Spark write where the value is null.
_NULL = "__HIVE_DEFAULT_PARTITION__"
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def is_partition(folder: str) -> bool:
    """Return whether the name of a folder is `key=value`."""
    key, equals, _ = folder.partition("=")
    return bool(equals) and bool(key) and key[0] not in "._"


def keys_of(path: str) -> dict[str, str | None]:
    """Return the partition keys of a file and their values, %-escapes resolved, None for Hive's null. The innermost folder goes first."""
    keys: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        if is_partition(folder):
            key, _, value = folder.partition("=")
            keys[urllib.parse.unquote(key)] = None if value == _NULL else urllib.parse.unquote(value)
    return keys


def values_of(path: str, shown: str, types: FileTypes, specs: Iterable[ColumnSpec]) -> dict[str, Any]:
    """Return the Arrow scalars of the partition keys that a file has no column for: strings, or of the dtype a spec asks for.

    Raises `DataError` naming file and key where a value is not of that dtype.
    """
    wanted = {spec.name: spec for spec in specs}
    keys = {key: value for key, value in keys_of(path).items() if key not in types.of_column}
    return {key: _scalar(key, value, wanted.get(key), shown) for key, value in keys.items()}


def with_keys(types: FileTypes, values: dict[str, Any]) -> FileTypes:
    """Return the columns of a file and those of its partition keys."""
    return FileTypes({**types.of_column, **{key: value.type for key, value in values.items()}}, types.repeated, types.note)


def _scalar(key: str, value: str | None, spec: ColumnSpec | None, shown: str) -> Any:
    dtype = None if spec is None or spec.kind == "bytes" else spec.dtype
    if dtype is None:
        return pa.scalar(value, pa.string())
    name = str(dtype)
    kind = pa.bool_() if name == "torch.bool" else pa.float64() if dtype.is_floating_point else pa.int64()
    if value is None:
        return pa.scalar(None, kind)
    try:
        plain = _TRUTH[value.lower()] if kind == pa.bool_() else float(value) if dtype.is_floating_point else int(value)
        return pa.scalar(plain, kind)
    except (KeyError, ValueError, OverflowError):
        raise DataError(f"{shown}: its folder says {key}={value}, which is no {name}; ask for another dtype") from None
