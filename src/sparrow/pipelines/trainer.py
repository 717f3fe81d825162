"""The training loop: batches to steps, steps to metrics and checkpoints, stop and resume."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sparrow import __version__
from sparrow.errors import ConfigError, SparrowError
from sparrow.optim import SparseOptimizer
from sparrow.pipelines import snapshot
from sparrow.pipelines.classification import BinaryMetrics
from sparrow.pipelines.dataset import Dataset
from sparrow.pipelines.evaluation import evaluate_model
from sparrow.pipelines.hooks import Hook, stateful_parts
from sparrow.pipelines.options import TrainerOptions
from sparrow.pipelines.progress import progress_hooks
from sparrow.pipelines.run_folder import RunFolder
from sparrow.pipelines.steps import Loss, Steps
from sparrow.pipelines.stopping import StopRequest
from sparrow.pipelines.stopwatch import Stopwatch
from sparrow.saver import Saver
from sparrow.tables import table_groups
from sparrow.types import Batch, Stateful

_TRAIN_METRICS = ("auc", "log_loss", "click_rate", "predicted_click_rate")


class Trainer:
    """Trains a model whose `forward(batch)` returns logits, float [samples], and evaluates it. Labels are 0 or 1.

    Args:
        model: any module; embedding engines inside it are found, saved and counted.
        optimizer: over dense and sparse parameters, usually `CombinedOptimizer`.
        options: a `TrainerOptions`, or its fields by keyword.
        loss: (logits, labels) -> scalar; default binary cross-entropy with logits, the mean over the batch.
        hooks: called at the moments of a fit, after the trainer's own.

    With a run folder, `fit` writes `metrics.jsonl`, `summary.json` and checkpoints there. Ctrl-C or SIGTERM during `fit` finishes the step,
    saves, and returns the summary with `"stopped": true`; a second one acts at once.

    Attributes:
        step, num_samples: since the start of the run, over all its sessions. epoch: counted from 0. last_train: the metrics last logged.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        options: TrainerOptions | None = None,
        *,
        loss: Loss | None = None,
        hooks: Sequence[Hook] = (),
        **fields: Any,
    ) -> None:
        if options is not None and fields:
            raise ConfigError(f"Trainer takes options or their fields, not both; put {sorted(fields)} into the TrainerOptions")
        _check_tables_are_trained(model, optimizer)
        self.model, self.optimizer = model, optimizer
        self.options = options or TrainerOptions(**fields)
        self.hooks = (*progress_hooks(self.options.progress), *hooks)
        self._stateful_hooks = stateful_parts(hooks)
        self.step = self.epoch = self.num_samples = 0
        self.last_train: dict[str, Any] = {}
        self._window = BinaryMetrics()
        self._watch = Stopwatch()
        self._steps = Steps(model, optimizer, self.options, loss or binary_cross_entropy_with_logits, self._watch, self._window)
        self._train_seconds = 0.0
        self._train_began: float | None = None  # while training
        self._session_samples = 0  # samples of this process: what the speed is measured on
        self._folder: RunFolder | None = None
        self._saver: Saver | None = None
        self._saved_step: int | None = None
        self._reader: Dataset | None = None

    def fit(
        self, train: Dataset, *, epochs: int = 1, max_steps: int | None = None, evaluate_on: Dataset | None = None, resume: bool = False
    ) -> dict[str, Any]:
        """Train until `epochs` epochs or `max_steps` steps (counted from the start of the run) are done; return the summary.

        Args:
            train: read from its current position. evaluate_on: evaluated at the end.
            resume: continue the run of the run folder from its newest checkpoint, at the next unseen row; start anew where it has none.
                The model must be as it was built. A further `fit` of one trainer continues by itself. Of a run that is finished already
                nothing is changed and no hook is called: its recorded summary is returned, with `"already_finished": True`.

        Raises: `DataError` for bad rows, `ConfigError` for a run folder that holds another run or cannot be written, `CheckpointError`
            for a checkpoint that is damaged, of another model or cannot be saved, `SparrowError` where the loss is not finite.
        """
        parts: dict[str, Stateful] = {
            "optimizer": self.optimizer, "reader": train, "window": self._window, **self._stateful_hooks
        }  # fmt: skip
        is_over = functools.partial(_is_over, epochs=epochs, max_steps=max_steps, wants_evaluation=evaluate_on is not None)
        finished = self._open(parts, resume, is_over)
        if finished is not None:
            return {**finished, "already_finished": True}
        self._reader = train
        total_samples = None if train.num_rows is None else train.num_rows * epochs
        try:
            for hook in self.hooks:
                hook.on_fit_start(self, total_samples)
            with StopRequest(wake=getattr(train, "interrupt", None)) as stop:
                with self._steps.in_order():
                    self._run_epochs(train, parts, epochs, max_steps, stop)
                # In this order: the checkpoint keeps the window, so that after a resume it goes on as if nothing had been logged here.
                self._save(parts)
                self._log()
                evaluation = None if evaluate_on is None or stop.requested else self._evaluate(evaluate_on, stop)
                is_stopped = stop.requested
                summary = self._summary(train.epoch, evaluation, stopped=is_stopped)
                if self._folder is not None:
                    self._folder.write_summary(summary)
            for hook in self.hooks:
                if is_stopped:
                    hook.on_stop(self, stop.signal_name)
                hook.on_fit_end(self, summary)
        finally:
            for hook in self.hooks:
                hook.on_close(self)
        return summary

    def evaluate(self, dataset: Dataset) -> dict[str, Any]:
        """Return AUC, log loss, click rates (and GAUC, see `TrainerOptions.group`) over one epoch of `dataset`; tables are only read."""
        metrics = self._evaluate(dataset, None)
        assert metrics is not None, "nothing requests a stop outside fit"
        return metrics

    # The loop.

    def _run_epochs(self, train: Dataset, parts: dict[str, Stateful], epochs: int, max_steps: int | None, stop: StopRequest) -> None:
        self._train_began = time.perf_counter()
        try:
            is_done = False
            while train.epoch < epochs and not is_done:
                self.epoch = train.epoch
                batches = iter(train)
                while not stop.requested:
                    is_done = max_steps is not None and self.step >= max_steps
                    with self._watch.stage("read"):
                        if is_done:
                            if not _epoch_ends(train, batches):
                                return
                            break
                        batch = next(batches, None)
                    if batch is None:
                        if stop.requested and train.epoch == self.epoch:
                            return  # interrupted while it waited
                        break
                    self._train_step(batch)
                    if self.step % self.options.log_every == 0:
                        self._log()
                    if self.options.save_every is not None and self.step % self.options.save_every == 0:
                        self._save(parts)
                else:
                    return
                if self.num_samples == 0 and train.epoch >= epochs:
                    raise _no_batch(train)
                for hook in self.hooks:
                    hook.after_epoch(self)
        finally:
            self._train_seconds, self._train_began = self._seconds_trained(), None

    def _train_step(self, batch: Batch) -> None:
        num_samples = self._steps.take(self.step + 1, batch)
        self.step += 1
        self.num_samples += num_samples
        self._session_samples += num_samples
        for hook in self.hooks:
            hook.after_step(self)

    def _look(self) -> None:
        """Look at what steps on a device have left: nothing is written of steps that nobody has looked at."""
        with self._watch.stage("metrics"):
            self._steps.look()

    def _evaluate(self, dataset: Dataset, stop: StopRequest | None) -> dict[str, Any] | None:
        self._look()
        with self._watch.stage("evaluate"):
            metrics = evaluate_model(self.model, dataset, self.options.label, stop, self.options.group)
        if metrics is not None:
            for hook in self.hooks:
                hook.on_evaluation(self, metrics)
        return metrics

    # What it leaves behind.

    def _open(self, parts: dict[str, Stateful], resume: bool, is_over: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """Check the run folder and restore what it holds; return the recorded summary where nothing is left to do."""
        if self.options.run_folder is None:
            if resume:
                raise ConfigError("resume needs the run_folder of the run to continue")
            return None
        if self._folder is not None:
            return None  # a further fit of this trainer: everything is at hand
        folder = RunFolder(self.options.run_folder, resume=resume)
        saver = Saver(folder.checkpoints, keep=self.options.keep)
        newest = saver.latest() if resume else None
        if newest is not None:
            counters = snapshot.restore(saver, newest, self.model, parts)
            self.step = self._saved_step = counters["step"]
            self.epoch, self.num_samples, self.last_train = counters["epoch"], counters["num_samples"], counters["last_train"]
            finished = folder.read_finished(self.step)
            if finished is not None and is_over(finished[0]):
                # As after the fit that ended it: the window's samples are in the last line.
                self.last_train = {key: value for key, value in finished[1].items() if key != "seconds"}
                self._window.reset()
                self._folder, self._saver = folder, saver
                return finished[0]
        # A line that ended a session early is cut too: its samples are still in the window, and the line that is due will cover them.
        folder.cut_metrics(self.last_train.get("step", -1))
        # Only now: a resume that is refused must leave the configuration its checkpoints were trained with.
        if self.options.config is not None:
            folder.write_config(self.options.config)
        if self.options.features is not None:
            folder.write_features(self.options.features)
        self._folder, self._saver = folder, saver
        return None

    def _save(self, parts: dict[str, Stateful]) -> None:
        if self._saver is None or self._saved_step == self.step:
            return
        self._look()
        with self._watch.stage("save"):
            counters = {"step": self.step, "epoch": self.epoch, "num_samples": self.num_samples, "last_train": self.last_train}
            snapshot.save(self._saver, self.step, self.model, parts, counters)
        self._saved_step = self.step

    def _log(self) -> None:
        """Write the metrics of the steps since the last log, and begin a new window."""
        self._look()
        if self._window.num_samples == 0:
            return
        self.last_train = {"step": self.step, "epoch": self.epoch, "samples": self.num_samples, **self.running_metrics()}
        self._window.reset()
        line = {**self.last_train, "seconds": self._watch.rounded(), **self._trouble(), **self._capture()}
        if self._folder is not None:
            self._folder.append_metrics(line)
        for hook in self.hooks:
            hook.on_log(self, line)

    def _trouble(self) -> dict[str, Any]:
        """Return what the reader left out or waited for, where it counts that and it is not 0."""
        counted = {name: value for name, value in getattr(self._reader, "counters", {}).items() if value}
        return {"reader": counted} if counted else {}

    def _capture(self) -> dict[str, Any]:
        counts = self._steps.counts()
        return {} if counts is None else {"capture": counts}

    def running_metrics(self) -> dict[str, Any]:
        """Return the metrics of the steps since the last log, the speed and the table rows. Changes no result; waits for a device."""
        self._look()
        with self._watch.stage("metrics"):
            computed = self._window.compute()
        return {**computed, "samples_per_second": self._samples_per_second(), "table_rows": sum(self._table_rows().values())}

    def _samples_per_second(self) -> float | None:
        return round(self._session_samples / self._seconds_trained(), 1) if self._session_samples else None

    def _seconds_trained(self) -> float:
        return self._train_seconds + (0.0 if self._train_began is None else time.perf_counter() - self._train_began)

    def _table_rows(self) -> dict[str, int]:
        return {group.name: group.num_rows for group in table_groups(self.model)}

    def _summary(self, epochs_finished: int, evaluation: dict[str, Any] | None, *, stopped: bool) -> dict[str, Any]:
        return {
            "stopped": stopped,
            "step": self.step,
            "epochs_finished": epochs_finished,
            "samples": self.num_samples,
            "train": {key: value for key, value in self.last_train.items() if key in _TRAIN_METRICS},
            "eval": evaluation,
            "samples_per_second": self._samples_per_second(),
            "seconds": self._watch.rounded(),
            "table_rows": self._table_rows(),
            **self._capture(),
            "seed": self.options.seed,
            "threads": torch.get_num_threads(),
            "versions": {"sparrow": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def _is_over(summary: dict[str, Any], *, epochs: int, max_steps: int | None, wants_evaluation: bool) -> bool:
    """Return whether the session that left `summary` did all that a fit of these arguments would do."""
    is_trained = summary.get("epochs_finished", 0) >= epochs or (max_steps is not None and summary["step"] >= max_steps)
    return is_trained and (summary.get("eval") is not None or not wants_evaluation)


def _epoch_ends(train: Dataset, batches: Iterator[Batch]) -> bool:
    """Return whether the epoch has no further batch; `train` is then at the start of the next, else where it was.

    A stream is not asked: its next batch may be hours away.
    """
    if train.num_rows is None:
        return False
    position = train.state_dict()
    try:
        if next(batches, None) is None:
            return True
    except SparrowError:
        pass  # a row that is wrong, but that nobody asked for
    train.load_state_dict(position)
    return False


def _no_batch(train: Dataset) -> ConfigError:
    size = getattr(train, "batch_size", None)
    wanted = "" if size is None else f", batches of {size}"
    if train.num_rows is None:
        return ConfigError('the training data gave no batch: nothing had arrived; wait for rows with end="never", or start earlier')
    return ConfigError(
        f"the training data gave no batch: {train.num_rows} rows{wanted}; give more rows or a smaller batch_size, or keep the short last "
        f'batch (tail="short")'
    )


def _check_tables_are_trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise `ConfigError` naming a table group that no sparse optimizer owns: its rows would never move, in silence."""
    halves = (optimizer, getattr(optimizer, "sparse", None))
    owned = {id(group) for half in halves if isinstance(half, SparseOptimizer) for group in half.groups}
    for group in table_groups(model):
        if id(group) not in owned:
            raise ConfigError(f"no SparseOptimizer trains table group {group.name!r}; use CombinedOptimizer(dense, SparseOptimizer(model))")
