"""Metrics: streams of predictions and labels in, one number out, the same bits however the stream was split."""

from sparrow.metrics.auc import AUC as AUC
from sparrow.metrics.gauc import GAUC as GAUC
from sparrow.metrics.log_loss import LogLoss as LogLoss
