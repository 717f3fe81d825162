"""Embedding tables: ids to rows, rows in blocks, growth, first values."""

from sparrow.tables.group import TableGroup as TableGroup
from sparrow.tables.group import table_groups as table_groups
from sparrow.tables.initializers import Constant as Constant
from sparrow.tables.initializers import Initializer as Initializer
from sparrow.tables.initializers import KaimingNormal as KaimingNormal
from sparrow.tables.initializers import KaimingUniform as KaimingUniform
from sparrow.tables.initializers import Normal as Normal
from sparrow.tables.initializers import TruncatedNormal as TruncatedNormal
from sparrow.tables.initializers import Uniform as Uniform
from sparrow.tables.initializers import XavierNormal as XavierNormal
from sparrow.tables.initializers import XavierUniform as XavierUniform
from sparrow.tables.initializers import initializer_from_config as initializer_from_config
from sparrow.tables.lookup import Lookup as Lookup
from sparrow.tables.lookup import Sink as Sink
from sparrow.tables.lookup import SinkList as SinkList
from sparrow.tables.options import TableOptions as TableOptions
