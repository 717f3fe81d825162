"""What a captured step and a checkpoint ask of the optimizer of the dense half."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparrow.errors import ConfigError

# How an optimizer steps, not what it has learned.
_HOW = ("capturable", "foreach", "fused")


def check_capturable(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Raise `ConfigError`, saying what to write, where a CUDA graph on `device` would repeat numbers that `optimizer` reads on the host."""
    kind = type(optimizer).__name__
    for group in optimizer.param_groups:
        rate = group["lr"]
        is_sgd = isinstance(optimizer, torch.optim.SGD)
        known = kind if is_sgd or "capturable" in group else "Adam"
        flag = "fused=True" if is_sgd else "capturable=True"
        written = f"torch.optim.{known}(model.parameters(), lr=torch.tensor({float(rate):g}, device='{device}'), {flag})"
        if not (group.get("fused") if is_sgd else group.get("capturable")):
            raise ConfigError(
                f"capture: the dense optimizer {kind} reads numbers on the host as it steps, which a graph would repeat as they were; "
                f"write {written}"
            )
        if not isinstance(rate, Tensor) or rate.device != device:
            found = f"a tensor on {rate.device}" if isinstance(rate, Tensor) else f"the number {rate:g}"
            raise ConfigError(
                f"capture: the learning rate of the dense optimizer {kind} is {found}, which a graph would repeat whatever becomes of it; "
                f"write {written}"
            )
        for parameter in group["params"]:
            if parameter.device != device:
                raise ConfigError(
                    f"capture: dense weights live on {parameter.device} and tables on {device}; build the model with device={str(device)!r}"
                )


def rate_like(value: float | Tensor, like: float | Tensor) -> float | Tensor:
    """Return a learning rate as the kind `like` is: a number, or a tensor of its dtype where it lives."""
    if not isinstance(like, Tensor):
        return float(value)
    return (value if isinstance(value, Tensor) else torch.tensor(value)).to(like.device, like.dtype)


def as_it_steps(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state of `optimizer` that leaves how it steps as it is: a run that was captured may go on as one that is not."""
    if len(state["param_groups"]) != len(optimizer.param_groups):
        return state  # torch says what is wrong
    groups = [
        {**saved, **{key: own[key] for key in _HOW if key in own and key in saved}, "lr": rate_like(saved["lr"], own["lr"])}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}
