"""From a YAML file and `key=value` changes to a `RunConfig`, or to one line that says what is wrong where."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sparrow.errors import ConfigError, did_you_mean
from sparrow.pipelines.model_configs import model_sections
from sparrow.pipelines.run_config import RunConfig
from sparrow.pipelines.yaml_text import parse_yaml

_MODELS = model_sections()
_MAX_SHOWN = 80


def load_run_config(path: str | Path, overrides: Mapping[str, str] | None = None) -> RunConfig:
    """Return the configuration of a YAML file, changed by `overrides`: dotted path -> YAML text of the value.

    Raises `ConfigError` naming file, key path and the nearest valid name for an unknown key, an ill-typed value or a broken file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror or error}; give a YAML file, see configs/") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file ({error.reason}); expected YAML") from error
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold the keys {', '.join(RunConfig.model_fields)}; found {_shown(content)}")
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(str(path), overrides or {}, error)) from None


# What may differ between the sessions of a run: where it runs and its files are, how long it runs, what it logs and saves.
_FREE_TO_CHANGE = {
    "data": {"train", "eval", "group", "batch_size", "eval_batch_size", "prefetch", "num_threads", "format", "on_error"},
    "run": {"folder", "epochs", "max_steps", "device", "table_device", "threads", "save_every", "keep", "log_every", "capture"},
}


def refuse_changes(before: RunConfig, now: RunConfig, path: str | Path, *, evaluating: bool = False) -> None:
    """Raise `ConfigError` naming the first key in which `now` is another training than `before`, which `path` holds."""
    for section in RunConfig.model_fields:
        ours, theirs = _flat(section, now), _flat(section, before)
        # The kind of a thing before its settings: those of another kind say little.
        for key in sorted({**theirs, **ours}, key=lambda key: not key.endswith(".name")):
            if ours.get(key) != theirs.get(key) and key not in {f"{section}.{name}" for name in _FREE_TO_CHANGE.get(section, ())}:
                was, is_now = (_shown(values.get(key)) for values in (theirs, ours))
                which, advice = ("run", "evaluate") if evaluating else ("run to resume", "resume")
                raise ConfigError(
                    f"{path}: the {which} has {key} {was}, now it is {is_now}; {advice} without the change, or begin a new run"
                )


def _flat(section: str, config: RunConfig) -> dict[str, Any]:
    """Return dotted key -> value of a section."""

    def walk(key: str, value: Any) -> dict[str, Any]:
        if isinstance(value, BaseModel):
            return {
                inner: found for name in type(value).model_fields for inner, found in walk(f"{key}.{name}", getattr(value, name)).items()
            }
        if isinstance(value, list) and section == "features":
            return {f"{key}[{index}]": entry for index, entry in enumerate(value)}
        return {key: value}

    return walk(section, getattr(config, section))


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """Return `key=value` arguments as a dict. Raises `ConfigError` for one without `=`."""
    pairs = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{argument!r} is not key=value, such as run.epochs=2")
        pairs[key] = value
    return pairs


def _override(content: dict[str, Any], key: str, text: str) -> None:
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise ConfigError(f"{key}={text}: {parent} is not a section, so it has no {last}; set {parent} as a whole")
    place[last] = parse_yaml(text, f"{key}={text}")


def _explain(path: str, overrides: Mapping[str, str], error: ValidationError) -> str:
    """Return the first problem as one line: file, dotted key, what is wrong, nearest name."""
    problem = error.errors()[0]
    location = list(problem["loc"])
    if location[:1] == ["model"] and location[1:2] and location[1] in _MODELS:
        del location[1]  # pydantic's mark of the union's member, no key of the file
    key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(map(str, location)))
    where = f"{path} with {key}={overrides[key]}" if key in overrides else path
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{where}: unknown key {key}{did_you_mean(str(location[-1]), _fields_of(location[:-1], problem['loc']))}"
    if kind == "missing":
        return f"{where}: {key} is missing; add it"
    if kind == "union_tag_not_found":
        return f"{where}: {key}.name is missing; expected one of {', '.join(_MODELS)}"
    if kind == "union_tag_invalid":
        return f"{where}: {key}.name is {context['tag']!r}{did_you_mean(str(context['tag']), _MODELS)}"
    if isinstance(context.get("error"), ConfigError):
        # Errors of ours name the keys below the section that raised them.
        quoting = _quoting(key, problem["input"], overrides) if key in ("data.train", "data.eval") else ""
        return f"{where}: {_joined(key, str(context['error']))}{quoting}"
    if kind == "string_type":
        nearest = _quoting(key, problem["input"], overrides)
    else:
        nearest = did_you_mean(str(problem["input"]), re.findall(r"'([^']+)'", str(context.get("expected", ""))))
    return f"{where}: {key} is {_shown(problem['input'])}: {problem['msg'][0].lower()}{problem['msg'][1:]}{nearest}"


def _quoting(key: str, value: Any, overrides: Mapping[str, str]) -> str:
    """Return how to write a text that YAML reads as something else, such as a folder called 2024; "" where that is not the mistake."""
    if not isinstance(value, bool | int | float | datetime.date):
        return ""
    shown = f"{key}=\"'{overrides[key]}'\"" if key in overrides else f'"{value}"'
    return f"; to YAML that is of type {type(value).__name__}, so quote it: {shown}"


def _joined(key: str, message: str) -> str:
    separator = "." if message.startswith("hyper.") else " " if message.startswith("is ") else ": "
    return f"{key}{separator}{message}" if key else message


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _fields_of(location: Sequence[int | str], marked: Sequence[int | str]) -> list[str]:
    """Return the valid keys of the section at `location`; `marked` is the same with pydantic's mark of the model."""
    section: type[BaseModel] = RunConfig
    for part in location:
        annotation = _MODELS[str(marked[1])] if part == "model" else section.model_fields[str(part)].annotation
        # A section that may be left out is a union with None.
        kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        assert kinds, f"{part} is not a section"
        section = kinds[0]
    return list(section.model_fields)
