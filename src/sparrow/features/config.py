"""Features from plain data, as a YAML file gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.feature import Feature

_TRANSFORMS: dict[str, Callable[..., Feature]] = {
    "bucketize": Feature.bucketize,
    "cast": Feature.cast,
    "fill": Feature.fill,
    "hash": Feature.hash,
    "log1p": Feature.log1p,
    "mod": Feature.mod,
}
_KEYS = ("name", "select", "transforms")


def features_from_config(config: dict[str, Any], path: str = "feature") -> list[Feature]:
    """Return the features one entry declares.

    `{"name": "i{1..13}", "transforms": [{"fill": 0.0}, "log1p"]}` declares thirteen. `select` defaults to the name; it may hold the same
    pattern. `path` names the entry in errors. Raises `ConfigError` with the nearest valid key.
    """
    for key in config:
        if key not in _KEYS:
            raise ConfigError(f"{path}.{key}: unknown key{did_you_mean(key, _KEYS)}")
    if not isinstance(config.get("name"), str):
        raise ConfigError(f"{path}.name: expected a string, got {config.get('name')!r}")
    names = expand_names(config["name"])
    columns = expand_names(config.get("select") or config["name"])
    if len(names) != len(columns):
        raise ConfigError(f"{path}.select: {len(columns)} columns for {len(names)} names")
    transforms = config.get("transforms") or []
    if not isinstance(transforms, list):
        raise ConfigError(f"{path}.transforms: expected a list, got {transforms!r}")
    return [
        _with_transforms(Feature(name).select(column), transforms, f"{path}.transforms")
        for name, column in zip(names, columns, strict=True)
    ]


def _with_transforms(feature: Feature, transforms: list[Any], path: str) -> Feature:
    for index, entry in enumerate(transforms):
        here = f"{path}[{index}]"
        if not isinstance(entry, (str, dict)) or (isinstance(entry, dict) and len(entry) != 1):
            raise ConfigError(f"{here}: expected a name or {{name: argument}}, got {entry!r}")
        name, arguments = (entry, []) if isinstance(entry, str) else (next(iter(entry)), [next(iter(entry.values()))])
        if name not in _TRANSFORMS:
            raise ConfigError(f"{here}: unknown transform {name!r}{did_you_mean(str(name), _TRANSFORMS)}")
        try:
            feature = _TRANSFORMS[name](feature, *arguments)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{here}.{name}: {error}") from None
    return feature


def expand_names(pattern: str) -> list[str]:
    """Return the names a pattern stands for: `"i{1..3}"` -> i1, i2, i3; `"{a,b}_id"` -> a_id, b_id; another string -> itself."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    parts: Sequence[str] = [str(k) for k in range(int(numbers[1]), int(numbers[2]) + 1)] if numbers else match[1].split(",")
    if not parts:
        raise ConfigError(f"name pattern {pattern!r}: {match[1]} is empty; write the smaller number first")
    return [name for part in parts for name in expand_names(pattern[: match.start()] + part.strip() + pattern[match.end() :])]
