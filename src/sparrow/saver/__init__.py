"""Checkpoints: atomic, checked, streamed a chunk at a time. Tables are seen only as `RowStore`."""

from sparrow.saver.read import open_chunks as open_chunks
from sparrow.saver.saver import Loaded as Loaded
from sparrow.saver.saver import Saver as Saver
from sparrow.saver.summary import CheckpointSummary as CheckpointSummary
from sparrow.saver.summary import DenseSummary as DenseSummary
from sparrow.saver.summary import TableSummary as TableSummary
from sparrow.saver.summary import describe_checkpoint as describe_checkpoint
