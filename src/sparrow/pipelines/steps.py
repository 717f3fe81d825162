"""How a trainer takes its steps: on a CPU one by one, on a device without waiting for it, and as replays of a CUDA graph where told so."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sparrow.errors import ConfigError, DataError
from sparrow.optim import BatchMisfit, CapturedStep, CombinedOptimizer, LateRefusal, SparseOptimizer
from sparrow.optim.dense import check_capturable
from sparrow.pipelines.classification import BinaryMetrics
from sparrow.pipelines.evaluation import logits_of, owners_of_batches, place_of_batches, placed
from sparrow.pipelines.labels import check_here, is_here, labels_of, labels_on_device, of_columns_alone
from sparrow.pipelines.options import TrainerOptions
from sparrow.pipelines.outcomes import Outcomes, TrainedStep, TrainedSteps, check_loss, comes_late, packed
from sparrow.pipelines.stopwatch import Stopwatch
from sparrow.types import Batch

Loss = Callable[[Tensor, Tensor], Tensor]
# Over so many steps it is judged whether a graph is of use. The first two are none of its.
_STEPS_ON_TRIAL = 102
# After so many batches in a row that do not fit, a graph is made for batches like the last; then after twice as many.
_FIRST_PATIENCE = 2
# Of so many replays it is remembered which step each was: what is refused is heard of sooner.
_MOST_REMEMBERED = 64


class Steps:
    """Takes the steps of one trainer. Raises `ConfigError` where they are to be captured and cannot be.

    window: takes the metrics of steps that were right: on a CPU at once, on a device when they have come (`look`).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        options: TrainerOptions,
        loss: Loss,
        watch: Stopwatch,
        window: BinaryMetrics,
    ) -> None:
        self._model, self._optimizer, self._options, self._loss = model, optimizer, options, loss
        self._watch, self._window = watch, window
        self._owners = owners_of_batches(model)
        self._outcomes = Outcomes(TrainedSteps(options.label, window).take)
        self._captured = self._made_for_capture() if options.capture else None
        self._num_steps = self._misfits_in_a_row = 0
        self._patience, self._last_misfit = _FIRST_PATIENCE, ""
        # Steps that were replays, and where their batches begin.
        self._replayed: deque[tuple[int, Batch]] = deque(maxlen=_MOST_REMEMBERED)

    def take(self, number: int, batch: Batch) -> int:
        """Take step `number` of the run and return how many samples it had.

        On a CPU a label that is wrong and a loss that is not finite raise here, before the update; on a device in a later call, or in
        `look`. So does what transforms of features refuse, where the step was a replay.
        """
        self._model.train()
        return self._take_eagerly(number, batch) if self._captured is None else self._take_by_graph(self._captured, number, batch)

    def look(self) -> None:
        """Look at everything that steps on a device have left. Waits for the device.

        Raises, of the first step that was wrong, `DataError` naming the row of a label, or `SparrowError` naming the step of a loss that
        is not finite; metrics are those of the steps before then. If none was, `DataError` for values that replays refused.
        """
        self._outcomes.look()
        if self._captured is not None:
            with self._naming_steps():
                self._captured.check()

    def in_order(self) -> contextlib.AbstractContextManager[None]:
        """Let an error be that of the first step which was wrong."""
        return self._outcomes.in_order()

    def counts(self) -> dict[str, int] | None:
        """Return how many steps of this session were replays, and how many not, and how many graphs were captured; None without capture."""
        if self._captured is None:
            return None
        replays = self._captured.num_replays
        return {"replays": replays, "eager": self._num_steps - replays, "graphs": self._captured.num_captures}

    # One by one.

    def _take_eagerly(self, number: int, batch: Batch) -> int:
        watch = self._watch
        with watch.stage("forward"):
            logits, labels, is_wrong = self._forward(batch)
            loss = self._loss_of(logits, labels)
        is_late = comes_late(logits.device)
        if not is_late:
            if is_wrong is not None:
                labels_of(batch, self._options.label)
            check_loss(loss.item(), number, batch)
        with watch.stage("backward"):
            self._optimizer.zero_grad()
            loss.backward()
        with watch.stage("optimizer"):
            self._update()
        with watch.stage("metrics"):
            if is_late:
                self._leave(number, batch, packed(loss, is_wrong, logits, labels))
            else:
                self._window.update(logits, labels)
        return labels.numel()

    def _leave(self, number: int, batch: Batch, left: Tensor) -> None:
        self._outcomes.add(TrainedStep(number, of_columns_alone(batch, self._options.label)), [left])

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits and labels, and whether a label is wrong where the host does not know: None says that none is."""
        label = self._options.label
        there = placed(batch, place_of_batches(self._owners))
        if is_here(there, label):
            return *logits_of(self._model, there, labels_of(there, label)), None
        check_here(batch, label)
        labels, is_wrong = labels_on_device(there, label)
        return *logits_of(self._model, there, labels), is_wrong

    def _loss_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        # A rank that has no rows left takes part in the step with a loss that moves nothing.
        return self._loss(logits, labels) if labels.numel() else logits.sum() * 0

    def _update(self) -> None:
        if (max_norm := self._options.max_grad_norm) is not None:
            if isinstance(self._optimizer, CombinedOptimizer):
                self._optimizer.clip_grad_norm_(max_norm)
            else:
                parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
                nn.utils.clip_grad_norm_(parameters, max_norm)
        self._optimizer.step()

    # As one graph.

    def _made_for_capture(self) -> CapturedStep:
        optimizer = self._optimizer
        if not isinstance(optimizer, CombinedOptimizer | SparseOptimizer):
            raise ConfigError(
                f"capture: {type(optimizer).__name__} trains no tables, whose steps are what is captured; "
                f"use CombinedOptimizer(dense, SparseOptimizer(model)), or train without capture"
            )
        captured = CapturedStep(self._whole, optimizer, recapture=True)
        if isinstance(optimizer, CombinedOptimizer):
            check_capturable(optimizer.dense, optimizer.sparse.groups[0].device)
        return captured

    def _whole(self, batch: Batch) -> Tensor:
        """Take a step on a batch that is on the device, and return what it left (see `packed`). This is what is captured."""
        self._optimizer.zero_grad()
        labels, is_wrong = labels_on_device(batch, self._options.label)
        logits, labels = logits_of(self._model, batch, labels)
        loss = self._loss_of(logits, labels)
        loss.backward()
        self._update()
        self._optimizer.zero_grad()
        return packed(loss, is_wrong, logits, labels)

    def _take_by_graph(self, captured: CapturedStep, number: int, batch: Batch) -> int:
        check_here(batch, self._options.label)
        with self._watch.stage("captured"), self._naming_steps():
            there, num_replays = placed(batch, place_of_batches(self._owners)), captured.num_replays
            try:
                left = captured(there)
                self._misfits_in_a_row = 0
            except BatchMisfit as misfit:
                left = self._take_misfit(captured, there, misfit)
            if captured.num_replays > num_replays:
                self._replayed.append((number, Batch({}, batch.origin)))
        with self._watch.stage("metrics"):
            self._leave(number, batch, left)
        self._num_steps += 1
        if self._num_steps == _STEPS_ON_TRIAL and captured.num_replays < _STEPS_ON_TRIAL // 2:
            self._warn(captured)
        return batch.num_samples - batch.num_padding

    def _take_misfit(self, captured: CapturedStep, batch: Batch, misfit: BatchMisfit) -> Tensor:
        """Take a step that the graph cannot: by itself, or as the first of another graph."""
        self._last_misfit = str(misfit).split(";")[0]
        self._misfits_in_a_row += 1
        if not misfit.longer and self._misfits_in_a_row < self._patience:
            return self._whole(batch)
        if not misfit.longer:
            self._patience *= 2
        self._misfits_in_a_row = 0
        captured.restart(misfit.longer or None)
        left: Tensor = captured(batch)
        return left

    @contextlib.contextmanager
    def _naming_steps(self) -> Iterator[None]:
        """Name the steps whose values were refused, as far as that is known: which of some replays it was may not be."""
        try:
            yield
        except LateRefusal as refusal:
            if not self._replayed:
                raise
            first, last = (self._replayed[-1 - min(ago, len(self._replayed) - 1)] for ago in (refusal.ago[0], refusal.ago[-1]))
            which = f"step {last[0]}" if first == last else f"one of the steps {first[0]} to {last[0]}"
            raise DataError(f"{which} (from {first[1].locate(0)} on): {refusal}") from refusal

    def _warn(self, captured: CapturedStep) -> None:
        why = f"; last, {self._last_misfit}" if self._last_misfit else ", as tables grew"
        warnings.warn(
            f"capture: of the first {_STEPS_ON_TRIAL} steps {captured.num_replays} were replays of a CUDA graph, and "
            f"{captured.num_captures} graphs were captured{why}; give batches of one shape, or train without capture",
            stacklevel=2,
        )
