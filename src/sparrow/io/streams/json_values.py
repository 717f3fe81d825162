"""Whether a JSON value is of an Arrow type. pyarrow alone would take 1.5 for the integer 1, and true for 1.0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparrow.errors import ConfigError

# Returns what is wrong with a value, or None.
Check = Callable[[Any], str | None]

_INT64 = range(-(2**63), 2**63)


def check_of(wanted: Any) -> Check:
    """Return the check for an Arrow type: booleans, integers, float64, strings, or lists of these. null passes everywhere: what it
    becomes, or that it is an error, is decided as in files. Raises `ConfigError` for other types."""
    if pa.types.is_list(wanted) or pa.types.is_large_list(wanted):
        return _list_of(check_of(wanted.value_type))
    if pa.types.is_boolean(wanted):
        return _plain("true or false", bool)
    if pa.types.is_integer(wanted):
        return _integer
    if pa.types.is_float64(wanted):
        return _number
    if pa.types.is_string(wanted) or pa.types.is_large_string(wanted):
        return _plain("a string", str)
    raise ConfigError(f"types asks for {wanted} in JSON; expected booleans, integers, float64, strings, or lists of these")


def _plain(expected: str, kind: type) -> Check:
    def check(value: Any) -> str | None:
        return None if value is None or type(value) is kind else _found(value, expected)

    return check


def _integer(value: Any) -> str | None:
    if value is None or (type(value) is int and value in _INT64):
        return None
    return _found(value, "a whole number" if type(value) is not int else "a whole number of 64 bits with sign")


def _number(value: Any) -> str | None:
    if value is None or type(value) is int:
        return None
    if type(value) is not float:
        return _found(value, "a number")
    return "a number too large for 64 bits" if math.isinf(value) else None


def _list_of(element: Check) -> Check:
    def check(value: Any) -> str | None:
        if value is None:
            return None
        if type(value) is not list:
            return _found(value, "a list")
        for one in value:
            wrong = element(one)
            if wrong is not None:
                return f"inside its list: {wrong}"
        return None

    return check


def _found(value: Any, expected: str) -> str:
    text = repr(value)
    return f"found {text if len(text) <= 40 else text[:37] + '...'}, expected {expected}"
