"""The training loop: batches to steps, steps to metrics and checkpoints, stop and resume."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sparrow import __version__
from sparrow.errors import ConfigError, SparrowError
from sparrow.optim import CombinedOptimizer
from sparrow.pipelines import snapshot
from sparrow.pipelines.classification import BinaryMetrics
from sparrow.pipelines.labels import labels_of
from sparrow.pipelines.options import TrainerOptions
from sparrow.pipelines.progress import Progress, SilentProgress, describe, progress_for
from sparrow.pipelines.run_folder import RunFolder
from sparrow.pipelines.stopping import StopRequest
from sparrow.pipelines.stopwatch import Stopwatch
from sparrow.saver import Saver
from sparrow.tables import table_groups
from sparrow.types import Batch, Stateful

Loss = Callable[[Tensor, Tensor], Tensor]


class Dataset(Stateful, Protocol):
    """What a trainer reads: `iter` yields the rest of the current epoch, then moves to the start of the next."""

    @property
    def epoch(self) -> int: ...
    @property
    def num_rows(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...


class Trainer:
    """Trains a model whose `forward(batch)` returns logits, and evaluates it.

    Args:
        model: any module; embedding engines inside it are found, saved and counted.
        optimizer: over dense and sparse parameters, usually `CombinedOptimizer`.
        options: a `TrainerOptions`, or its fields by keyword.
        loss: (logits, labels) -> scalar; default binary cross-entropy with logits, the mean over the batch.

    With a run folder, `fit` writes `metrics.jsonl`, `summary.json` and checkpoints there. Ctrl-C or SIGTERM during `fit` finishes the step,
    saves, and returns the summary with `"stopped": true`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        options: TrainerOptions | None = None,
        *,
        loss: Loss | None = None,
        **fields: Any,
    ) -> None:
        if options is not None and fields:
            raise ConfigError(f"Trainer takes options or their fields, not both; put {sorted(fields)} into the TrainerOptions")
        self.model, self.optimizer = model, optimizer
        self.options = options or TrainerOptions(**fields)
        self.loss = loss or binary_cross_entropy_with_logits
        self.step = 0
        self.num_samples = 0
        self._window = BinaryMetrics()
        self._watch = Stopwatch()
        self._train_seconds = 0.0
        self._session_samples = 0  # samples of this process: what the speed is measured on
        self._progress: Progress = SilentProgress()
        self._folder: RunFolder | None = None
        self._saver: Saver | None = None
        self._saved_step: int | None = None
        self._last_train: dict[str, Any] = {}

    def fit(
        self, train: Dataset, *, epochs: int = 1, max_steps: int | None = None, evaluate_on: Dataset | None = None, resume: bool = False
    ) -> dict[str, Any]:
        """Train until `epochs` epochs or `max_steps` steps (counted from the start of the run) are done; return the summary.

        Args:
            train: read from its current position. evaluate_on: evaluated at the end.
            resume: continue the run of the run folder from its newest checkpoint, at the next unseen row; start anew where it has none.

        Raises: `DataError` for bad rows, `ConfigError` for a run folder that holds another run or cannot be written, `CheckpointError`
            for a checkpoint that is damaged or of another model, `SparrowError` where the loss is not finite.
        """
        parts: dict[str, Stateful] = {"optimizer": self.optimizer, "reader": train, "window": self._window}
        self._open(parts, resume)
        self._progress = progress_for(self.options.progress)
        self._progress.start(train.num_rows * epochs, self.num_samples)
        try:
            with StopRequest() as stop:
                self._run_epochs(train, parts, epochs, max_steps, stop)
                self._log(min(train.epoch, epochs - 1))
                self._save(parts)
                evaluation = None if evaluate_on is None or stop.requested else self._evaluate_with(evaluate_on, stop)
            if stop.requested:
                where = "" if self._folder is None else f"; saved in {self._folder.path}, continue with --resume"
                self._progress.line(f"stopped by {stop.signal_name} after step {self.step:,}{where}")
        finally:
            self._progress.stop()
        summary = self._summary(train.epoch, evaluation, stopped=stop.requested)
        if self._folder is not None:
            self._folder.write_summary(summary)
        return summary

    def evaluate(self, dataset: Dataset) -> dict[str, Any]:
        """Return AUC, log loss and click rates of the model over one epoch of `dataset`; tables are only read."""
        evaluation = self._evaluate_with(dataset, StopRequest())
        assert evaluation is not None, "nothing requests a stop outside fit"
        return evaluation

    # The loop.

    def _run_epochs(self, train: Dataset, parts: dict[str, Stateful], epochs: int, max_steps: int | None, stop: StopRequest) -> None:
        began = time.perf_counter()
        try:
            while train.epoch < epochs:
                batches = iter(train)
                while not (stop.requested or (max_steps is not None and self.step >= max_steps)):
                    with self._watch.stage("read"):
                        batch = next(batches, None)
                    if batch is None:
                        break
                    self._train_step(batch)
                    if self.step % self.options.log_every == 0:
                        self._train_seconds, began = self._train_seconds + time.perf_counter() - began, time.perf_counter()
                        self._log(train.epoch)
                    if self.options.save_every is not None and self.step % self.options.save_every == 0:
                        self._save(parts)
                else:
                    return
        finally:
            self._train_seconds += time.perf_counter() - began

    def _train_step(self, batch: Batch) -> None:
        watch = self._watch
        self.model.train()
        with watch.stage("forward"):
            labels = labels_of(batch, self.options.label)
            logits = self.model(batch)
            loss = self.loss(logits, labels)
        with watch.stage("backward"):
            self.optimizer.zero_grad()
            loss.backward()
        if not math.isfinite(loss.item()):
            raise SparrowError(
                f"the loss is {loss.item()} at step {self.step} ({batch.locate(0)} on); lower the learning rate or check the dense features"
            )
        with watch.stage("optimizer"):
            if self.options.max_grad_norm is not None:
                self._clip(self.options.max_grad_norm)
            self.optimizer.step()
        with watch.stage("metrics"):
            self._window.update(logits, labels)
        self.step += 1
        self.num_samples += labels.numel()
        self._session_samples += labels.numel()
        self._progress.show(self.num_samples, {**self._last_train, "step": self.step, "epoch": self._last_train.get("epoch", 0)})

    def _clip(self, max_norm: float) -> None:
        if isinstance(self.optimizer, CombinedOptimizer):
            self.optimizer.clip_grad_norm_(max_norm)
        else:
            nn.utils.clip_grad_norm_([parameter for group in self.optimizer.param_groups for parameter in group["params"]], max_norm)

    def _evaluate_with(self, dataset: Dataset, stop: StopRequest) -> dict[str, Any] | None:
        """Return the metrics over one epoch, or None where a stop was requested meanwhile."""
        metrics = BinaryMetrics()
        was_training = self.model.training
        self.model.eval()
        with self._watch.stage("evaluate"), torch.no_grad():
            for batch in dataset:
                if stop.requested:
                    return None
                metrics.update(self.model(batch), labels_of(batch, self.options.label))
        self.model.train(was_training)
        computed = metrics.compute()
        self._progress.line(f"evaluation: {describe(computed)}  {computed['num_samples']:,} samples")
        return computed

    # What it leaves behind.

    def _open(self, parts: dict[str, Stateful], resume: bool) -> None:
        if self.options.run_folder is None:
            if resume:
                raise ConfigError("resume needs the run_folder of the run to continue")
            return
        self._folder = RunFolder(self.options.run_folder, resume=resume)
        self._saver = Saver(self._folder.checkpoints, keep=self.options.keep)
        newest = self._saver.latest() if resume else None
        if newest is None:
            self._folder.cut_metrics(-1)
            return
        counters = snapshot.restore(self._saver, newest, self.model, parts)
        self.step = self._saved_step = counters["step"]
        self.num_samples = counters["num_samples"]
        self._last_train = counters["last_train"]
        self._folder.cut_metrics(self.step)

    def _save(self, parts: dict[str, Stateful]) -> None:
        if self._saver is None or self._saved_step == self.step:
            return
        with self._watch.stage("save"):
            counters = {"step": self.step, "num_samples": self.num_samples, "last_train": self._last_train}
            snapshot.save(self._saver, self.step, self.model, parts, counters)
        self._saved_step = self.step

    def _log(self, epoch: int) -> None:
        """Write the metrics of the steps since the last log, and begin a new window."""
        if self._window.num_samples == 0:
            return
        with self._watch.stage("metrics"):
            computed = self._window.compute()
        self._window.reset()
        self._last_train = {"step": self.step, "epoch": epoch, "samples": self.num_samples, **computed}
        speed = {"samples_per_second": self._samples_per_second(), "table_rows": self._table_rows(), "seconds": self._watch.rounded()}
        line = {**self._last_train, **speed}
        if self._folder is not None:
            self._folder.append_metrics(line)
        if not self._is_bar():
            self._progress.line(f"epoch {epoch + 1}  step {self.step:,}  {describe(line)}")
        self._last_train = {**self._last_train, "samples_per_second": speed["samples_per_second"], "table_rows": speed["table_rows"]}

    def _is_bar(self) -> bool:
        from sparrow.pipelines.progress import BarProgress

        return isinstance(self._progress, BarProgress)

    def _samples_per_second(self) -> float | None:
        return round(self._session_samples / self._train_seconds, 1) if self._train_seconds > 0 else None

    def _table_rows(self) -> int:
        return sum(group.num_rows for group in table_groups(self.model))

    def _summary(self, epoch: int, evaluation: dict[str, Any] | None, *, stopped: bool) -> dict[str, Any]:
        versions = {"sparrow": __version__, "torch": torch.__version__, "python": platform.python_version()}
        return {
            "stopped": stopped,
            "step": self.step,
            "epoch": epoch,
            "samples": self.num_samples,
            "train": {
                key: value for key, value in self._last_train.items() if key in ("auc", "log_loss", "click_rate", "predicted_click_rate")
            },
            "eval": evaluation,
            "samples_per_second": self._samples_per_second(),
            "seconds": self._watch.rounded(),
            "table_rows": {group.name: group.num_rows for group in table_groups(self.model)},
            "seed": self.options.seed,
            "threads": torch.get_num_threads(),
            "versions": versions,
        }
