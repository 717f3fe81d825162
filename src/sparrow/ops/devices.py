"""Devices that operators have bodies for, by the names a user gives them."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.errors import ConfigError

# Kinds of devices; torch calls AMD's "cuda" as well.
DEVICE_TYPES = ("cpu", "cuda")


def device_of(device: torch.device | str, what: str) -> torch.device:
    """Return `device` with its number. `what` names the one who asks, in the `ConfigError` for what is no device, or not here."""
    try:
        return device_here(device)
    except ConfigError as error:
        raise ConfigError(f"{what}: device {error}") from None


def device_here(device: torch.device | str) -> torch.device:
    """Return `device` with its number. Raises `ConfigError` for what is no device, or not here: what follows the name of a setting."""
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in DEVICE_TYPES:
        raise ConfigError(f"is {str(device)!r}, expected 'cpu', 'cuda' or 'cuda:N'")
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        raise ConfigError(f"is {str(device)!r}, and torch finds no CUDA device here; use 'cpu'")
    index = torch.cuda.current_device() if found.index is None else found.index
    if index >= torch.cuda.device_count():
        raise ConfigError(f"is {str(device)!r}, and there are {torch.cuda.device_count()} CUDA devices here, from cuda:0 on")
    return torch.device("cuda", index)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return a copy of a CPU tensor on `device`, which the current stream may read at once; the host does not wait for it."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
