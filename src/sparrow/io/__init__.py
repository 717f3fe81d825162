"""Columns on disk -> batches of tensors. `docs/data.md` is the page for users."""

from sparrow.io.agreement import Agreement as Agreement
from sparrow.io.cutting import Cost as Cost
from sparrow.io.dataset import Dataset as Dataset
from sparrow.io.grouping import Requests as Requests
from sparrow.io.grouping import SharedRows as SharedRows
from sparrow.io.order import Shuffle as Shuffle
from sparrow.io.windows import Windows as Windows
from sparrow.io.work_queue import WorkQueue as WorkQueue
