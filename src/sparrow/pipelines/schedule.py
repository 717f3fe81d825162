"""Learning-rate schedules as part of a run."""

from __future__ import annotations

import warnings
from typing import Any, Literal

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sparrow.errors import ConfigError
from sparrow.optim.dense import rate_like
from sparrow.pipelines.hooks import Hook, RunningTrainer


class LearningRateSchedule(Hook):
    """Steps a torch LR scheduler with the run, and resumes it where it was.

    Args:
        scheduler: a torch scheduler over the trainer's optimizer that steps without arguments: all but `ReduceLROnPlateau`.
            `CombinedOptimizer` schedules dense and sparse groups alike; of it, give `CyclicLR` and `OneCycleLR` `cycle_momentum=False`:
            tables have no momentum to cycle, and torch refuses.
        each: when it steps: after every `"step"` or every `"epoch"`.
    """

    def __init__(self, scheduler: LRScheduler, *, each: Literal["step", "epoch"] = "step") -> None:
        if each not in ("step", "epoch"):
            raise ConfigError(f"LearningRateSchedule: each is {each!r}, expected 'step' or 'epoch'")
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ConfigError(
                "LearningRateSchedule: scheduler is ReduceLROnPlateau, expected one that steps without a metric; use StepLR, "
                "CosineAnnealingLR or the like, or a Hook of your own that steps it in on_log or on_evaluation"
            )
        self.scheduler, self.each = scheduler, each

    def after_step(self, trainer: RunningTrainer) -> None:
        if self.each == "step":
            self._step()

    def after_epoch(self, trainer: RunningTrainer) -> None:
        if self.each == "epoch":
            self._step()

    def _step(self) -> None:
        with warnings.catch_warnings():
            # A run resumed between two epochs begins with this call: torch has not seen the optimizer's steps of the earlier session.
            warnings.filterwarnings("ignore", r"Detected call of .lr_scheduler\.step", UserWarning)
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # Where the optimizer's rates are tensors, torch's schedulers keep tensors too: of the device, or the kind, that saved them.
        rates = [group["lr"] for group in self.scheduler.optimizer.param_groups]
        kept = [key for key in ("base_lrs", "_last_lr") if len(state.get(key) or ()) == len(rates)]
        own: dict[str, Any] = {key: list(map(rate_like, state[key], rates)) for key in kept}
        self.scheduler.load_state_dict({**state, **own})
