"""Features from plain data, as a YAML file gives them."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.feature import Feature

# What a list of transforms may name: the methods of Feature that add one.
_METHODS = (
    *("bucketize", "cast", "clip", "concat", "cross", "fill", "finite", "hash", "length", "log", "log1p", "lookup", "mask", "match"),
    *("min_max", "mod", "multi_hash", "overlap", "pad", "quotient", "quotient_remainder", "time_difference", "top", "truncate", "unique"),
    *("vocabulary", "weights", "zscore"),
)
# Those whose arguments are columns; a list gives several.
_OF_COLUMNS = ("concat", "cross")
_COLUMN_ARGUMENTS = ("other", "keys", "items")
_KEYS = ("name", "select", "transforms")


def features_from_config(config: dict[str, Any], path: str = "feature") -> list[Feature]:
    """Return the features one entry declares.

    `{"name": "i{1..13}", "transforms": [{"fill": 0.0}, "log1p"]}` declares thirteen. `select` defaults to the name; it may hold the same
    pattern. `path` names the entry in errors. Raises `ConfigError` with the nearest valid key.
    """
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected keys {', '.join(_KEYS)}, got {config!r}")
    for key in config:
        if key not in _KEYS:
            raise ConfigError(f"{path}.{key}: unknown key{did_you_mean(str(key), _KEYS)}")
    if not isinstance(config.get("name"), str) or not config["name"]:
        raise ConfigError(f"{path}.name: expected a name, got {config.get('name')!r}")
    select = config.get("select", config["name"])
    if not isinstance(select, str) or not select:
        raise ConfigError(f"{path}.select: expected the name of a column, got {select!r}")
    try:
        names, columns = expand_names(config["name"]), expand_names(select)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if len(names) != len(columns):
        raise ConfigError(f"{path}.select: {len(columns)} columns for {len(names)} names")
    transforms = config.get("transforms")
    if transforms is None:  # what YAML reads in "transforms:"
        transforms = []
    if not isinstance(transforms, list):
        raise ConfigError(f"{path}.transforms: expected a list, got {transforms!r}")
    return [
        feature
        for name, column in zip(names, columns, strict=True)
        for feature in _with_transforms(Feature(name).select(column), transforms, f"{path}.transforms")
    ]


def _with_transforms(feature: Feature, transforms: list[Any], path: str) -> list[Feature]:
    """Return the feature after `transforms`; several where the last makes several."""
    made = [feature]
    for index, entry in enumerate(transforms):
        here = f"{path}[{index}]"
        if not isinstance(entry, (str, dict)) or (isinstance(entry, dict) and len(entry) != 1):
            raise ConfigError(f"{here}: expected a name or {{name: argument}}, got {entry!r}")
        name, argument = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
        if name not in _METHODS:
            raise ConfigError(f"{here}: unknown transform {name!r}{did_you_mean(str(name), _METHODS)}")
        try:
            made = [one for before in made for one in _applied(before, name, argument, f"{here}.{name}")]
        except (TypeError, ValueError) as error:
            # What a nested entry says names its own place already.
            text = str(error)
            raise ConfigError(text if text.startswith(f"{here}.") else f"{here}.{name}: {text}") from None
    return made


def _applied(feature: Feature, name: str, argument: Any, path: str) -> list[Feature]:
    method = getattr(feature, name)
    # YAML reads "- hash:" as {hash: None}: no argument.
    if argument is None:
        made = method()
    elif name in _OF_COLUMNS:
        others = argument if isinstance(argument, list) else [argument]
        made = method(*(_column(other, f"{path}[{index}]") for index, other in enumerate(others)))
    else:
        parameters = list(inspect.signature(method).parameters)
        if not parameters:
            raise ConfigError(f"takes no argument, found {argument!r}; write {name!r} alone")
        if isinstance(argument, dict) and not (parameters[0] in _COLUMN_ARGUMENTS and set(argument) <= {"select", "transforms"}):
            for key in argument:
                if key not in parameters:
                    raise ConfigError(f"{path}.{key}: unknown argument{did_you_mean(str(key), parameters)}")
            arguments = argument
        else:
            arguments = {parameters[0]: argument}
        if name != "vocabulary":  # whose keys are values
            arguments = {key: _column(value, f"{path}.{key}") if key in _COLUMN_ARGUMENTS else value for key, value in arguments.items()}
        made = method(**arguments)
    return made if isinstance(made, list) else [made]


def _column(given: Any, path: str) -> Any:
    """Return a column's name as it is, and what `{select: ..., transforms: [...]}` declares as a Feature."""
    if isinstance(given, str) and ("{" in given or "}" in given):
        raise ConfigError(f"{path}: {given!r} is a pattern; name one column, and write an entry for each")
    if not isinstance(given, dict):
        return given
    (made, *more) = features_from_config({"name": "another column", **given}, path)
    if more:
        raise ConfigError(f"{path}: declares {1 + len(more)} features, one is wanted")
    return made


def expand_names(pattern: str) -> list[str]:
    """Return the names a pattern stands for: `"i{1..3}"` -> i1, i2, i3; `"{a,b}_id"` -> a_id, b_id; another string -> itself.

    Several braces give every combination, the last varying fastest. `"{01..13}"` keeps the zeros. Raises `ConfigError`.
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        if "{" in pattern or "}" in pattern:
            raise ConfigError(f"name pattern {pattern!r}: a brace has no partner; write {{1..3}} or {{a,b}}")
        return [pattern]
    parts = _alternatives(match[1], pattern)
    return [name for part in parts for name in expand_names(pattern[: match.start()] + part + pattern[match.end() :])]


def _alternatives(inside: str, pattern: str) -> list[str]:
    if ".." not in inside:
        parts = [part.strip() for part in inside.split(",")]
        if not all(parts):
            raise ConfigError(f"name pattern {pattern!r}: {{{inside}}} has an empty name; write {{a,b}}")
        return parts
    numbers = re.fullmatch(r"\s*(\d+)\.\.(\d+)\s*", inside)
    if numbers is None or int(numbers[1]) > int(numbers[2]):
        raise ConfigError(f"name pattern {pattern!r}: {{{inside}}} is no range; write two numbers, the smaller first, as {{1..3}}")
    width = len(numbers[1]) if numbers[1].startswith("0") else 0
    return [str(number).zfill(width) for number in range(int(numbers[1]), int(numbers[2]) + 1)]
