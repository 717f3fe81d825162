"""The moments of a fit: where progress, logs, schedulers and a user's own code join the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from sparrow.pipelines.options import TrainerOptions
from sparrow.types import Stateful


class RunningTrainer(Protocol):
    """What a hook sees of the trainer.

    step, num_samples: since the start of the run, over all its sessions. epoch: counted from 0. last_train: the metrics last logged.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    options: TrainerOptions
    step: int
    epoch: int
    num_samples: int
    last_train: dict[str, Any]

    def running_metrics(self) -> dict[str, Any]:
        """Return metrics, speed and table rows as a line of now would say them. Cost: sorts the samples since the last call."""
        ...


class Hook:
    """Called at the moments of `Trainer.fit`, in the training thread; override those wanted. An exception ends the fit.

    A hook that is `Stateful` (has `state_dict` and `load_state_dict`) is part of every checkpoint and is restored by a resume: what it
    changes in `after_step`, such as a learning rate, then continues where it was.
    """

    def on_fit_start(self, trainer: RunningTrainer, total_samples: int | None) -> None:
        """Before the first step, everything restored. total_samples: of the whole run, those already seen included; None where the data
        does not say."""

    def after_step(self, trainer: RunningTrainer) -> None:
        """After the optimizer's step, before logging and saving; `trainer.step` counts it."""

    def after_epoch(self, trainer: RunningTrainer) -> None:
        """After the last step of an epoch; after its saving too, where a save fell on that step."""

    def on_log(self, trainer: RunningTrainer, line: dict[str, Any]) -> None:
        """With each line of `metrics.jsonl`; `line` is not to be changed."""

    def on_evaluation(self, trainer: RunningTrainer, metrics: dict[str, Any]) -> None:
        """After an evaluation that ran to its end, `Trainer.evaluate` included."""

    def on_stop(self, trainer: RunningTrainer, signal_name: str) -> None:
        """After a requested stop, everything saved."""

    def on_fit_end(self, trainer: RunningTrainer, summary: dict[str, Any]) -> None:
        """Last, where no exception ended the fit."""

    def on_close(self, trainer: RunningTrainer) -> None:
        """Whenever a fit ends, by an exception too: put back what `on_fit_start` set up."""


def stateful_parts(hooks: Sequence[Hook]) -> dict[str, Stateful]:
    """Return the hooks that join a checkpoint, by class and place among those of it: no other hook, shown or not, changes a name."""
    parts: dict[str, Stateful] = {}
    counted: Counter[str] = Counter()
    for hook in hooks:
        if isinstance(hook, Stateful):
            kind = type(hook).__name__
            counted[kind] += 1
            parts[f"hook {kind} {counted[kind]}"] = hook
    return parts
