"""Everything a run is, to and from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import CheckpointError, ConfigError
from sparrow.optim import CombinedOptimizer
from sparrow.saver import Saver
from sparrow.tables import TableGroup, table_groups
from sparrow.types import Stateful


def stores_of(model: nn.Module) -> dict[str, TableGroup]:
    """Return the table groups of `model` by name. Raises `ConfigError` where two engines use one name."""
    stores: dict[str, TableGroup] = {}
    for group in table_groups(model):
        if group.name in stores:
            raise ConfigError(f"two embedding engines of the model call a group {group.name!r}; give each EmbeddingEngine its own name=")
        stores[group.name] = group
    return stores


def dense_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the model's state: parameters and buffers. Tables only describe themselves there."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def _cuda_devices(model: nn.Module) -> list[torch.device]:
    """Return the CUDA devices of the dense weights: what draws numbers (dropout) draws them there."""
    return sorted({parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}, key=str)


def save(saver: Saver, step: int, model: nn.Module, parts: Mapping[str, Stateful], counters: dict[str, Any]) -> Path:
    """Save model, `parts` (optimizer, reader, metrics by name), torch's generators and `counters`; return the checkpoint's folder."""
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "kinds": {name: kind_of(part) for name, part in parts.items()},
        "counters": counters,
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": {str(device): torch.cuda.get_rng_state(device) for device in _cuda_devices(model)},
    }
    return saver.save(step, stores_of(model), dense_of(model), state)


def kind_of(part: Stateful) -> str:
    """Return what a part is, in words: torch's optimizers take the state of another kind in silence and fail at the next step."""
    kind = type(part).__name__
    return f"{kind} of {type(part.dense).__name__}" if isinstance(part, CombinedOptimizer) else kind


def load_model(saver: Saver, path: Path, model: nn.Module) -> dict[str, Any]:
    """Load tables and dense tensors into `model` and return the rest of the state. Raises `CheckpointError` where they do not fit."""
    loaded = saver.load(path, stores_of(model), dense_of(model))
    descriptions = {name: value for name, value in model.state_dict().items() if not isinstance(value, Tensor)}
    model.load_state_dict({**descriptions, **loaded.dense})
    return loaded.state


def restore(saver: Saver, path: Path, model: nn.Module, parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Load everything `save` saved and return the counters."""
    state = load_model(saver, path, model)
    for key in ("parts", "kinds", "counters", "torch_rng"):
        if key not in state:
            raise CheckpointError(f"{path} holds no {key!r}: it was not saved by a Trainer; load it with Saver.load instead")
    saved = state["parts"]
    for name, part in parts.items():
        if name not in saved:
            raise CheckpointError(f"{path} holds no state of the {name}, but of {sorted(saved)}; resume with the trainer that saved it")
        was, is_now = state["kinds"].get(name), kind_of(part)
        if was != is_now:
            raise CheckpointError(f"{path}: the {name} saved is {was}, this run's {is_now}; resume with the kind it was saved with")
        try:
            part.load_state_dict(saved[name])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, (CheckpointError, ConfigError)):
                raise
            raise CheckpointError(
                f"{path}: the state of the {name} does not fit this run ({error}); resume with the configuration it was saved with"
            ) from error
    torch.set_rng_state(state["torch_rng"])
    for device in _cuda_devices(model):
        # A run that moved to another device goes on with what its seed gives there.
        if (generator := state.get("cuda_rng", {}).get(str(device))) is not None:
            torch.cuda.set_rng_state(generator, device)
    counters: dict[str, Any] = state["counters"]
    return counters
