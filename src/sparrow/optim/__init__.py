"""Optimizers of table rows, beside torch's own for the dense half."""

from sparrow.ops.update_rows.rules import RULES as RULES
from sparrow.ops.update_rows.rules import Rule as Rule
from sparrow.optim.captured import CapturedStep as CapturedStep
from sparrow.optim.combined import CombinedOptimizer as CombinedOptimizer
from sparrow.optim.sparse import SparseOptimizer as SparseOptimizer
from sparrow.optim.static_batch import BatchMisfit as BatchMisfit
from sparrow.tables.room import LateRefusal as LateRefusal
