"""What flows between the rooms: dataclasses and protocols, no behaviour of their own."""

from sparrow.types.batch import SAMPLE_GROUP as SAMPLE_GROUP
from sparrow.types.batch import Batch as Batch
from sparrow.types.batch import Group as Group
from sparrow.types.batch import RowSpan as RowSpan
from sparrow.types.ragged import Column as Column
from sparrow.types.ragged import Ragged as Ragged
from sparrow.types.row_store import ALL_SLICES as ALL_SLICES
from sparrow.types.row_store import NUM_SLICES as NUM_SLICES
from sparrow.types.row_store import Chunk as Chunk
from sparrow.types.row_store import RowStore as RowStore
from sparrow.types.row_store import SliceRange as SliceRange
from sparrow.types.schema import ColumnSpec as ColumnSpec
from sparrow.types.stateful import Stateful as Stateful
