"""YAML as people mean it: `1e-3` is a number, and a key written twice is an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from sparrow.errors import ConfigError

_MERGE_TAG = "tag:yaml.org,2002:merge"
_FLOAT_TAG = "tag:yaml.org,2002:float"
# YAML 1.2 and every calculator; YAML 1.1, which PyYAML reads, wants a dot and a sign.
_EXPONENT_FLOAT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written = [key for key, _ in node.value if key.tag != _MERGE_TAG]
        keys = [self.construct_object(key, deep=True) for key in written]
        repeated = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(problem=f"the key {repeated!r} stands there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes a text that `_Loader` would take for a number."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(_FLOAT_TAG, _EXPONENT_FLOAT, list("-+0123456789"))


def parse_yaml(text: str, where: str) -> Any:
    """Return the value of YAML text: dicts, lists, str, int, float, bool, None. Raises `ConfigError`, which begins with `where`."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def to_yaml(value: Any) -> str:
    """Return YAML text that `parse_yaml` reads back as an equal value."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False)
    return text
