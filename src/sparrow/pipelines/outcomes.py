"""What steps leave for the host: looked at in their order when it has come, so that no step waits for a device."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from sparrow.errors import DataError, SparrowError
from sparrow.ops import devices
from sparrow.pipelines.classification import BinaryMetrics
from sparrow.pipelines.labels import labels_of
from sparrow.tables.placement import LateCopy
from sparrow.types import Batch

# How many steps the host may be ahead of what it has looked at.
MOST_STEPS_BEHIND = 2
T = TypeVar("T")


def comes_late(device: torch.device) -> bool:
    """Return whether the host runs ahead of what it asks of `device`."""
    return device.type != "cpu" and device.type in devices.DEVICE_TYPES


def check_loss(loss: float, step: int, batch: Batch) -> None:
    """Raise `SparrowError` naming the step and where its batch begins, for a loss that is not finite."""
    if not math.isfinite(loss):
        raise SparrowError(
            f"the loss is {loss} at step {step} (from {batch.locate(0)} on); "
            f"lower the learning rate, or look for numbers that are infinite or NaN in the dense features"
        )


def packed(loss: Tensor, is_wrong: Tensor | None, logits: Tensor, labels: Tensor) -> Tensor:
    """Return what a step leaves as one tensor, [2 + 2 samples]: loss, whether a label is wrong, logits, labels.

    It has the widest of their dtypes, so that no bit is lost, and is on the device of the logits.
    """
    first = loss.detach().reshape(1).to(logits.device, non_blocking=True)
    flag = torch.zeros_like(first) if is_wrong is None else is_wrong.reshape(1).to(logits.device, first.dtype, non_blocking=True)
    return torch.cat([first, flag, logits.detach(), labels])


class Outcomes(Generic[T]):
    """What steps on a device left and nobody has looked at yet, by their order. At most `MOST_STEPS_BEHIND` wait here after a step.

    take: what looks at a step: given what was said of it, and its tensors on the host.
    """

    def __init__(self, take: Callable[[T, list[Tensor]], None]) -> None:
        self._take = take
        self._waiting: deque[tuple[T, LateCopy]] = deque()

    def add(self, said: T, left: Sequence[Tensor]) -> None:
        """Have what a step left copied, and look at what has come. left: may be overwritten by what is launched next.

        Raises what `look` raises.
        """
        self._waiting.append((said, LateCopy(left)))
        self.look(MOST_STEPS_BEHIND)

    def look(self, most_behind: int = 0) -> None:
        """Look at the steps that are done; wait for the device until no more than `most_behind` are not looked at.

        Raises what `take` raises of the first step that was wrong. Later steps are forgotten then.
        """
        while self._waiting and (self._waiting[0][1].is_done() or len(self._waiting) > most_behind):
            said, copy = self._waiting.popleft()
            try:
                copy.wait()
                self._take(said, copy.values)
            except BaseException:
                self.forget()
                raise

    def forget(self) -> None:
        """Look no more at what is there."""
        self._waiting.clear()

    @contextlib.contextmanager
    def in_order(self) -> Iterator[None]:
        """Let an error be that of the first step which was wrong: what earlier steps left is looked at before one of ours leaves."""
        try:
            yield
        except SparrowError:
            self.look()
            raise
        except BaseException:
            self.forget()
            raise


@dataclass(frozen=True, slots=True)
class TrainedStep:
    """What is said of a step that was taken. batch: its labels, as they were read, and its origin."""

    number: int
    batch: Batch


class TrainedSteps:
    """Takes what steps of a training left (see `packed`).

    label: column of labels. window: the metrics that take what was right.
    """

    def __init__(self, label: str, window: BinaryMetrics) -> None:
        self._label, self._window = label, window

    def take(self, step: TrainedStep, left: Sequence[Tensor]) -> None:
        """Raise `DataError` naming the row of a label, or `SparrowError` naming the step of a loss that is not finite; else count it."""
        (values,) = left
        num_samples = (values.numel() - 2) // 2
        loss, is_wrong = values[:2].tolist()
        if is_wrong:
            labels_of(step.batch, self._label)
            raise DataError(
                f"{step.batch.locate(0)}: a label of step {step.number} was wrong when the step was taken, and is right now; "
                f"a batch must not be written to for {MOST_STEPS_BEHIND} steps"
            )
        check_loss(loss, step.number, step.batch)
        self._window.update(values[2 : 2 + num_samples], values[2 + num_samples :])
