"""Train on one window, test on the next."""

from __future__ import annotations

from typing import Any, cast

from sparrow.io.windows import Windows
from sparrow.pipelines.hooks import Hook, RunningTrainer
from sparrow.pipelines.trainer import Trainer


class EvaluateNext(Hook):
    """After each window evaluates on the one after it, which the model has not seen; after the last on nothing.

    results: name of the window tested on -> its metrics, in order. Kept in checkpoints, so a resumed run has those of all sessions.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.results: dict[str, dict[str, Any]] = {}

    def after_epoch(self, trainer: RunningTrainer) -> None:
        following = trainer.epoch + 1
        if following < len(self._windows):
            metrics = cast(Trainer, trainer).evaluate(self._windows.dataset_of(following))
            self.results[self._windows.names[following]] = metrics

    def state_dict(self) -> dict[str, Any]:
        return {"results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.results = dict(state["results"])
