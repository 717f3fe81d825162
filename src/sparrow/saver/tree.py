"""Nested state as JSON plus a flat dictionary of tensors: a round trip without loss and without pickle.

JSON holds null, booleans, strings, finite floats, integers of 64 bits, lists, and dictionaries with string keys as they are. What it
cannot hold is an object with one key that begins with `$`:

| Python                                         | JSON                                             |
|------------------------------------------------|--------------------------------------------------|
| tensor                                         | {"$tensor": its name in `state.safetensors`}     |
| tuple                                          | {"$tuple": [...]}                                |
| dict with a key that is no string or begins $  | {"$dict": [[key, value], ...]}                   |
| nan, inf, -inf                                 | {"$float": "nan"}                                |
| an integer beyond 64 bits                      | {"$int": "0x..."}                                |
| a string with surrogates (odd file names)      | {"$text": UTF-8 with surrogates, in hexadecimal} |
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sparrow.errors import CheckpointError

_MAX_DEPTH = 200


def flatten(state: Mapping[str, Any]) -> tuple[Any, dict[str, Tensor]]:
    """Return (JSON value, tensor name -> tensor); tensors are not copied.

    Subclasses (OrderedDict, named tuples, torch.Size, enumerations of integers) come back as the plain type.

    Raises:
        CheckpointError: names the path of a value that is none of None, bool, int, float, str, list, tuple, dict, tensor.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(state, "state", tensors, 0), tensors


def unflatten(tree: Any, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what `flatten` was given. Raises `CheckpointError` naming the path where `tree` is not what `flatten` makes."""
    state = _decode(tree, "state", tensors, 0)
    if not isinstance(state, dict):
        raise CheckpointError(f"state is a {type(state).__name__}; expected a dict")
    return state


def _encode(value: Any, path: str, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise CheckpointError(f"{path[:80]}...: nested more than {_MAX_DEPTH} deep; flatten it or break the cycle")
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"$tensor": name}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else {"$int": hex(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, str):
        text = str.__str__(value)
        has_surrogates = any("\ud800" <= letter <= "\udfff" for letter in text)
        return {"$text": text.encode("utf-8", "surrogatepass").hex()} if has_surrogates else text
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{path}[{index}]", tensors, depth + 1) for index, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return _encode_dict(value, path, tensors, depth)
    raise CheckpointError(
        f"{path} is a {type(value).__module__}.{type(value).__qualname__}; a checkpoint holds None, bool, int, float, str, list, tuple, "
        f"dict and tensors: convert it in state_dict()"
    )


def _encode_dict(value: Mapping[Any, Any], path: str, tensors: dict[str, Tensor], depth: int) -> Any:
    keys = [_encode(key, f"a key of {path}", tensors, depth + 1) for key in value]
    values = [_encode(item, f"{path}[{_label(key)}]", tensors, depth + 1) for key, item in value.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key in keys):
        return dict(zip(keys, values, strict=True))
    return {"$dict": [list(pair) for pair in zip(keys, values, strict=True)]}


def _label(key: Any) -> str:
    try:
        return repr(key)[:60]
    except ValueError:  # an integer of more digits than Python agrees to print
        return "..."


def _decode(value: Any, path: str, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if depth > 2 * _MAX_DEPTH:
        raise CheckpointError(f"{path[:80]}...: nested too deep")
    if isinstance(value, list):
        return [_decode(item, f"{path}[{index}]", tensors, depth + 1) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if not tag.startswith("$"):
        return {key: _decode(item, f"{path}[{_label(key)}]", tensors, depth + 1) for key, item in value.items()}
    payload = value[tag]
    try:
        if tag == "$tuple":
            return tuple(_decode(list(payload), path, tensors, depth + 1))
        if tag == "$dict":
            return {
                _decode(key, f"a key of {path}", tensors, depth + 1): _decode(item, f"{path}[{_label(key)}]", tensors, depth + 1)
                for key, item in payload
            }
        return _ATOMS[tag](payload, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot read {json.dumps(value)[:80]} ({type(error).__name__}: {error})") from error


_ATOMS: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "$tensor": lambda payload, tensors: tensors[payload],
    "$float": lambda payload, _: float(payload),
    "$int": lambda payload, _: int(payload, 16),
    "$text": lambda payload, _: bytes.fromhex(payload).decode("utf-8", "surrogatepass"),
}
