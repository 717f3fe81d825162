"""The metrics of a binary classifier, together."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sparrow.metrics import AUC, LogLoss


class BinaryMetrics:
    """Log loss, AUC, click rates and the number of samples. Stateful."""

    def __init__(self) -> None:
        self._auc, self._log_loss = AUC(), LogLoss()
        self.reset()

    def reset(self) -> None:
        self._auc.reset()
        self._log_loss.reset()
        self.num_samples = 0
        self._sum_labels = 0.0
        self._sum_predictions = 0.0

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add samples: logits float [n], labels [n] of 0 and 1, on any device."""
        # Two copies off a device, and no more to wait for.
        probabilities, labels = torch.sigmoid(logits.detach().cpu().double()), labels.cpu()
        self._auc.update(probabilities, labels)
        self._log_loss.update(probabilities, labels)
        self.num_samples += labels.numel()
        self._sum_labels += float(labels.double().sum())
        self._sum_predictions += float(probabilities.sum())

    def compute(self) -> dict[str, Any]:
        """Return the metrics; those that do not exist (AUC of one class, anything of no sample) are None, which JSON can say."""
        mean = (lambda total: total / self.num_samples) if self.num_samples else (lambda total: math.nan)
        values = {
            "auc": self._auc.compute(),
            "auc_error_bound": self._auc.error_bound(),
            "log_loss": self._log_loss.compute() if self.num_samples else math.nan,
            "click_rate": mean(self._sum_labels),
            "predicted_click_rate": mean(self._sum_predictions),
        }
        return {**{name: value if math.isfinite(value) else None for name, value in values.items()}, "num_samples": self.num_samples}

    def state_dict(self) -> dict[str, Any]:
        sums = [self._sum_labels, self._sum_predictions]
        return {"auc": self._auc.state_dict(), "log_loss": self._log_loss.state_dict(), "num_samples": self.num_samples, "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._auc.load_state_dict(state["auc"])
        self._log_loss.load_state_dict(state["log_loss"])
        self.num_samples = state["num_samples"]
        self._sum_labels, self._sum_predictions = state["sums"]
